"""A command line with a stranger's plugin installed beside it, a small zoo for that plugin, and tables."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

INSTALLED = Path(__file__).parent / "installed"
COLOURS = {
    "warm": ["red", "orange", "yellow", "amber", "scarlet", "crimson"],
    "cold": ["blue", "teal", "navy", "azure", "cyan", "indigo"],
    "plain": ["grey", "white", "black", "beige", "ivory", "cream"],
}


@pytest.fixture
def zoo(tmp_path):
    """Two tiny backbones."""
    for name, seed in (("tiny-a", 1), ("tiny-b", 2)):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        (tmp_path / "zoo" / name / "tiny.json").write_text(f'{{"seed": {seed}}}')
    return tmp_path / "zoo"


def write_table(path, rows, seed=0):
    """Sentences with one telling word among four that say nothing."""
    generator = random.Random(seed)
    filler = [f"word{number}" for number in range(40)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence", "label"])
        for number in range(rows):
            label = list(COLOURS)[number % 3]
            words = [*generator.sample(filler, 4), generator.choice(COLOURS[label])]
            generator.shuffle(words)
            writer.writerow([" ".join(words), label])
    return path


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "colours.csv", 240)


@pytest.fixture
def autotl(tmp_path):
    """Calls ``autotl`` in an empty folder of its own, and gives the finished process."""
    work = tmp_path / "work"
    work.mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(INSTALLED),
        "AUTOTL_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "2",
    }
    environment.pop("AUTOTL_ZOO", None)
    command = [sys.executable, "-m", "autotl.cli.main"]

    def call(*arguments, wait=True):
        words = [*command, *(str(argument) for argument in arguments)]
        if not wait:
            return subprocess.Popen(words, cwd=work, env=environment, text=True, stderr=subprocess.PIPE)
        return subprocess.run(words, cwd=work, env=environment, text=True, capture_output=True, timeout=240)

    call.folder = work
    return call
