"""Kinds of tasks beside classes: labels and numbers, from the table to a score."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import nullcontext

import made_tasks
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_folders import events

import autotl
from autotl.cli.main import main
from autotl.data.inspection import inspect_table
from autotl.data.roles import Overrides
from autotl.data.task import Task
from autotl.errors import DataError, ExportError, TaskError
from autotl.kinds.kind import Scale
from autotl.kinds.labels import thresholds
from autotl.kinds.mixing import Combination, activated, mixed, tempered
from autotl.kinds.numbers import COVERAGES, in_units
from autotl.predictor import metrics
from autotl.predictor.combination import decide

COLOURS = ["red", "green", "blue"]


def texts(rows):
    return [f"some words and number {number}" for number in range(rows)]


def some_labels(rows, seed=0):
    """Any of three colours, for each row."""
    random = np.random.default_rng(seed)
    return [[colour for colour in COLOURS if random.random() < 0.4] for _ in range(rows)]


def numbers(rows, seed=0):
    return np.random.default_rng(seed).normal(20, 5, rows).round(2)


def inspected(target="labels", *, task=None, metric=None, **columns):
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame({"text": texts(count), **columns})
    return inspect_table(
        frame, Overrides(target=(target,) if isinstance(target, str) else tuple(target)), kind=task, metric=metric
    )


# -------------------------------------------------------------------- what a table asks


@pytest.mark.parametrize("delimiter", ["|", ";", ", "])
def test_cells_that_combine_few_labels_are_several_labels(delimiter):
    found = inspected(labels=[delimiter.join(given) for given in some_labels(60)])
    assert (found.task.kind, found.task.metric) == ("multilabel", "mean_average_precision")
    assert found.task.classes == ("blue", "green", "red")
    given = [{name for name, there in zip(found.task.classes, row, strict=True) if there} for row in found.targets]
    assert given == [set(labels) for labels in some_labels(60)]
    assert any("none of the labels" in note for note in found.notes)


def test_lists_are_labels():
    found = inspected(labels=some_labels(40))
    assert found.task.kind == "multilabel"
    assert found.targets.shape == (40, 3)


def test_columns_of_zeros_and_ones_are_labels():
    columns = {colour: [int(colour in given) for given in some_labels(50)] for colour in COLOURS}
    found = inspected(COLOURS, **columns)
    assert (found.task.kind, found.task.classes, found.task.target) == (
        "multilabel",
        tuple(COLOURS),
        "red, green, blue",
    )
    np.testing.assert_array_equal(found.targets, np.array(list(columns.values())).T)


@pytest.mark.parametrize(
    "names", [["Paris, France", "Lyon, France", "Rome, Italy"], ["yes; sure", "no; never", "perhaps"]]
)
def test_names_with_commas_stay_classes(names):
    assert inspected(labels=names * 10).task.classes == tuple(sorted(names))


def test_quantities_are_numbers_and_several_columns_of_them_too():
    assert inspected("price", price=numbers(50)).task.kind == "regression"
    found = inspected(["x", "y"], x=numbers(50), y=numbers(50, seed=1))
    assert (found.task.kind, found.targets.shape) == ("regression", (50, 2))
    np.testing.assert_allclose(found.targets.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(found.targets.std(0), 1, atol=1e-5)


def test_a_person_may_say_which_kind_and_a_metric_may_tell():
    stars = [1, 2, 3, 4, 5] * 10
    assert inspected("stars", stars=stars).task.kind == "multiclass"
    assert inspected("stars", stars=stars, task="regression").task.metric == "r2"
    assert inspected("stars", stars=stars, metric="spearman").task.kind == "regression"
    assert inspected("labels", labels=["a b", "a", "b"] * 9, task="multiclass").task.classes == ("a", "a b", "b")


def test_skewed_numbers_are_learned_by_their_logarithm():
    prices = np.exp(np.random.default_rng(0).normal(3, 1, 200)).round(2)
    found = inspected("price", price=prices)
    assert found.task.scales[0].log
    assert any("logarithm" in note for note in found.notes)
    np.testing.assert_allclose(in_units(found.task.scales, found.targets)[:, 0], prices, rtol=1e-5)
    assert not inspected("price", price=prices - 100).task.scales[0].log


REFUSED = {
    "no number": (
        {"y": [*range(30), "many"]},
        "y",
        "regression",
        DataError,
        r"row 31: 'y' is 'many'.*--task",
    ),
    "infinity": ({"y": [*np.arange(30) / 7, float("inf")]}, "y", None, DataError, r"row 31: 'y' is 'inf'"),
    "one value": ({"y": [3.5] * 30}, "y", "regression", TaskError, "every row has the value 3.5"),
    "too few numbers": ({"y": [*np.arange(20) / 7, *[None] * 9]}, "y", None, DataError, "row 21: no label; 9 of 29"),
    "a rare label": ({"y": [["a"], ["a", "b"], ["c"], []] + [["a"]] * 9}, "y", None, DataError, "2 labels have fewer"),
    "a label everywhere": ({"y": [["a"], ["a", "b"]] * 9}, "y", None, DataError, "every row has the label 'a'"),
    "one label": ({"y": [["a"], []] * 9}, "y", None, TaskError, "1 label in"),
    "no flag": ({"y": [0, 1] * 9, "z": [0, 2] * 9}, ["y", "z"], "multilabel", DataError, "row 2: 'z' is '2'"),
    "columns of classes": ({"y": ["a", "b"] * 9, "z": ["c", "d"] * 9}, ["y", "z"], None, TaskError, "2 target columns"),
    "unknown kind": ({"y": ["a", "b"] * 9}, "y", "ranking", TaskError, "task 'ranking' is unknown"),
}


@pytest.mark.parametrize(("columns", "target", "task", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_learned_is_refused(columns, target, task, error, message):
    with pytest.raises(error, match=message):
        inspected(target, task=task, **columns)


def test_a_metric_of_another_kind_is_refused_with_those_that_fit():
    with pytest.raises(TaskError, match=r"'accuracy' does not fit.*regression task.*r2, neg_mae"):
        inspected("price", price=numbers(50), metric="accuracy")


def test_tasks_of_earlier_versions_are_read():
    task = made_tasks.of_classes(3)
    known = task.model_dump(mode="json")
    known["target"] = known.pop("targets")[0]
    for newer in ("delimiter", "scales"):
        del known[newer]
    assert Task.model_validate(known) == task


def test_equal_rows_with_other_labels_are_told_and_with_other_numbers_are_not():
    frame = pd.DataFrame({"text": ["the same words"] * 2 + texts(40), "labels": [["a"], ["b"], *[["a", "b"], []] * 20]})
    assert any("different labels on equal rows" in note for note in inspect_table(frame).notes)
    frame = pd.DataFrame({"text": ["the same words"] * 2 + texts(40), "target": numbers(42)})
    assert not any("different labels" in note for note in inspect_table(frame).notes)


# -------------------------------------------------------------------- scores


def test_scores_of_labels_equal_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    targets = (random.random((80, 5)) < 0.3).astype(np.float32)
    answers = activated((2 * targets + random.normal(size=(80, 5))).astype(np.float32), "sigmoid")
    given = answers >= 0.5
    task, rules = made_tasks.of_labels(5), made_tasks.of_labels(5).rules
    expected = {
        "mean_average_precision": sklearn.average_precision_score(targets, answers, average="macro"),
        "macro_f1": sklearn.f1_score(targets, given, average="macro"),
        "micro_f1": sklearn.f1_score(targets, given, average="micro"),
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
        assert metrics.score(task, targets, answers, metric=metric) == pytest.approx(value, abs=1e-6), metric
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


def test_a_row_is_decided_without_the_help_of_its_own_label():
    """Answers that know nothing: thresholds that were tuned on the rows themselves would flatter them."""
    random = np.random.default_rng(2)
    targets = (random.random((200, 4)) < 0.1).astype(np.float32)
    answers = random.random((200, 4)).astype(np.float32)
    task = made_tasks.of_labels(4, "macro_f1")
    tuned = metrics.score(task, targets, answers, decided=answers >= thresholds(targets, answers))
    assert metrics.score(task, targets, answers) < tuned - 0.02


# -------------------------------------------------------------------- answers


@settings(max_examples=50, deadline=None)
@given(st.floats(0.2, 8.0), st.integers(0, 1000))
def test_tempering_labels_divides_their_logits(temperature, seed):
    logits = np.random.default_rng(seed).uniform(-12, 12, (20, 3)).astype(np.float32)
    cooled = activated(logits / np.float32(temperature), "sigmoid")
    np.testing.assert_allclose(tempered(activated(logits, "sigmoid"), temperature, "sigmoid"), cooled, atol=2e-3)


def test_numbers_are_mixed_as_they_are():
    each = np.random.default_rng(0).normal(size=(2, 5, 1)).astype(np.float32)
    combination = Combination(np.array([0.25, 0.75]), np.array([1.0, 1.0]), 1.0)
    np.testing.assert_allclose(mixed(each, combination, "identity"), 0.25 * each[0] + 0.75 * each[1], atol=1e-6)


@pytest.mark.parametrize("task", [made_tasks.of_labels(3), made_tasks.of_numbers()], ids=["labels", "numbers"])
def test_models_that_err_in_different_places_are_mixed(task):
    random = np.random.default_rng(0)
    outputs = len(task.outputs)
    truth = random.normal(size=(600, outputs))
    targets = (truth > 0.8).astype(np.float32) if task.classes else truth.astype(np.float32)
    each = np.stack([truth + random.normal(size=truth.shape) for _ in range(3)]).astype(np.float32)
    each = np.stack([activated(outputs, task.rules.activation) for outputs in each])
    decision = decide(task, targets, each, 0, np.ones(3, bool))
    assert (decision.combination.shares > 0.15).all()
    assert decision.lead > decision.error
    assert decision.score > max(metrics.score(task, targets, one) for one in each)


def test_intervals_hold_the_share_that_they_promise():
    """Ten halves of rows whose errors are neither normal nor small: on new rows the share is kept."""
    random = np.random.default_rng(0)
    task = made_tasks.of_numbers(Scale(mean=100.0, deviation=20.0))
    targets = random.normal(size=(4000, 1)).astype(np.float32)
    answers = (targets + 0.4 * random.standard_t(3, size=(4000, 1))).astype(np.float32)
    held = []
    for _ in range(10):
        order = random.permutation(4000)
        judged, new = order[:500], order[500:]
        kept = task.rules.calibrate(task, targets[judged], answers[judged])
        around = task.rules.intervals(task, answers[new], kept, 0.9)[:, 0]
        truth = in_units(task.scales, targets[new])[:, 0]
        held.append(float(((around[:, 0] <= truth) & (truth <= around[:, 1])).mean()))
    assert 0.88 <= np.mean(held) <= 0.92
    with pytest.raises(TaskError, match="intervals are kept for"):
        task.rules.intervals(task, answers, kept, 0.77)
    assert list(kept["coverages"][0]) == list(COVERAGES)


@settings(max_examples=40, deadline=None)
@given(st.integers(30, 200), st.integers(0, 1000))
def test_both_sides_of_a_split_have_every_label_and_every_size(rows, seed):
    from autotl.data.splits import holdout

    random = np.random.default_rng(seed)
    targets = (random.random((rows, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(np.float32)
    targets[:3] = 1.0
    train, valid = holdout(made_tasks.of_labels(4).rules.strata(targets), seed=seed)
    assert targets[train].any(0).all()
    quantities = random.normal(size=(rows, 1)).astype(np.float32)
    train, valid = holdout(made_tasks.of_numbers().rules.strata(quantities), seed=seed)
    for quarter in np.array_split(np.sort(quantities[:, 0]), 2):
        assert ((quantities[valid, 0] >= quarter[0]) & (quantities[valid, 0] <= quarter[-1])).any()


# -------------------------------------------------------------------- learning


def test_huber_bounds_the_pull_of_errors_and_leaves_small_ones():
    import torch

    from autotl.regularizers.huber import Huber

    rules = made_tasks.of_numbers().rules
    targets = torch.zeros(4, 1)
    answers = torch.tensor([[0.5], [-0.5], [10.0], [-10.0]], requires_grad=True)
    effect = Huber().effect(0.5)  # errors beyond two deviations
    effect.batch({}, targets, torch.Generator())
    loss = rules.loss(effect.logits(answers), targets)
    loss.backward()
    expected = torch.nn.functional.huber_loss(answers.detach(), targets, delta=2.0)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(4 * answers.grad[:, 0], [0.5, -0.5, 2.0, -2.0], atol=1e-6)


@pytest.mark.parametrize("task", [made_tasks.of_labels(3), made_tasks.of_numbers()], ids=["labels", "numbers"])
def test_a_head_finds_what_features_say(task):
    from autotl.features.heads import choose_penalty, fit_head, ridge_leave_one_out

    random = np.random.default_rng(0)
    features = random.normal(size=(400, 20)).astype(np.float32)
    truth = features[:, : len(task.outputs)] + 0.1 * random.normal(size=(400, len(task.outputs)))
    targets = (truth > 0.5).astype(np.float32) if task.classes else truth.astype(np.float32)
    assert ridge_leave_one_out(task, features[:300], targets[:300]).score > 0.9
    assert ridge_leave_one_out(task, features[:300], random.permutation(targets[:300])).score < 0.6
    penalty = choose_penalty(task, features[:300], targets[:300], 0)
    head = fit_head(task, features[:300], targets[:300], penalty)
    assert metrics.score(task, targets[300:], activated(head.logits(features[300:]), task.rules.activation)) > 0.9


# -------------------------------------------------------------------- whole searches


def a_frame(kind, rows=160, seed=0):
    """Texts in which words stand for labels, or their number for a number."""
    random = np.random.default_rng(seed)
    said, targets = [], []
    for number in range(rows):
        words = [f"word{random.integers(40)}" for _ in range(8)]
        given = [colour for colour in COLOURS if random.random() < 0.4]
        said.append(" ".join(random.permutation([*words, *given])) + f" {number}")
        targets.append("|".join(given) if kind == "labels" else 10.5 * len(given) + float(random.normal()))
    return pd.DataFrame({"text": said, "target": targets})


@pytest.fixture(scope="module", params=["labels", "numbers"])
def searched(request, command_line, zoo, tmp_path_factory):
    """A search of three trials of each kind, with test rows: the kind, the run's folder and a table of new rows."""
    folder = tmp_path_factory.mktemp(request.param)
    a_frame(request.param).to_csv(folder / "table.csv", index=False)
    a_frame(request.param, seed=1, rows=60).to_csv(folder / "new.csv", index=False)
    answer = command_line(
        "search", "--data", "table.csv", "--test", "new.csv", "--models", zoo, "--trials", 3, "--out", "run", cwd=folder
    )
    assert answer.returncode == 0, answer.stderr
    return request.param, folder / "run", folder / "new.csv"


