"""The examples of plugins: small, and they work as packages, from the wheel to the leaderboard."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from installing import install

EXAMPLES = Path(__file__).parents[1] / "examples" / "plugins"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that all examples are installed into from their wheels, without a network."""
    folder = tmp_path_factory.mktemp("examples") / "site"
    install(folder, *(EXAMPLES / name for name in NAMES))
    return folder


def series_frame(rows: int) -> pd.DataFrame:
    """Waves, saws and noise of 30 to 60 numbers, at any phase and height."""
    random = np.random.default_rng(0)
    records = []
    for number in range(rows):
        kind = ("wave", "saw", "noise")[number % 3]
        time = np.arange(random.integers(30, 60)) / random.uniform(4, 8) + random.uniform(0, 6)
        shape = {"wave": np.sin(time), "saw": time % 2 - 1, "noise": random.normal(0, 0.7, len(time))}[kind]
        values = random.uniform(1, 5) * (shape + random.normal(0, 0.2, len(time))) + random.uniform(-9, 9)
        records.append({"series": " ".join(f"{value:.2f}" for value in values), "state": kind})
    return pd.DataFrame(records)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name):
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (EXAMPLES / name).rglob("*.py")) < 120


@pytest.fixture(scope="module")
def tested(site):
    """What a run of all examples' own tests printed, with those that passed."""
    environment = os.environ | {"PYTHONPATH": str(site)}
    folders = [EXAMPLES / name / "tests" for name in NAMES]
    command = [sys.executable, "-m", "pytest", "-q", "-rp", "-p", "no:cacheprovider", *folders]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_passes_its_own_tests(tested, name):
    assert tested.returncode == 0, tested.stdout
    assert [line for line in tested.stdout.splitlines() if line.startswith("PASSED ") and f"{name}/tests/" in line]


@pytest.mark.slow
def test_examples_are_chosen_in_a_search(site, command_line, tmp_path):
    series_frame(240).to_csv(tmp_path / "machines.csv", index=False)
    options = ["--data", "machines.csv", "--target", "state", "--offline", "--trials", 5, "--out", "run", "--quiet"]
    answer = command_line("search", *options, cwd=tmp_path, also=[site])
    assert answer.returncode == 0, answer.stderr
    with (tmp_path / "run" / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ended = {row["strategy"]: row for row in rows if row["trial"] not in {"head", "mean"}}
    assert {row["backbone"] for row in ended.values()} == {"series/random"}
    assert ended["nearest_mean"]["state"] == "complete"
    assert float(ended["nearest_mean"]["score"]) > 0.6
    assert max(float(row["score"]) for row in rows if row["score"]) > 0.9


@pytest.mark.slow
def test_series_are_left_out_where_texts_are_no_numbers(site, command_line, table, tmp_path):
    options = ["--data", table, "--offline", "--trials", 1, "--out", "run"]
    answer = command_line("search", *options, cwd=tmp_path, also=[site])
    assert answer.returncode == 0
    assert "series/random cannot be used: series/random of autotl-series 0.1.0" in answer.stderr
    assert "these texts are not series of numbers" in answer.stderr
    assert "which is the answer: no pretrained model came to an answer" in " ".join(answer.stdout.split())
    named = command_line("search", *options[:-1], "named", "--backbones", "random", cwd=tmp_path, also=[site])
    assert named.returncode == 2
    assert "no backbone could be used: series/random of autotl-series 0.1.0" in named.stderr
