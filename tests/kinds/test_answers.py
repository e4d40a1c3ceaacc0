"""From outputs to answers: temperatures, mixtures, intervals, heads, and what a row counts."""

from __future__ import annotations

import made_tasks
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables_of_kinds import texts

from autotl.data.inspection import inspect_table
from autotl.data.roles import Overrides
from autotl.errors import DataError, TaskError
from autotl.kinds.kind import Scale
from autotl.kinds.labels import thresholds
from autotl.kinds.mixing import Combination, activated, mixed, tempered
from autotl.kinds.numbers import COVERAGES, in_units
from autotl.predictor import metrics
from autotl.predictor.combination import decide


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


LOGARITHM, PLAIN = Scale(mean=1.0, deviation=0.5, log=True), Scale(mean=100.0, deviation=20.0)


@pytest.mark.parametrize("scales", [[PLAIN], [LOGARITHM], [PLAIN, LOGARITHM]], ids=["plain", "logarithm", "both"])
def test_a_line_of_torch_makes_numbers_of_outputs(scales):
    import torch

    outputs = torch.randn(5, len(scales), generator=torch.Generator().manual_seed(0))
    task = made_tasks.of_numbers(*scales)
    shifts = [0.25 * scale.log for scale in scales]
    said = eval(task.rules.in_torch(task, "outputs", {"shifts": [shifts]}))
    np.testing.assert_allclose(said.numpy(), in_units(scales, outputs.numpy() + shifts), rtol=1e-5)


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


@pytest.mark.parametrize(
    ("scale", "metric", "above"),
    [(LOGARITHM, "r2", 0.5), (LOGARITHM, "neg_rmse", 0.5), (LOGARITHM, "neg_mae", 0.0), (PLAIN, "r2", 0.0)],
)
def test_a_logarithms_answer_is_told_as_the_mean_where_the_metric_asks_for_means(scale, metric, above):
    """Normal errors of a deviation s: the mean is exp(s^2 / 2) times the median."""
    random = np.random.default_rng(0)
    task = made_tasks.of_numbers(scale.model_copy(update={"deviation": 1.0}) if scale.log else scale, metric=metric)
    targets = random.normal(size=(4000, 1)).astype(np.float32)
    answers = (targets + random.normal(size=(4000, 1))).astype(np.float32)
    kept = task.rules.calibrate(task, targets[:2000], answers[:2000])
    np.testing.assert_allclose(task.rules.decisions(task, answers, kept) - answers, above, atol=0.05)
    told = task.rules.told(task, answers[2000:], kept)
    np.testing.assert_allclose(np.log(told / task.rules.told(task, answers[2000:], {})), above, atol=0.05)
    (written, *_) = task.rules.written(task, answers[2000:], kept)
    (answered, *_) = task.rules.answered(task, answers[2000:], kept)
    assert written["prediction"] == pytest.approx(answered["prediction"], rel=1e-5) == pytest.approx(told[0], rel=1e-5)


def test_means_of_logarithms_score_better_on_rows_that_taught_nothing():
    random = np.random.default_rng(0)
    task = made_tasks.of_numbers(Scale(mean=0.0, deviation=1.0, log=True))
    answers = random.normal(size=(600, 1)).astype(np.float32)
    targets = (answers + 0.7 * random.normal(size=(600, 1))).astype(np.float32)
    medians = task.rules.score(task, targets, answers, metric="r2")
    assert metrics.score(task, targets, answers) > medians + 0.01
    few = metrics.score(task, targets[:30], answers[:30])
    assert few == task.rules.score(task, targets[:30], answers[:30], metric="r2")


@settings(max_examples=40, deadline=None)
@given(st.integers(30, 200), st.integers(0, 1000))
def test_both_sides_of_a_split_have_every_label_and_every_size(rows, seed):
    from autotl.data.splits import holdout

    random = np.random.default_rng(seed)
    targets = (random.random((rows, 4)) < [0.5, 0.3, 0.2, 0.1]).astype(np.float32)
    targets[:3] = 1.0
    train, valid = holdout(made_tasks.of_labels(4).rules.shared_out(targets), seed=seed)
    assert targets[train].any(0).all()
    quantities = random.normal(size=(rows, 1)).astype(np.float32)
    train, valid = holdout(made_tasks.of_numbers().rules.shared_out(quantities), seed=seed)
    for quarter in np.array_split(np.sort(quantities[:, 0]), 2):
        assert ((quantities[valid, 0] >= quarter[0]) & (quantities[valid, 0] <= quarter[-1])).any()


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
    frame["w"] = ["0,5", "1,5"] * 20  # as tables come that were written where a comma is the point
    np.testing.assert_allclose(inspect_table(frame, Overrides(weight="w")).weights, found.weights, rtol=1e-6)
    with pytest.raises(DataError, match="both the target and the weight"):
        inspect_table(frame, Overrides(weight="label", target=("label",)))