def test_a_search_learns_it_and_says_how_well(searched, here):
    kind, folder, new = searched
    model = autotl.load(folder)
    assert model.task.kind == {"labels": "multilabel", "numbers": "regression"}[kind]
    (tested,) = events(folder, "tested")
    found = model.evaluate(new)
    assert tested["score"] == pytest.approx(found.score, abs=1e-6)
    assert found.score > {"labels": 0.7, "numbers": 0.2}[kind]
    assert found.interval[0] <= found.score <= found.interval[1]
    assert set(found.scores) == set(model.task.rules.metrics)
    (floor,) = events(folder, "floor")
    assert floor["majority"] < 0.5 < floor["words"]
    assert found.score > floor["majority"]


def test_a_search_predicts_in_the_words_of_the_table(searched, here, tmp_path):
    kind, folder, new = searched
    model, frame = autotl.load(folder), pd.read_csv(new)
    assert main(["predict", str(folder), "--data", str(new), "--out", str(tmp_path / "out.csv")]) == 0
    written, said = pd.read_csv(tmp_path / "out.csv"), model.predict(new)
    if kind == "labels":
        assert ["|".join(labels) for labels in said] == written["prediction"].fillna("").tolist()
        assert {label for labels in said for label in labels} == set(COLOURS)
        assert model.predict_proba(new).shape == (60, 3)
        assert set(model.classes_) == set(COLOURS)
        with pytest.raises(TaskError, match="no intervals"):
            model.predict_interval(new)
    else:
        np.testing.assert_allclose(said, written["prediction"], rtol=1e-4)
        assert ((written["low_90"] < said) & (said < written["high_90"])).all()
        assert np.corrcoef(said, frame["target"])[0, 1] > 0.5
        assert model.predict_interval(new, 0.5).shape == (60, 1, 2)
        with pytest.raises(TaskError, match="no probabilities"):
            model.predict_proba(new)


