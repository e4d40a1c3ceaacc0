"""Two small BERTs and a small ResNet with random weights, and bundles of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from published import shared_folder
from safetensors.torch import save_file
from tokenizers_of_words import tokenizer_of

from autotl.plugins.contracts import ZooContext
from autotl.plugins.manager import plugins
from autotl.predictor.predictor import Predictor
from autotl.testing import make_bundle

SIDE = 64
WORDS = tuple(f"word{number}" for number in range(60))


def write_bert(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=80, hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512,
        max_position_embeddings=64, initializer_range=0.1, pad_token_id=1,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer_of(WORDS).save(str(folder / "tokenizer.json"))


def write_resnet(folder: Path) -> None:
    torch.manual_seed(0)
    settings = {"input_size": (3, SIDE, SIDE)}
    network = timm.create_model("resnet10t", pretrained_cfg_overlay=settings, num_classes=3)
    with torch.no_grad():
        network.train()(torch.randn(16, 3, SIDE, SIDE))  # settles the statistics
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "resnet10t",
        "num_classes": 3,
        "num_features": network.num_features,
        "pretrained_cfg": {"input_size": [3, SIDE, SIDE], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
    }
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    write_bert(folder / "one", 1)
    write_bert(folder / "two", 2)
    write_resnet(folder / "resnet")
    return folder


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Of 3 to 30 words."""
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, random.integers(3, 31)).tolist()) for _ in range(40)]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of no two of one shape, one with transparency."""
    folder, random, found = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), []
    for number in range(40):
        kind = "RGBA" if number == 3 else "RGB"
        image = Image.fromarray(random.integers(0, 256, (6, 8, len(kind)), np.uint8), kind)
        found.append(str(folder / f"{number}.png"))
        image.resize((100 + number, 140 - number), Image.Resampling.BICUBIC).save(found[-1])
    return found


@pytest.fixture(scope="session")
def bundle(
    zoo: Path, texts: list[str], pictures: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Predictor]:
    """``bundle("one", "two")``: of backbones of one family; those of images answer to mirrored rows too.

    layered: whether heads see several layers.
    """

    def make(*names: str, layered: bool = False) -> Predictor:
        family = plugins().family("timm" if names == ("resnet",) else "transformers")
        known = {one.name: one for one in family.candidates(ZooContext((zoo,))) if one.source == "folder"}
        cells = texts if family.modality == "text" else pictures
        folder = tmp_path_factory.mktemp("bundle")
        return make_bundle(family, [known[n] for n in names], cells, folder, views=True, layered=layered)

    return make


@pytest.fixture
def shared() -> Path:
    """Pretrained networks and data sets, where this machine has them."""
    return shared_folder()
