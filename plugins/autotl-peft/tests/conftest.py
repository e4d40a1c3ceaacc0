"""A small BERT, a small ViT and a small ResNet with random weights, each before a table that it can learn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from tokenizers_of_words import tokenizer_of

from autotl.budget import Clock
from autotl.data.task import InputColumn, Task
from autotl.features.frozen import FrozenBackbone
from autotl.features.precision import Precision
from autotl.features.rows import EncodedRows
from autotl.features.speed import Speed, SpeedBook
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import StrategyContext, ZooContext
from autotl.plugins.manager import plugins
from autotl.training.settings import Settings
from autotl.training.trial import ProbeHeads, Trial

ROWS = 48
SIDE = 64
GOOD, BAD = ("good", "great", "lovely"), ("bad", "awful", "boring")
FILLER = tuple(f"word{number}" for number in range(40))

TASK = Task(
    targets=("label",), kind="multiclass", classes=("a", "b"), metric="accuracy",
    inputs=(InputColumn(name="text", modality="text"),),
)  # fmt: skip


def texts(rows: int = ROWS) -> list[str]:
    """Of unlike lengths; even ones hold a good word, odd ones a bad one."""
    random, found = np.random.default_rng(0), []
    for row in range(rows):
        words = random.choice(FILLER, random.integers(3, 12)).tolist()
        found.append(" ".join([*words, str(random.choice(BAD if row % 2 else GOOD))]))
    return found


def write_bert(folder: Path, *, width: int) -> Path:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=2000, hidden_size=width, num_hidden_layers=2, num_attention_heads=3, intermediate_size=4 * width,
        max_position_embeddings=64, pad_token_id=1,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer_of((*GOOD, *BAD, *FILLER)).save(str(folder / "tokenizer.json"))
    return folder


def write_timm(folder: Path, architecture: str, **arguments: Any) -> Path:
    torch.manual_seed(0)
    settings = {"input_size": (3, SIDE, SIDE)}
    network = timm.create_model(architecture, pretrained_cfg_overlay=settings, num_classes=3, **arguments)
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": architecture,
        "num_classes": 3,
        "num_features": network.num_features,
        "model_args": arguments,
        "pretrained_cfg": {"input_size": [3, SIDE, SIDE], "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    write_bert(folder / "transformers" / "bert", width=192)
    write_bert(folder / "searched" / "bert", width=24)  # for whole searches, which train it five times
    write_timm(folder / "timm" / "vit", "vit_tiny_patch16_224", depth=3, img_size=SIDE)
    write_timm(folder / "timm" / "resnet", "resnet10t")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Even ones are red, odd ones blue."""
    folder, random, found = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), []
    for row in range(ROWS):
        pixels = random.integers(0, 90, (SIDE, SIDE, 3), np.uint8)
        pixels[:, :, 2 if row % 2 else 0] += 120
        found.append(str(folder / f"{row}.png"))
        Image.fromarray(pixels).save(found[-1])
    return found


class Always(SpeedBook):
    """Says of every pass that one precision is best, so that no test depends on a race."""

    def __init__(self, precision: Precision) -> None:
        super().__init__(Path())
        self.precision = precision

    def race(self, key: str, options: Any, step: Any, *, rows: int) -> Speed:
        seconds = step(self.precision) / rows
        return Speed(self.precision, seconds, seconds)


class Bench:
    """A backbone that has seen its table, and trials on it."""

    def __init__(self, family: str, folder: Path, cells: list[str], *, bf16: bool = False) -> None:
        self.family = plugins().family(family)
        (candidate,) = (one for one in self.family.candidates(ZooContext((folder,))) if one.source == "folder")
        store = FeatureStore(None)
        rows = EncodedRows(self.family.encoder(candidate, cells), cells, modality=candidate.modality, store=store)
        self.frozen = FrozenBackbone(
            candidate,
            self.family,
            rows,
            device=torch.device("cpu"),
            speeds=Always(Precision("bf16" if bf16 else "fp32")),
            store=store,
        )
        self.train = rows.readable(np.arange(len(cells)))
        self.targets = np.arange(len(cells)) % 2
        self.context = StrategyContext(
            candidate, len(cells), (len(cells) // 2,) * 2, "accuracy", self.family.augments, passes=math.inf
        )

    def trial(self, strategy: str, *, seed: int = 0, checkpoint: Path | None = None, **settings: float) -> Trial:
        """With the strategy's first recipe, some fifteen steps of it, and `settings` in place of its own."""
        recipe = {**plugins().strategy(strategy).portfolio(self.context)[0], "epochs_multiplier": 0.05}
        return Trial(
            settings=Settings({**recipe, **settings}),
            frozen=self.frozen,
            probes=ProbeHeads(TASK, self.targets, self.train, 0),
            train=self.train,
            targets=self.targets,
            task=TASK,
            seed=seed,
            clock=Clock(),
            checkpoint=checkpoint,
        )


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """No test sees what this machine has downloaded; networks this small are slowed down by a second thread."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_texts() -> Any:
    """``make_texts(rows)``: of two classes in turn."""
    return texts


@pytest.fixture
def make_bench(zoo: Path, pictures: list[str]) -> Any:
    """``make_bench("bert")``, or ``"vit"``, or ``"resnet"``."""

    def make(kind: str, *, bf16: bool = False) -> Bench:
        family = "transformers" if kind == "bert" else "timm"
        return Bench(family, zoo / family / kind, texts() if kind == "bert" else pictures, bf16=bf16)

    return make


@pytest.fixture(params=["bert", "vit"])
def bench(request: pytest.FixtureRequest, make_bench: Any) -> Bench:
    found: Bench = make_bench(request.param)
    return found