def test_its_report_shows_what_it_gets_wrong(searched, here):
    kind, folder, _ = searched
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Most wrong" in page
    words = {"labels": ("any of 3 labels", "threshold"), "numbers": ("a number", "Residuals")}[kind]
    assert all(word in page for word in words)


def test_an_unreadable_row_costs_itself_only(searched, here):
    kind, folder, _ = searched
    told = autotl.load(folder).predict(["red and blue", None])
    assert told[1] is None if kind == "labels" else np.isnan(told[1])


def test_an_export_says_what_the_bundle_says(searched, here, tmp_path):
    kind, folder, new = searched
    found = autotl.export(folder, to="torch", out=tmp_path / "export", data=new)
    assert found.difference < 1e-4
    assert found.agreement == 1.0
    answer = subprocess.run(
        [sys.executable, tmp_path / "export" / "predict.py", new], capture_output=True, text=True, check=True
    )
    said = pd.read_csv(io.StringIO(answer.stdout))
    assert main(["predict", str(folder), "--data", str(new), "--out", str(tmp_path / "out.csv")]) == 0
    ours = pd.read_csv(tmp_path / "out.csv")
    assert said.columns.tolist() == ours.columns.tolist()
    pd.testing.assert_frame_equal(said, ours, rtol=1e-3)
    with pytest.raises(ExportError) if kind == "numbers" else nullcontext():
        from autotl.exporters.single import only_member

        only_member(autotl.load(folder), "tiny", "a form of one network")