def test_one_slip_does_not_raise_all_answers_that_are_learned_by_their_logarithms():
    random = np.random.default_rng(0)
    task = made_tasks.of_numbers(Scale(mean=0.0, deviation=1.0, log=True))
    answers = random.normal(size=(125, 1)).astype(np.float32)
    targets = answers + 0.5 * random.normal(size=(125, 1)).astype(np.float32)
    (plain,) = task.rules.calibrate(task, targets, answers)["shifts"]
    targets[7] = np.log(0.01)
    (with_a_slip,) = task.rules.calibrate(task, targets, answers)["shifts"]
    assert plain == pytest.approx([0.125], abs=0.03)
    assert with_a_slip == pytest.approx(plain, abs=0.02)


def test_intervals_of_few_rows_are_wider_than_their_largest_error():
    random, task = np.random.default_rng(0), made_tasks.of_numbers()
    held = np.zeros(len(COVERAGES))
    for _ in range(400):
        off = random.normal(size=(4, 1)).astype(np.float32)
        widths = np.array(task.rules.calibrate(task, np.zeros((4, 1), np.float32), off)["widths"])[:, 0]
        held += (np.abs(random.normal(size=(50, 1))) <= widths).mean(0) / 400
    assert (held >= np.array(COVERAGES) - 0.06).all(), held


def test_intervals_hold_their_share_of_new_groups():
    """Errors are alike within a group of 20 rows: by rows alone, 95 % would be less than 90."""
    random, held = np.random.default_rng(0), []
    task = made_tasks.of_numbers(Scale(mean=0.0, deviation=1.0))
    for _ in range(200):
        off = (random.normal(size=(11, 1)) + 0.1 * random.normal(size=(11, 20))).reshape(-1, 1).astype(np.float32)
        zeros, groups = np.zeros_like(off), np.arange(11).repeat(20)
        kept = task.rules.calibrate(task, zeros[:200], off[:200], groups[:200])
        around = task.rules.intervals(task, off[200:], kept, 0.9)[:, 0]
        held.append(float(((around[:, 0] <= 0) & (around[:, 1] >= 0)).mean()))
    assert 0.86 <= np.mean(held) <= 0.96


def test_few_errors_raise_nothing_that_the_score_has_not_seen():
    """Below 40 rows the halves that are scored raise no answer, so none is raised later."""
    random = np.random.default_rng(0)
    task = made_tasks.of_numbers(Scale(mean=0.0, deviation=1.0, log=True))
    answers = random.normal(size=(60, 1)).astype(np.float32)
    targets = (answers + 0.7 * random.normal(size=(60, 1))).astype(np.float32)
    assert task.rules.calibrate(task, targets[:30], answers[:30])["shifts"] == [[0.0]]
    assert task.rules.calibrate(task, targets, answers)["shifts"][0][0] > 0.1


def test_numbers_far_from_zero_are_told_apart_and_no_noise_is_told_of_others():
    eastings = np.array([5432123.4, 5432987.6])
    assert Scale(mean=5.4e6, deviation=400.0).rounded(eastings).tolist() == eastings.tolist()
    assert PLAIN.rounded(np.array([93.40000152587891])).tolist() == [93.4]
    assert LOGARITHM.rounded(np.array([[1234567.8, 0.00012345678]])).tolist() == [[1234570.0, 0.000123457]]


def test_surely_given_labels_are_tempered_as_others_are():
    logits = np.array([[-18.0, -3.0, 16.0, 17.0, 20.0]], np.float32)
    expected = 1 / (1 + np.exp(-np.minimum(logits, 17.33) / 4))
    np.testing.assert_allclose(tempered(activated(logits, "sigmoid"), 4.0, "sigmoid"), expected, atol=3e-3)


@pytest.mark.parametrize("turned", [False, True])
def test_a_threshold_is_between_different_answers(turned):
    answers = np.array([0.9] * 5 + [0.4] * 22, np.float32)[:, None]
    known = np.array([1.0] * 7 + [0.0] * 20)[:, None]
    rows = slice(None, None, -1) if turned else slice(None)
    assert thresholds(known[rows], answers[rows], fewest=1).tolist() == [pytest.approx(0.65)]
