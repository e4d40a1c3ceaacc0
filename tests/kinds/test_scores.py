"""Scores of labels and numbers, thresholds, and metrics from elsewhere."""

from __future__ import annotations

import made_tasks
import numpy as np
import pytest
from tables_of_kinds import inspected, numbers

from autotl.errors import TaskError
from autotl.kinds.classes import BALANCE
from autotl.kinds.kind import Scale
from autotl.kinds.labels import thresholds
from autotl.kinds.mixing import activated
from autotl.kinds.numbers import in_units
from autotl.predictor import metrics


def test_scores_of_labels_equal_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    targets = (random.random((80, 5)) < 0.3).astype(np.float32)
    answers = activated((2 * targets + random.normal(size=(80, 5))).astype(np.float32).round(), "sigmoid")  # with ties
    given = answers >= 0.5
    task, rules = made_tasks.of_labels(5), made_tasks.of_labels(5).rules
    expected = {
        "mean_average_precision": sklearn.average_precision_score(targets, answers, average="macro"),
        "macro_f1": sklearn.f1_score(targets, given, average="macro"),
        "micro_f1": sklearn.f1_score(targets, given, average="micro"),
        "roc_auc": sklearn.roc_auc_score(targets, answers, average="macro"),
        "exact_match": sklearn.accuracy_score(targets, given),
    }
    for metric, value in expected.items():
        assert metrics.score(task, targets, answers, metric=metric, decided=given) == pytest.approx(value, abs=1e-6)
    assert set(expected) == set(rules.metrics) - {"neg_log_loss"}


def test_scores_of_numbers_equal_those_of_scikit_learn_in_the_units_of_the_table():
    sklearn, scipy = pytest.importorskip("sklearn.metrics"), pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    task = made_tasks.of_numbers(Scale(mean=3.0, deviation=0.5, log=True), Scale(mean=-2.0, deviation=7.0))
    targets = random.normal(size=(70, 2)).round(1).astype(np.float32)
    answers = (targets + 0.5 * random.normal(size=(70, 2))).astype(np.float32)
    truth, said = in_units(task.scales, targets), in_units(task.scales, answers)
    expected = {
        "r2": sklearn.r2_score(truth, said),
        "neg_mae": -sklearn.mean_absolute_error(truth, said),
        "neg_rmse": -np.mean(sklearn.root_mean_squared_error(truth, said, multioutput="raw_values")),
        "spearman": np.mean([scipy.spearmanr(truth[:, i], said[:, i]).statistic for i in range(2)]),
    }
    for metric, value in expected.items():
        found = metrics.score(task, targets, answers, metric=metric, decided=answers)
        assert found == pytest.approx(value, abs=1e-6), metric
    assert set(expected) == set(task.rules.metrics)


def test_thresholds_make_the_best_f1_there_is():
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(1)
    targets = (random.random((60, 3)) < 0.2).astype(np.float32)
    answers = random.random((60, 3)).astype(np.float32)
    found = thresholds(targets, answers)
    for label in range(3):
        every = [sklearn.f1_score(targets[:, label], answers[:, label] >= bar) for bar in answers[:, label]]
        assert sklearn.f1_score(targets[:, label], answers[:, label] >= found[label]) == pytest.approx(max(every))


def test_without_rows_a_threshold_is_one_half():
    """As in the half of a single validation row."""
    nothing = np.empty((0, 3), np.float32)
    assert thresholds(nothing, nothing).tolist() == [0.5] * 3


def test_a_row_is_decided_without_the_help_of_its_own_label():
    """Answers that know nothing: thresholds that were tuned on the rows themselves would flatter them."""
    random = np.random.default_rng(2)
    targets = (random.random((200, 4)) < 0.1).astype(np.float32)
    answers = random.random((200, 4)).astype(np.float32)
    task = made_tasks.of_labels(4, "macro_f1")
    tuned = metrics.score(task, targets, answers, decided=answers >= thresholds(targets, answers))
    assert metrics.score(task, targets, answers) < tuned - 0.02