def test_a_service_answers_in_the_form_of_its_kind(searched, here):
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from autotl.serving.app import make_app

    kind, folder, _ = searched
    model = autotl.load(folder)
    with TestClient(make_app(model)) as client:
        (row,) = client.post("/predict", json={"texts": ["word1 red word2 blue"]}).json()["predictions"]
        assert client.get("/openapi.json").status_code == 200
    (expected,) = model.predict(["word1 red word2 blue"])
    if kind == "labels":
        assert row["prediction"] == list(expected)
        assert set(row["probabilities"]) == set(COLOURS)
    else:
        assert row["prediction"] == pytest.approx(expected, rel=1e-4)
        low, high = row["intervals"]["target"]
        assert low < row["prediction"] < high


# -------------------------------------------------------------------- metrics from elsewhere

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


# -------------------------------------------------------------------- what a row counts


@pytest.mark.parametrize(
    "task",
    [made_tasks.of_classes(2), made_tasks.of_labels(2), made_tasks.of_numbers()],
    ids=["classes", "labels", "numbers"],
)
def test_a_row_that_counts_twice_is_as_two_rows(task):
    from autotl.features.heads import fit_head

    random = np.random.default_rng(0)
    features = random.normal(size=(120, 6)).astype(np.float32)
    features[:] -= features.mean(0)
    said = features[:, :2] + random.normal(size=(120, 2))
    targets = {
        "classes": said.argmax(1), "labels": (said > 0).astype(np.float32), "numbers": said[:, :1].astype(np.float32)
    }[task.rules.module]  # fmt: skip
    twice = np.r_[np.arange(120), np.arange(40)]
    weights = np.where(np.arange(120) < 40, 2.0, 1.0).astype(np.float32)
    weights /= weights.mean()
    repeated = fit_head(task, features[twice], targets[twice], 1e-2)
    weighted = fit_head(task, features, targets, 1e-2, weights)
    # standardization sees other rows, so that the penalty is not quite the same
    np.testing.assert_allclose(weighted.logits(features), repeated.logits(features), atol=0.05)
    plain = fit_head(task, features, targets, 1e-2)
    assert np.abs(weighted.logits(features) - plain.logits(features)).max() > 0.05


