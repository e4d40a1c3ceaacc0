"""The small parts that everything stands on: budget, schedules, heads, scores, settings, incumbents."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.budget import LONGEST, SHORTEST, Clock, parse_budget
from autotl.data.task import METRICS as METRIC_NAMES
from autotl.errors import BudgetError, TrialError
from autotl.features.heads import fit_logistic, ridge_leave_one_out, standardization
from autotl.predictor import metrics
from autotl.search.incumbent import Incumbent, Judged
from autotl.search.pace import Pace
from autotl.training.schedules import SCHEDULES
from autotl.training.settings import Settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("90", 90), (" 5 M ", 300)],
)
def test_budgets_as_people_write_them(text, seconds):
    assert parse_budget(text) == seconds


@given(st.integers(0, 700), st.integers(0, 59), st.integers(0, 59))
def test_a_budget_is_the_sum_of_its_parts(hours, minutes, seconds):
    total = hours * 3600 + minutes * 60 + seconds
    text = f"{hours}h{minutes}m{seconds}s"
    if SHORTEST <= total <= LONGEST:
        assert parse_budget(text) == total
    else:
        with pytest.raises(BudgetError):
            parse_budget(text)


@given(st.text(max_size=12))
def test_any_text_is_a_budget_or_a_budget_error(text):
    try:
        seconds = parse_budget(text)
    except BudgetError:
        return
    assert SHORTEST <= seconds <= LONGEST


@pytest.mark.parametrize("name", SCHEDULES)
@given(progress=st.floats(0, 1))
def test_a_schedule_is_a_share_of_the_peak_rate(name, progress):
    assert -1e-9 <= SCHEDULES[name](progress) <= 1 + 1e-9


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_warms_up_peaks_and_cools_down(name):
    curve = [SCHEDULES[name](step / 1000) for step in range(1001)]
    assert curve[0] < 0.05
    assert max(curve) > 0.99
    assert curve[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("rows", "width"), [(40, 8), (20, 50)])
def test_ridge_leave_one_out_is_what_leaving_rows_out_gives(rows, width):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, rows)
    features = generator.normal(size=(rows, width)).astype(np.float32) + labels[:, None]
    found = ridge_leave_one_out(features, labels, 3)
    mean, scale = standardization(features)
    scaled = ((features - mean) / scale).astype(np.float64)
    targets = np.eye(3)[labels]
    for row in range(rows):
        others = np.arange(rows) != row
        centre, offset = scaled[others].mean(0), targets[others].mean(0)
        x, y = scaled[others] - centre, targets[others] - offset
        weight = np.linalg.solve(x.T @ x + found.penalty * rows * np.eye(width), x.T @ y)
        np.testing.assert_allclose(found.predictions[row], (scaled[row] - centre) @ weight + offset, atol=2e-3)


def test_a_logistic_head_needs_no_standardized_features():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    features = (generator.normal(size=(300, 5)) + 4 * np.eye(5)[labels]).astype(np.float32)
    plain = fit_logistic(features, labels, 3, (1e-3,))
    stretched = fit_logistic(features * 1000 + 500, labels, 3, (1e-3,))
    assert (plain.logits(features).argmax(1) == labels).mean() > 0.97
    np.testing.assert_allclose(plain.logits(features), stretched.logits(features * 1000 + 500), atol=0.05)


def random_answers(seed, rows=200, classes=2):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    logits = generator.normal(size=(rows, classes)) + np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, probabilities.astype(np.float32)


@pytest.mark.parametrize("classes", [2, 5])
def test_scores_are_those_of_scikit_learn(classes):
    sk = pytest.importorskip("sklearn.metrics")
    labels, probabilities = random_answers(0, classes=classes)
    predicted = probabilities.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
        "neg_log_loss": -sk.log_loss(labels, probabilities.astype(np.float64)),
    }
    if classes == 2:
        expected["roc_auc"] = sk.roc_auc_score(labels, probabilities[:, 1])
    for name, value in expected.items():
        assert metrics.score(name, labels, probabilities) == pytest.approx(value, abs=1e-5), name


def test_every_metric_that_a_task_may_have_can_be_scored():
    assert set(metrics.METRICS) == set(METRIC_NAMES)


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_an_interval_holds_its_score(name):
    labels, probabilities = random_answers(1)
    low, high = metrics.interval(name, labels, probabilities)
    assert low < metrics.score(name, labels, probabilities) < high


def test_a_setting_that_nobody_reads_fails_the_trial():
    settings = Settings({"rate": 0.1, "ignored": 1.0})
    assert settings.number("rate") == 0.1
    with pytest.raises(TrialError, match="ignored"):
        settings.check_all_read()
    with pytest.raises(TrialError, match="absent"):
        settings.number("absent")


def judged(trial, labels, right, start=0):
    """Answers that are right on `right` rows from `start` on."""
    place = np.arange(len(labels)) - start
    predicted = np.where((place >= 0) & (place < right), labels, 1 - labels)
    return Judged(trial, 1000, right / len(labels), np.arange(len(labels)), np.eye(2, dtype=np.float32)[predicted])


def test_the_incumbent_stays_until_it_is_beaten_by_more_than_noise():
    labels = np.arange(100) % 2
    incumbent = Incumbent("accuracy", labels)
    assert incumbent.yields_to(judged(-1, labels, 60))
    incumbent.replace(judged(-1, labels, 60))
    assert incumbent.yields_to(judged(0, labels, 60))  # the published recipe only has to be as good
    assert not incumbent.yields_to(judged(0, labels, 59))
    assert not incumbent.yields_to(judged(3, labels, 60))
    assert not incumbent.yields_to(judged(3, labels, 62, start=5))  # 7 won and 5 lost is luck
    assert incumbent.yields_to(judged(3, labels, 70))


def test_a_trial_that_fits_once_gets_all_the_time_and_one_that_fits_often_its_own():
    pace = Pace(Clock(100.0))
    pace.learn_forward("a", 0.001)
    pace.learn_judging("a", 1.0, saved=True)
    long, short = pace.trial_length("a", 20_000, 0.0), pace.trial_length("a", 2_000, 0.0)
    assert long.fill
    assert 90 < long.seconds < 100
    assert not short.fill
    assert short.planned == pytest.approx(8.0)
    assert short.seconds < 30


def test_without_a_time_limit_nothing_depends_on_time():
    pace = Pace(Clock())
    pace.learn_forward("a", 0.001)
    assert pace.screening_seconds(3, first=True) is None
    assert pace.trial_length("a", 1e9, 0.0).seconds is None
    assert pace.passes("a", 1000, 0.0) == math.inf