COSTS = """
import numpy as np
import autotl


class Costs:
    name, kinds, of_decisions = "neg_cost", ("binary", "multiclass"), True

    def score(self, targets, decided):
        return -float(np.abs(targets - decided).mean())


@autotl.hookimpl
def autotl_metrics(context):
    return [Costs()]
"""


def test_a_plugin_brings_a_metric(distribution, put_on_path):
    put_on_path(distribution("costs", COSTS))
    from autotl.plugins.manager import plugins
    from autotl.testing import BrokenPromise, check_metric

    (brought,) = plugins().metrics
    check_metric(brought)
    task = inspected("labels", labels=["a", "b", "c"] * 9, metric="neg_cost").task
    targets, answers = np.array([0, 1, 2]), np.eye(3, dtype=np.float32)[[0, 2, 0]]
    assert metrics.score(task, targets, answers) == pytest.approx(-1.0)
    with pytest.raises(TaskError, match="'neg_cost' is unknown"):
        inspected("price", price=numbers(50), metric="neg_cost", task="regression")
    brought.score = lambda targets, decided: 1.0
    with pytest.raises(BrokenPromise, match="better answers"):
        check_metric(brought)


@pytest.mark.parametrize("metric", ["f1_weighted", "matthews_corrcoef", "neg_brier_score"])
def test_scorers_of_scikit_learn_score_classes(metric):
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    targets = random.integers(0, 2, 60)
    powers = np.exp(np.eye(2)[targets] + random.normal(size=(60, 2)))
    answers = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
    expected = {
        "f1_weighted": lambda: sklearn.f1_score(targets, answers.argmax(1), average="weighted"),
        "matthews_corrcoef": lambda: sklearn.matthews_corrcoef(targets, answers.argmax(1)),
        "neg_brier_score": lambda: -sklearn.brier_score_loss(targets, answers[:, 1]),
    }[metric]()
    task = inspected("labels", labels=["a", "b"] * 9, metric=metric).task
    assert metrics.score(task, targets, answers) == pytest.approx(expected, abs=1e-5)
    low, high = metrics.interval(task, targets, answers)
    assert low < expected < high


def test_scorers_of_scikit_learn_score_numbers_in_the_units_of_the_table():
    sklearn = pytest.importorskip("sklearn.metrics")
    task = inspected("price", price=numbers(50), metric="neg_median_absolute_error").task
    random = np.random.default_rng(0)
    targets = random.normal(size=(40, 1)).astype(np.float32)
    answers = targets + random.normal(size=(40, 1)).astype(np.float32)
    expected = -sklearn.median_absolute_error(in_units(task.scales, targets), in_units(task.scales, answers))
    assert metrics.score(task, targets, answers) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(TaskError, match="'f1_weighted' is unknown"):
        inspected("price", price=numbers(50), metric="f1_weighted", task="regression")


def test_one_answer_for_all_rows_gets_the_share_of_each_label_in_any_order():
    task, answers = made_tasks.of_labels(2), np.full((40, 2), 0.3, np.float32)
    targets = np.repeat([[0, 0], [1, 0], [1, 1], [0, 0]], 10, axis=0).astype(np.float32)
    for order in (np.arange(40), np.arange(40)[::-1]):
        assert metrics.score(task, targets[order], answers) == pytest.approx((0.5 + 0.25) / 2)


def test_guessing_at_labels_is_an_order_by_chance():
    """Of one row in five its share is 0.2, and an order by chance has 0.46."""
    task, random = made_tasks.of_labels(2), np.random.default_rng(0)
    targets = np.array([[1, 1], [0, 1], [0, 0], [0, 1], [0, 0]], np.float32)
    orders = [metrics.score(task, targets, random.random((5, 2)).astype(np.float32)) for _ in range(4000)]
    assert task.rules.guess(targets) == pytest.approx(np.mean(orders), abs=0.01)
    assert task.rules.guess(np.eye(5, 1, dtype=np.float32)) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5)


