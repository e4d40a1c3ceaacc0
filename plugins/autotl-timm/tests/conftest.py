"""Small networks of every kind, with random weights, in folders as timm writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from autotl_timm.family import TimmFamily
from PIL import Image
from published import shared_folder
from safetensors.torch import save_file

from autotl.plugins.contracts import Candidate, ZooContext

TINY_VIT = {"embed_dim": 48, "depth": 3, "num_heads": 3}
TINY_SWIN = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8]}
TINY_CONVNEXT = {"depths": [1, 1, 2, 1], "dims": [16, 32, 64, 128]}

#: Architecture, arguments, and the side that the weights are said to be made for.
NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "resnet": ("resnet10t", {}, 64),
    "regnet": ("regnetx_002", {}, 64),
    "efficientnet": ("efficientnet_b0", {}, 64),
    "mobilenetv2": ("mobilenetv2_035", {"pad_type": "same", "bn_eps": 1e-3}, 65),
    "mobilenetv3": ("mobilenetv3_small_050", {}, 64),
    "convnext": ("convnext_atto", TINY_CONVNEXT, 64),
    "convnextv2": ("convnextv2_atto", TINY_CONVNEXT, 64),
    "vit": ("vit_tiny_patch16_224", TINY_VIT, 64),
    "vit-averaged": ("vit_base_patch16_rpn_224", TINY_VIT, 64),
    "vit-attention-pooled": ("vit_base_patch16_siglip_224", TINY_VIT, 64),
    "deit-distilled": ("deit_tiny_distilled_patch16_224", TINY_VIT, 64),
    "deit3": ("deit3_small_patch16_224", TINY_VIT, 64),
    "dinov2": ("vit_small_patch14_dinov2", TINY_VIT | {"img_size": 98}, 98),
    "dinov2-registers": ("vit_small_patch14_reg4_dinov2", TINY_VIT | {"img_size": 98}, 98),
    "eva02": ("eva02_tiny_patch14_224", TINY_VIT | {"img_size": 98}, 98),
    "dinov3": ("vit_small_patch16_dinov3", TINY_VIT, 64),
    "eva-mixed": ("vit_small_patch16_rope_mixed_224", TINY_VIT | {"img_size": 64}, 64),
    "swin": ("swin_tiny_patch4_window7_224", TINY_SWIN | {"img_size": 64}, 64),
    "swinv2": ("swinv2_tiny_window8_256", TINY_SWIN | {"img_size": 64}, 64),
    "ghostnet": ("ghostnet_050", {}, 64),
    "densenet": ("densenet121", {"growth_rate": 8, "block_config": [2, 2, 2, 2]}, 64),
}

#: Kinds that the family does not take apart.
WHOLE = {"ghostnet", "densenet", "eva-mixed"}


def make_every_part_matter(network: torch.nn.Module, side: int) -> None:
    """Fresh networks start with gains of zero and layer scales of a millionth, which would hide a lost block."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim <= 1:
                parameter.normal_(0.0 if name.endswith("bias") else 0.8, 0.1)
            elif name.endswith(("_token", "pos_embed", "latent")):
                parameter.normal_(std=0.5)
        normalizations = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for module in normalizations:
            module.momentum = 1.0
        if normalizations:  # settles their statistics
            network.train()(torch.randn(8, 3, side, side) + torch.randn(8, 3, 1, 1))


def write_model(folder: Path, architecture: str, side: int, **arguments: Any) -> Path:
    torch.manual_seed(sum(map(ord, architecture)))
    settings = {"input_size": (3, side, side)}
    network = timm.create_model(architecture, pretrained_cfg_overlay=settings, num_classes=7, **arguments)
    make_every_part_matter(network, side)
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    source = {"architecture", "num_classes", "url", "file", "hf_hub_id", "source"}
    config = {
        "architecture": architecture,
        "num_classes": 7,
        "num_features": network.num_features,
        "model_args": arguments | {"num_classes": 7},  # recorded by newer releases
        "pretrained_cfg": {k: v for k, v in network.pretrained_cfg.items() if v is not None and k not in source},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees what this machine has downloaded."""
    cache = tmp_path / "hub-cache"
    cache.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model folder a kind."""
    folder = tmp_path_factory.mktemp("zoo")
    for kind, (architecture, arguments, side) in NETWORKS.items():
        write_model(folder / kind, architecture, side, **arguments)
    return folder


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the one that trains fastest, for whole searches: they train it five times."""
    folder = tmp_path_factory.mktemp("searched")
    architecture, arguments, side = NETWORKS["vit"]
    write_model(folder / "vit", architecture, side, **arguments)
    return folder


@pytest.fixture(params=sorted(NETWORKS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def taken_apart(kind: str) -> bool:
    """Whether the family knows the stages of this kind."""
    return kind not in WHOLE


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """``write(folder, architecture, side, **arguments)``: a model folder with random weights."""
    return write_model


@pytest.fixture
def family() -> TimmFamily:
    return TimmFamily()


@pytest.fixture
def local(family: TimmFamily, zoo: Path) -> dict[str, Candidate]:
    """The candidates of `zoo` by name."""
    found = family.candidates(ZooContext(folders=(zoo,)))
    return {candidate.name: candidate for candidate in found if candidate.source == "folder"}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two unlike pictures with some detail."""
    return write_photos(tmp_path_factory.mktemp("photos"), 2)


@pytest.fixture(scope="session")
def many_photos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Enough unlike pictures for two batches whose statistics mean something."""
    return write_photos(tmp_path_factory.mktemp("many-photos"), 16)


def write_photos(folder: Path, count: int) -> list[str]:
    random, paths = np.random.default_rng(0), []
    for index in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), np.uint8))
        paths.append(str(folder / f"{index}.png"))
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


@pytest.fixture
def shared() -> Path:
    """Pretrained networks and data sets, where this machine has them."""
    return shared_folder()
