"""Was transfer worth it: when that is measured, and what is said of it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from autotl.report.live import transfer_sentence
from autotl.search.control import is_doubtful


def test_weak_features_and_long_budgets_ask_for_a_control():
    labels = np.array([0] * 50 + [1] * 50)
    assert is_doubtful(0.55, labels, full_trials=2.0)
    assert not is_doubtful(0.9, labels, full_trials=2.0)
    assert is_doubtful(0.9, labels, full_trials=25.0)


def test_guessing_the_largest_class_is_no_knowledge():
    labels = np.array([0] * 90 + [1] * 10)
    assert is_doubtful(0.91, labels, full_trials=2.0)
    assert not is_doubtful(0.97, labels, full_trials=2.0)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.05, "was worth it"), (-0.05, -0.01, "was not worth it"), (-0.01, 0.02, "cannot be told")],
)
def test_the_sentence_follows_the_interval(low, high, words):
    assert words in transfer_sentence({"difference": (low + high) / 2, "low": low, "high": high})


@pytest.mark.slow
def test_where_features_say_nothing_the_same_network_is_tried_with_new_weights(command_line, zoo, tmp_path):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "text": [" ".join(generator.choice([f"w{i}" for i in range(200)], 10)) for _ in range(160)],
            "label": generator.permutation(["a", "b"] * 80),
        }
    )
    frame.to_csv(tmp_path / "noise.csv", index=False)
    options = ["--data", "noise.csv", "--models", zoo / "one", "--trials", 3, "--out", "run"]
    answer = command_line("search", *options, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    started = [event["strategy"] for event in events if event["kind"] == "trial_started"]
    assert started == ["finetune", "probe", "scratch"]
    (said,) = [event for event in events if event["kind"] == "transfer"]
    assert said["control"] == 2
    assert said["low"] <= said["difference"] <= said["high"]
    assert transfer_sentence(said) in " ".join(answer.stdout.split())