@pytest.mark.parametrize("usual", [0.0, 9.0, 3.0])
def test_numbers_that_are_not_the_usual_one_have_a_bin_of_their_own(usual):
    numbers = np.array([*[usual] * 17, 1.0, 2.0, 8.0], np.float32)[:, None]
    strata = made_tasks.of_numbers().rules.strata(numbers)
    assert len(np.unique(strata)) > 1
    assert (strata[numbers[:, 0] == usual] == strata[0]).all()
    apart = strata != strata[0]
    assert 1 <= apart.sum() <= 3
    assert (np.diff(strata[np.argsort(numbers[:, 0], kind="stable")]) >= 0).all()


def test_a_scorer_of_two_classes_is_refused_for_three_with_one_for_many():
    pytest.importorskip("sklearn")
    assert inspected("labels", labels=["a", "b"] * 9, metric="f1").task.metric == "f1"
    with pytest.raises(TaskError, match=r"'f1' cannot score 3 classes\. --metric f1_macro is the mean over classes"):
        inspected("labels", labels=["a", "b", "c"] * 9, metric="f1")
    task = inspected("labels", labels=["a", "b", "c"] * 9, metric="roc_auc_ovr").task
    assert task.rules.can_score(task, "roc_auc_ovr", np.array([0, 1, 2, 2]))
    assert not task.rules.can_score(task, "roc_auc_ovr", np.array([0, 1, 1]))  # each class has to occur


def test_a_scorer_of_numbers_says_that_numbers_are_learned_and_scores_no_codes_of_classes():
    pytest.importorskip("sklearn")
    stars = [1, 2, 3, 4, 5] * 8
    for metric in ("neg_mae", "neg_mean_absolute_error"):
        assert inspected("stars", stars=stars, metric=metric).task.kind == "regression"
    with pytest.raises(TaskError, match="'neg_mean_absolute_error' is unknown"):
        inspected("stars", stars=stars, metric="neg_mean_absolute_error", task="multiclass")
    assert inspected("labels", labels=["a", "b", "c"] * 9, metric="adjusted_rand_score").task.kind == "multiclass"


def test_a_label_of_a_row_or_two_is_not_given_to_everyone():
    """Its row ranks last: a threshold of its own would be below all answers."""
    random = np.random.default_rng(0)
    targets, answers = np.zeros((30, 3), np.float32), random.uniform(0.1, 0.4, (30, 3)).astype(np.float32)
    targets[answers[:, 0].argmin(), 0] = targets[answers[:, 1].argmin(), 1] = 1.0
    targets[:10, 2], answers[:10, 2] = 1.0, 0.8
    found = thresholds(targets, answers)
    assert found.tolist() == pytest.approx([0.5, 0.5, found[2]])
    assert 0.4 < found[2] < 0.8


def test_labels_of_few_rows_share_one_threshold_where_together_they_have_enough():
    targets = np.eye(6, dtype=np.float32).repeat(2, 0)  # two rows each
    answers = np.where(targets > 0.5, 0.3, 0.1).astype(np.float32)
    assert thresholds(targets, answers).tolist() == pytest.approx([0.2] * 6)


def test_rows_of_labels_that_are_all_right_do_not_make_a_score_certain():
    targets = np.eye(5, dtype=np.float32)[np.arange(30) % 5]
    answers = np.where(targets > 0.5, 0.9, 0.1).astype(np.float32)
    for metric in ("mean_average_precision", "macro_f1", "exact_match"):
        low, high = metrics.interval(made_tasks.of_labels(5, metric), targets, answers)
        assert low < 0.99 < high == 1.0, metric
    many = np.tile(targets, (40, 1))
    low, high = metrics.interval(made_tasks.of_labels(5), many, np.tile(answers, (40, 1)))
    assert 0.99 < low < high


def test_a_rare_class_that_is_never_given_scores_nothing_and_is_no_error():
    """A model that says no to all rows is usual there."""
    task = made_tasks.of_classes(2, metric="f1")
    targets, never = np.array([0, 0, 0, 1]), np.tile([0.9, 0.1], (4, 1)).astype(np.float32)
    assert metrics.score(task, targets, never) == 0.0


def test_names_of_scikit_learn_for_a_metric_of_ours_mean_the_same():
    assert BALANCE["recall_macro"] == BALANCE["balanced_accuracy"]
    assert BALANCE["f1_macro"] == BALANCE["macro_f1"]
