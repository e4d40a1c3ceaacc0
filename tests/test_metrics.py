"""Scores: the same as scikit-learn's, with intervals and comparisons that mean what they say."""

from __future__ import annotations

import made_tasks
import numpy as np
import pytest

from autotl.kinds.classes import Classes
from autotl.predictor.metrics import advantage, interval, score, standard_error

#: Of classes; those of labels and numbers have a file of their own.
TASK_METRICS = tuple(Classes.metrics)


def two(metric, classes=2):
    return made_tasks.of_classes(classes, metric)


def drawn(rows, classes, seed=0, skill=1.0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=rows)
    logits = generator.normal(size=(rows, classes))
    logits[np.arange(rows), labels] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels.astype(np.int64), probabilities.astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_equal_those_of_scikit_learn(classes, seed):
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, probabilities = drawn(83, classes, seed)
    predicted, exact = probabilities.argmax(1), probabilities.astype(np.float64)
    expected = {
        "accuracy": sklearn.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn.balanced_accuracy_score(labels, predicted),
        "macro_f1": sklearn.f1_score(labels, predicted, average="macro"),
        "neg_log_loss": -sklearn.log_loss(labels, exact / exact.sum(1, keepdims=True), labels=range(classes)),
    }
    if classes == 2:
        expected["roc_auc"] = sklearn.roc_auc_score(labels, probabilities[:, 1])
    for metric, value in expected.items():
        assert score(two(metric, classes), labels, probabilities) == pytest.approx(value, abs=1e-6), metric


def test_scores_equal_those_of_scikit_learn_when_classes_are_absent_and_values_tie():
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, probabilities = drawn(60, 5, 1)
    labels[labels == 3] = 0
    predicted = probabilities.argmax(1)
    with np.errstate(all="ignore"), pytest.warns(UserWarning, match="y_pred contains classes"):
        assert score(two("balanced_accuracy", 5), labels, probabilities) == pytest.approx(
            sklearn.balanced_accuracy_score(labels, predicted)
        )
    assert score(two("macro_f1", 5), labels, probabilities) == pytest.approx(
        sklearn.f1_score(labels, predicted, average="macro")
    )
    labels, probabilities = drawn(60, 2, 2)
    coarse = probabilities.round(1)
    assert score(two("roc_auc"), labels, coarse) == pytest.approx(sklearn.roc_auc_score(labels, coarse[:, 1]))


def test_certainty_in_a_wrong_class_costs_a_finite_log_loss():
    labels, probabilities = np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)
    assert -20 < score(two("neg_log_loss"), labels, probabilities) < -5


@pytest.mark.parametrize("metric", TASK_METRICS)
def test_better_answers_score_higher(metric):
    labels, poor = drawn(400, 2, skill=0.3)
    _, good = drawn(400, 2, skill=3.0)
    assert score(two(metric), labels, good) > score(two(metric), labels, poor)


@pytest.mark.parametrize("metric", TASK_METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_interval_holds_the_score_and_narrows_with_rows(metric, seed):
    widths = []
    for rows in (60, 600):
        labels, probabilities = drawn(rows, 2, seed)
        low, high = interval(two(metric), labels, probabilities)
        assert low <= score(two(metric), labels, probabilities) <= high
        widths.append(high - low)
    assert widths[1] < 0.6 * widths[0]


@pytest.mark.parametrize("skill", [-20.0, 20.0])
def test_interval_of_a_perfect_or_hopeless_accuracy_stays_within_bounds(skill):
    labels, probabilities = drawn(30, 2, skill=skill)
    low, high = interval(two("accuracy"), labels, probabilities)
    assert -1e-12 <= low < high <= 1 + 1e-12


@pytest.mark.parametrize(
    ("rows", "recalls"), [((250, 5), (0.99, 0.9)), ((8,) * 5, (0.9,) * 5), ((200, 200), (0.9, 0.85))]
)
def test_few_rows_without_an_error_do_not_make_an_interval_sure(rows, recalls):
    """Of 60 tables that are drawn from the same truth, nearly all intervals hold it."""
    task, generator = two("balanced_accuracy", len(rows)), np.random.default_rng(0)
    truth, held = np.repeat(np.arange(len(rows)), rows), 0
    for _ in range(60):
        wrong = generator.random(len(truth)) > np.array(recalls)[truth]
        decided = (truth + wrong * generator.integers(1, len(rows), len(truth))) % len(rows)
        low, high = interval(task, truth, np.eye(len(rows), dtype=np.float32)[decided])
        held += low <= np.mean(recalls) <= high
    assert held >= 54  # five rows alone would have 27, and eight 53


def test_an_interval_holds_a_score_that_one_row_decides():
    task = made_tasks.of_numbers()
    targets = np.append(np.random.default_rng(0).normal(size=99), 1e6)[:, None].astype(np.float32)
    answers = np.zeros_like(targets)
    low, high = interval(task, targets, answers)
    assert low <= score(task, targets, answers) <= high


def test_standard_error_of_accuracy_is_the_binomial_one():
    labels, probabilities = drawn(400, 2)
    accuracy = score(two("accuracy"), labels, probabilities)
    expected = np.sqrt(accuracy * (1 - accuracy) / 400)
    assert standard_error(two("accuracy"), labels, probabilities) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("metric", TASK_METRICS)
def test_advantage_is_ours_minus_theirs(metric):
    labels, poor = drawn(200, 2, skill=0.3)
    _, good = drawn(200, 2, skill=3.0)
    lead, error = advantage(two(metric), labels, good, poor)
    assert lead == pytest.approx(score(two(metric), labels, good) - score(two(metric), labels, poor))
    assert lead > error > 0
    behind, same_error = advantage(two(metric), labels, poor, good)
    assert (behind, same_error) == pytest.approx((-lead, error))
    assert advantage(two(metric), labels, good, good) == (0.0, 0.0)


def test_comparison_is_paired():
    """Two models that differ in few rows are told apart by less than the noise of either score."""
    labels, ours = drawn(300, 2)
    theirs = ours.copy()
    wrong = np.flatnonzero(ours.argmax(1) == labels)[:4]
    theirs[wrong] = theirs[wrong][:, ::-1]
    lead, error = advantage(two("accuracy"), labels, ours, theirs)
    assert lead == pytest.approx(4 / 300)
    assert error < standard_error(two("accuracy"), labels, ours) / 2


@pytest.mark.parametrize("rows_a_class", [1, 2, 4])
def test_classes_of_a_row_or_two_have_an_error_too(rows_a_class):
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), rows_a_class)
    right = random.random(len(labels)) < 0.7
    answers = np.eye(100, dtype=np.float32)[np.where(right, labels, (labels + 1) % 100)]
    expected = float(np.sqrt(right.mean() * (1 - right.mean()) / len(labels)))
    assert standard_error(two("accuracy", 100), labels, answers) == pytest.approx(expected, rel=0.2)


