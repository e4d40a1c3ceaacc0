"""Was transfer worth it: when that is measured, and what is said of it."""

from __future__ import annotations

import json
from dataclasses import replace

import made_tasks
import numpy as np
import pandas as pd
import pytest

from autotl.plugins.contracts import Work
from autotl.predictor.bundle import Member
from autotl.report.live import transfer_sentence, twin_sentence
from autotl.search.control import comparisons, is_doubtful, verdict
from autotl.search.incumbent import Incumbent, Judged
from autotl.search.shelf import Model


def test_weak_features_and_long_budgets_ask_for_a_control():
    assert is_doubtful(0.55, 0.5, full_trials=5.0)
    assert not is_doubtful(0.9, 0.5, full_trials=5.0)
    assert is_doubtful(0.9, 0.5, full_trials=25.0)


def test_where_few_trials_fit_none_of_them_is_a_control():
    assert not is_doubtful(0.55, 0.5, full_trials=2.0)
    assert is_doubtful(0.55, 0.5, full_trials=None)  # trials are counted


def test_guessing_the_largest_class_is_no_knowledge():
    assert is_doubtful(0.91, 0.9, full_trials=5.0)
    assert not is_doubtful(0.97, 0.9, full_trials=5.0)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.05, "was worth it"), (-0.05, -0.01, "was not worth it"), (-0.01, 0.02, "cannot be told")],
)
def test_the_sentence_follows_the_interval(low, high, words):
    assert words in transfer_sentence({"difference": (low + high) / 2, "low": low, "high": high})


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.05, "tutored was worth it"), (-0.05, -0.01, "plain does better"), (-0.01, 0.02, "cannot be told")],
)
def test_the_sentence_on_a_twin_follows_the_interval(low, high, words):
    names = {"strategy": "tutored", "twin": "plain", "backbone": "tiny/one"}
    assert words in twin_sentence({**names, "difference": (low + high) / 2, "low": low, "high": high})


class Twins:
    """A space in which `tutored` names a twin."""

    def knows(self, config):
        return True

    still_fits = knows

    def begins_pretrained(self, config):
        return config.strategy != "scratch"

    def work(self, config):
        return Work(1.0, twin="plain" if config.strategy == "tutored" else "")


def finished(trial, strategy, right, **settings):
    """A model that answers the first `right` of 20 rows rightly; their label is 0."""
    probabilities = np.eye(2, dtype=np.float32)[(np.arange(20) >= right).astype(int)]
    member = Member(
        folder=f"{trial:04d}", family="tiny", backbone="tiny/one", licence="none", strategy=strategy,
        settings=settings, trial=str(trial),
    )  # fmt: skip
    judged = Judged(trial, 1000, right / 20, np.arange(20), probabilities)
    return Model(f"{trial:04d}", f"{trial:04d}", judged, member, None, 80)


def test_twins_are_compared_where_they_differ_in_nothing_else_and_the_first_pair_counts():
    incumbent = Incumbent(made_tasks.of_classes(2), np.zeros(20, np.int64), training_rows=80)
    models = [
        finished(4, "tutored", 20, rate=1.0, zeal=2.0),  # better, but later
        finished(0, "plain", 10, rate=1.0),
        finished(1, "tutored", 15, rate=1.0, zeal=1.0),
        finished(2, "tutored", 20, rate=2.0, zeal=1.0),  # without a twin
    ]
    (found,) = comparisons(models, Twins(), incumbent.lead)
    assert (found.strategy, found.twin, found.trial, found.other) == ("tutored", "plain", 1, 0)
    assert found.difference == pytest.approx(0.25)
    assert found.low < found.difference < found.high
    assert not comparisons(models[1:2], Twins(), incumbent.lead)


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
    options = ["--data", "noise.csv", "--models", zoo / "one", "--trials", 4, "--out", "run"]
    answer = command_line("search", *options, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    started = [event["strategy"] for event in events if event["kind"] == "trial_started"]
    assert started[0] == "finetune"
    (said,) = [event for event in events if event["kind"] == "transfer"]
    assert said["control"] == started.index("scratch")
    assert said["low"] <= said["difference"] <= said["high"]
    assert transfer_sentence(said) in " ".join(answer.stdout.split())


def lucky(trial, strategy, seed):
    """A model that answers each of 100 rows rightly with a probability of 0.7; their label is 0."""
    wrong = np.random.default_rng(seed).random(100) > 0.7
    answers = np.eye(2, dtype=np.float32)[wrong.astype(int)]
    judged = Judged(trial, 1000, float(1 - wrong.mean()), np.arange(100), answers)
    return replace(finished(trial, strategy, 20), judged=judged)


def test_the_luckiest_of_many_trainings_is_not_taken_for_the_worth_of_transfer():
    incumbent = Incumbent(made_tasks.of_classes(2), np.zeros(100, np.int64), training_rows=400)
    worth = 0
    for draw in range(20):
        models = [lucky(trial, "plain", (draw, trial)) for trial in range(20)]
        control = lucky(20, "scratch", (draw, 20))
        found = verdict([*models, control], Twins(), incumbent.lead, incumbent.score)
        assert found.control == 20
        assert found.pretrained == max(models, key=lambda model: model.judged.score).judged.trial
        worth += found.low > 0
    assert worth == 0  # by the best on the same rows it is said three times


@pytest.mark.parametrize(("rows", "groups"), [(19, None), (100, np.arange(100) // 6)])
def test_a_handful_of_rows_or_groups_says_nothing_of_transfer(rows, groups):
    incumbent = Incumbent(made_tasks.of_classes(2), np.zeros(100, np.int64), training_rows=400)
    models = [lucky(0, "plain", 0), lucky(1, "scratch", 1)]
    few = [replace(model, judged=model.judged.on(np.arange(rows))) for model in models]
    assert verdict(few, Twins(), incumbent.lead, incumbent.score, groups) is None
    assert verdict(models, Twins(), incumbent.lead, incumbent.score, np.arange(100) // 5) is not None


def test_where_half_of_the_rows_have_one_class_only_nothing_is_said():
    labels = np.eye(1, 100, dtype=np.int64)[0]
    incumbent = Incumbent(made_tasks.of_classes(2, "roc_auc"), labels, training_rows=400)
    models = [lucky(0, "plain", 0), lucky(1, "scratch", 1)]
    assert verdict(models, Twins(), incumbent.lead, incumbent.score) is None
