"""A third party's tiny text family, a table that it can learn, and a finished run on it: the teacher."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from autotl.budget import Clock
from autotl.data.task import InputColumn, Task
from autotl.features.frozen import FrozenBackbone
from autotl.features.rows import EncodedRows
from autotl.features.speed import SpeedBook
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import ZooContext
from autotl.plugins.manager import plugins
from autotl.training.settings import Settings
from autotl.training.trial import ProbeHeads, Trial

THIRD_PARTY = Path(__file__).parents[3] / "tests" / "thirdparty"
ZOO = THIRD_PARTY / "zoo"

WORDS = {"animal": ["cat", "dog", "horse"], "plant": ["oak", "fern", "moss"], "stone": ["slate", "flint", "marble"]}

TASK = Task(
    targets=("label",), kind="multiclass", classes=("a", "b", "c"), metric="accuracy",
    inputs=(InputColumn(name="text", modality="text"),),
)  # fmt: skip


def write_table(path: Path, classes: list[str], rows: int = 200) -> Path:
    """Texts of three classes; nine in ten hold a word of their class among twelve that say nothing."""
    generator, records = np.random.default_rng(0), []
    for number in range(rows):
        text = [f"word{word}" for word in generator.integers(0, 60, 12)]
        if generator.random() < 0.9:
            text[generator.integers(12)] = str(generator.choice(list(WORDS.values())[number % 3]))
        records.append({"text": " ".join(text), "label": classes[number % 3]})
    pd.DataFrame(records).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """Environment variables without this machine's zoo, caches and hub, with the tiny family."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOTL_", "HF_"))}
    kept["OMP_WAIT_POLICY"] = "passive"  # networks this small are slowed down tenfold by threads that spin
    given = kept.get("PYTHONPATH")  # where the packages are not installed
    kept["PYTHONPATH"] = os.pathsep.join([str(THIRD_PARTY / "tiny"), *([given] if given else [])])
    return kept | {"AUTOTL_CACHE": str(home / "cache"), "HF_HOME": str(home / "hub"), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def command_line(environment):
    """The command line in a process of its own."""

    def run(*arguments, cwd=None):
        command = [sys.executable, "-m", "autotl.cli.main", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
        )

    return run


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "kinds.csv", list(WORDS))


@pytest.fixture(scope="session")
def teacher(command_line, table, tmp_path_factory) -> Path:
    """The folder of a run of two trials, with networks alone in its answer."""
    run = tmp_path_factory.mktemp("runs") / "kinds"
    answer = command_line("search", "--data", table, "--models", ZOO, "--backbones", "one", "--trials", 2, "--out", run)
    assert answer.returncode == 0, answer.stderr
    return run


@pytest.fixture
def tiny(monkeypatch):
    """The tiny family, in this process."""
    monkeypatch.syspath_prepend(str(THIRD_PARTY / "tiny"))
    importlib.invalidate_caches()
    plugins.cache_clear()
    yield plugins().family("tiny")
    plugins.cache_clear()


class Student:
    """The other tiny backbone before the table, and trials of it that have a teacher."""

    def __init__(self, family, table: Path, teacher: Path, cache: Path):
        frame = pd.read_csv(table)
        candidate = family.candidates(ZooContext((ZOO / "two",)))[0]
        self.teacher, self.store = teacher, FeatureStore(cache)
        rows = EncodedRows(family.encoder(candidate, []), frame["text"].tolist(), modality="text", store=self.store)
        self.frozen = FrozenBackbone(
            candidate, family, rows, device=torch.device("cpu"), speeds=SpeedBook(cache), store=self.store
        )
        self.train = rows.readable(np.arange(150))
        self.targets = frame["label"].astype("category").cat.codes.to_numpy().astype(np.int64)

    def trial(self, settings=None, *, clock=None, checkpoint=None):
        return Trial(
            settings=Settings(settings or {}),
            frozen=self.frozen,
            probes=ProbeHeads(TASK, self.targets, self.train, 0),
            train=self.train,
            targets=self.targets,
            task=TASK,
            seed=0,
            clock=clock or Clock(),
            checkpoint=checkpoint,
            teacher=self.teacher,
        )


@pytest.fixture
def student(tiny, table, teacher, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small are slowed down by a second thread
    yield Student(tiny, table, teacher, tmp_path / "cache")
    torch.set_num_threads(before)