def test_a_score_that_needs_both_classes_has_an_error_where_rounds_may_lack_one():
    labels, probabilities = drawn(6, 2, 3)
    labels[:] = [0, 0, 0, 1, 1, 1]
    assert 0 < standard_error(two("roc_auc"), labels, probabilities) < 0.5


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_rows_of_a_group_say_less_than_as_many_by_themselves(metric):
    """20 patients of 8 rows, each right or wrong as a whole: 95 % intervals hold what new patients have."""
    random, groups, held = np.random.default_rng(0), np.repeat(np.arange(20), 8), {True: 0, False: 0}
    for _ in range(60):
        right = np.repeat(random.random(20) < 0.7, 8)
        labels = np.repeat(random.permutation(20) % 2, 8)
        answers = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
        for known in (True, False):
            low, high = interval(two(metric), labels, answers, groups if known else None)
            held[known] += low <= 0.7 <= high
    assert held[True] >= 53
    assert held[False] <= 45


def test_an_interval_of_groups_lies_between_those_of_as_many_rows_and_of_as_many_groups():
    labels, probabilities = drawn(400, 2, 5)
    low, high = interval(two("accuracy"), labels, probabilities)
    together = interval(two("accuracy"), labels, probabilities, np.arange(400) // 4)
    assert together == pytest.approx((low, high), abs=0.03)  # neighbours are as independent as any
    perfect = np.eye(2, dtype=np.float32)[labels]
    bottom = interval(two("accuracy"), labels, perfect, np.arange(400) // 4)[0]
    assert bottom == pytest.approx(interval(two("accuracy"), labels[:100], perfect[:100])[0])


def test_comparisons_of_groups_are_less_sure():
    labels, probabilities = drawn(400, 2, 6)
    other = probabilities.copy()
    other[::40] = 1 - other[::40]
    other = np.repeat(other[::8], 8, axis=0)  # one answer a patient
    labels, probabilities = np.repeat(labels[::8], 8), np.repeat(probabilities[::8], 8, axis=0)
    alone, together = (
        advantage(two("accuracy"), labels, probabilities, other, groups)[1] for groups in (None, np.arange(400) // 8)
    )
    assert together > 2 * alone


def test_a_group_by_itself_is_worth_a_row_and_groups_alike_by_chance_no_more_than_their_rows():
    labels = np.arange(50) % 2
    answers = np.eye(2, dtype=np.float32)[np.where(np.arange(50) < 35, labels, 1 - labels)]
    low, high = interval(two("accuracy"), labels, answers, np.zeros(50, np.int64))
    assert (low, high) == pytest.approx(interval(two("accuracy"), labels[:1], answers[:1]), abs=0.3)
    assert high - low > 0.7
    for right in (2, 3):  # of four each, in ten groups
        hits = np.tile(np.arange(4) < right, 10)
        labels = np.zeros(40, np.int64)
        labels[::2] = 1
        answers = np.eye(2, dtype=np.float32)[np.where(hits, labels, 1 - labels)]
        alike = interval(two("accuracy"), labels, answers, np.arange(40) // 4)
        assert alike == pytest.approx(interval(two("accuracy"), labels, answers))


@pytest.mark.parametrize("metric", ["r2", "neg_mae"])
def test_one_group_alone_does_not_make_a_score_certain(metric):
    random, task = np.random.default_rng(0), made_tasks.of_numbers(metric=metric)
    truth = random.normal(size=(10, 1)).astype(np.float32)
    ours, theirs = (truth + spread * random.normal(size=(10, 1)).astype(np.float32) for spread in (0.3, 0.6))
    together = np.zeros(10, np.int64)
    assert standard_error(task, truth, ours, together) == standard_error(task, truth, ours) > 0
    assert advantage(task, truth, ours, theirs, together) == advantage(task, truth, ours, theirs)
    low, high = interval(task, truth, ours, together)
    assert high - low > 0.02


def test_the_only_row_of_a_class_decides_nothing_by_itself():
    """Of 14 rows and one, the first model has that one and 8 of the others right, the second all of the others."""
    labels = np.array([0] * 14 + [1])
    ours = np.where(np.arange(15) < 8, 0, 1)
    one, other = (np.eye(2, dtype=np.float32)[said] for said in (ours, np.zeros(15, np.int64)))
    lead, error = advantage(two("balanced_accuracy"), labels, one, other)
    assert lead == pytest.approx(8 / 28 + 0.5 - 0.5)
    assert error > lead / 2


@pytest.mark.parametrize("number", [0.1, 0.3, 1e6 + 0.1])
def test_numbers_that_are_all_one_have_no_spread_however_they_round(number):
    task = made_tasks.of_numbers(metric="r2")
    truth = np.full((3, 1), number)
    assert score(task, truth, truth + 0.5) == 0.0
    assert score(task, truth, truth) == 1.0
    assert score(task, np.array([[1e6], [1e6 + 1], [1e6 + 2]]), np.full((3, 1), 1e6 + 1)) == pytest.approx(
        0.0, abs=1e-6
    )


def test_a_scorer_that_needs_every_class_has_an_error_where_resamples_of_groups_lack_one():
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)
    groups = np.arange(160) // 4
    labels = np.where(np.arange(160) % 4 == 3, 2, groups % 2)  # the third class is never the first of its group
    labels[7:] = np.where(labels[7:] == 2, groups[7:] % 2, labels[7:])
    answers = random.dirichlet(np.ones(3), 160).astype(np.float32)
    assert 0 < standard_error(made_tasks.of_classes(3, "roc_auc_ovr"), labels, answers, groups) < 0.5


def test_a_handful_of_rows_in_the_right_order_does_not_make_an_area_certain():
    labels = np.arange(12) % 2
    sure = np.linspace(0.1, 0.4, 6)
    second = np.where(labels == 1, 1 - np.repeat(sure, 2), np.repeat(sure, 2))
    answers = np.stack([1 - second, second], 1).astype(np.float32)
    low, high = interval(two("roc_auc"), labels, answers)
    assert 0.4 < low < 0.95
    assert high == 1.0


def test_rows_of_numbers_are_drawn_together_so_that_the_score_varies_as_it_does():
    """Errors that grow with the number: drawn bin by bin their mean would vary by a fifth less than it does."""
    task = made_tasks.of_numbers(metric="neg_mae")
    random, found, errors = np.random.default_rng(0), [], []
    for _ in range(60):
        targets = np.exp(random.normal(size=(200, 1)))
        answers = targets + 0.5 * targets * random.normal(size=(200, 1))
        found.append(score(task, targets.astype(np.float32), answers.astype(np.float32)))
        errors.append(standard_error(task, targets.astype(np.float32), answers.astype(np.float32)))
    assert 0.9 < np.mean(errors) / np.std(found) < 1.2


def test_many_numbers_are_scored_in_fewer_rounds(monkeypatch):
    labels, probabilities = drawn(3000, 100)
    task, asked = made_tasks.of_labels(100), []
    scored = type(task.rules).score
    monkeypatch.setattr(
        type(task.rules), "score", lambda self, *given, **how: asked.append(1) or scored(self, *given, **how)
    )
    targets = np.eye(100, dtype=np.float32)[labels]
    few = standard_error(task, targets[:400], probabilities[:400])
    assert len(asked) == 200
    assert standard_error(task, targets, probabilities) == pytest.approx(few / (3000 / 400) ** 0.5, rel=0.5)
    assert len(asked) == 200 + 50


def test_an_area_over_a_few_groups_is_doubted_by_groups():
    """Ten patients with 100 rows each, all in the right order: five of a class say little, with however many rows."""
    groups = np.arange(10).repeat(100)
    labels = groups % 2
    second = np.where(labels == 1, 0.9, 0.1) + np.random.default_rng(0).normal(0, 0.01, 1000)
    answers = np.stack([1 - second, second], 1).astype(np.float32)
    low, _ = interval(two("roc_auc"), labels, answers, groups)
    alone, _ = interval(two("roc_auc"), labels, answers)
    assert low < 0.9 < 0.98 < alone