def test_training_heeds_weights(bench, one_thread):
    """Labels that the input says nothing of: what counts is believed."""
    from autotl.search.fitting import fit
    from autotl.training.trial import ProbeHeads

    random = np.random.default_rng(0)
    bench.targets = random.integers(0, 2, len(bench.targets)).astype(np.int64)
    shares = []
    for favoured in (0, 1):
        trial = bench.trial(settings={
            "frozen_fraction": 0.0, "learning_rate_multiplier": 1.0, "layer_decay": 1.0, "schedule": "cosine",
            "epochs_multiplier": 0.1,
        })  # fmt: skip
        trial.weights = np.where(bench.targets == favoured, 1.9, 0.1).astype(np.float32)
        trial.probes = ProbeHeads(trial.task, trial.targets, trial.train, 0, trial.weights)
        for _ in fit(trial, "finetune"):
            pass
        answers = trial.model.logits(bench.frozen.rows, bench.train, bench.frozen.precision, trial.device)
        shares.append(float((answers.argmax(1) == favoured).mean()))
    assert min(shares) > 0.8


WEIGHTS = {
    "none": ([1.0] * 39 + [None], "row 40: 'w' is 'None', and a weight is a number above 0"),
    "words": (["much"] * 40, "row 1: 'w' is 'much'"),
    "below 0": ([1.0] * 39 + [-1.0], "row 40"),
}


@pytest.mark.parametrize(("weights", "message"), WEIGHTS.values(), ids=WEIGHTS)
def test_what_is_no_weight_is_refused(weights, message):
    frame = pd.DataFrame({"text": texts(40), "label": ["a", "b"] * 20, "w": weights})
    with pytest.raises(DataError, match=message):
        inspect_table(frame, Overrides(weight="w"))


def test_weights_go_with_their_rows_and_are_one_in_the_mean():
    frame = pd.DataFrame({"text": texts(40), "label": ["a", "b"] * 20, "w": [1.0, 3.0] * 20})
    frame.loc[5, "text"] = None
    found = inspect_table(frame, Overrides(weight="w"))
    assert found.weights.mean() == pytest.approx(1.0)
    np.testing.assert_allclose(found.weights / found.weights[0], frame["w"][found.kept], rtol=1e-6)
    with pytest.raises(DataError, match="both the target and the weight"):
        inspect_table(frame, Overrides(weight="label", target=("label",)))
