"""Mixing models: shares, temperatures, and how much of a score is the luck of having chosen."""

from __future__ import annotations

import made_tasks
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotl.kinds.classes import Classes
from autotl.kinds.mixing import Combination, activated, mixed, tempered
from autotl.predictor import metrics
from autotl.predictor.combination import LEAST_SHARE, decide, fit_temperature, greedy_shares

CLASSES = 4
TASK = made_tasks.of_classes(CLASSES)


def softmax(logits):
    return activated(logits, "softmax")


def a_world(rows, models, *, skill=1.0, shared=0.0, seed=0):
    """Labels, and models that each see the truth through noise; `shared` of the noise is common to all of them."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, rows)
    truth = skill * np.eye(CLASSES)[labels]
    common = random.normal(size=(rows, CLASSES))
    own = random.normal(size=(models, rows, CLASSES))
    logits = truth + shared**0.5 * common + (1 - shared) ** 0.5 * own
    powers = np.exp(logits)
    return labels, (powers / powers.sum(2, keepdims=True)).astype(np.float32)


def all_of(models):
    return np.ones(models, bool)


def test_models_that_err_in_different_places_are_mixed_and_do_better_on_new_rows():
    labels, each = a_world(4000, 3, seed=1)
    decision = decide(TASK, labels[:500], each[:, :500], 0, all_of(3))
    assert (decision.combination.shares > 0.15).all()
    assert decision.lead > decision.error
    new = mixed(each[:, 500:], decision.combination, "softmax")
    best = max(metrics.score(TASK, labels[500:], one) for one in each[:, 500:])
    assert metrics.score(TASK, labels[500:], new) > best + 0.05


def test_models_that_say_the_same_are_not_mixed():
    labels, each = a_world(500, 1, seed=2)
    decision = decide(TASK, labels, np.concatenate([each, each, each]), 1, all_of(3))
    assert decision.combination.shares.tolist() == [0.0, 1.0, 0.0]


def test_few_rows_are_not_believed_when_they_prefer_one_of_many_good_models():
    chosen, answered = [], []
    for seed in range(10):
        labels, each = a_world(2030, 4, skill=1.5, seed=seed)
        scores = [metrics.score(TASK, labels[:30], one) for one in each[:, :30]]
        decision = decide(TASK, labels[:30], each[:, :30], int(np.argmax(scores)), all_of(4))
        assert (decision.combination.shares > 0.15).sum() >= 2
        new = mixed(each[:, 30:], decision.combination, "softmax")
        chosen.append(metrics.score(TASK, labels[30:], each[int(np.argmax(scores)), 30:]))
        answered.append(metrics.score(TASK, labels[30:], new))
    assert np.mean(answered) > np.mean(chosen) + 0.08


def test_few_rows_are_enough_to_leave_a_poor_model_out():
    labels, each = a_world(40, 3, skill=2.0, seed=4)
    _, guesses = a_world(40, 1, skill=0.0, seed=5)
    decision = decide(TASK, labels, np.concatenate([each, guesses]), 0, all_of(4))
    assert decision.combination.shares[3] == 0.0
    assert (decision.combination.shares[:3] > 0.2).all()


def test_a_model_that_is_there_twice_counts_once():
    labels, (one, other) = a_world(40, 2, skill=1.5, seed=0)
    shares = decide(TASK, labels, np.stack([one, other, one]), 0, all_of(3)).combination.shares
    assert shares[0] + shares[2] == pytest.approx(0.5, abs=0.15)
    assert min(shares[0], shares[2]) == 0.0


def test_one_model_is_its_own_answer():
    labels, each = a_world(300, 1)
    decision = decide(TASK, labels, each, 0, all_of(1))
    assert decision.optimism == 0.0
    assert decision.score == metrics.score(TASK, labels, each[0])
    assert (decision.answers.argmax(1) == each[0].argmax(1)).all()


def test_models_without_weights_get_no_share():
    labels, each = a_world(500, 3, seed=3)
    decision = decide(TASK, labels, each, 0, np.array([True, False, True]))
    assert decision.combination.shares[1] == 0.0


@pytest.mark.parametrize("models", [5, 40])
def test_what_is_taken_off_is_what_new_rows_take_off(models):
    """The mean over many worlds: choosing the best of equals looks better than it is, by as much as is taken off."""
    seen, corrected, true = [], [], []
    for seed in range(30):
        labels, each = a_world(2200, models, skill=1.2, shared=0.999, seed=seed)
        each = np.concatenate([each, each[:1]])  # two that are alike beyond doubt, so that mixing never pays
        scores = [metrics.score(TASK, labels[:200], one) for one in each[:, :200]]
        best = int(np.argmax(scores))
        only_it = np.arange(models + 1) == best
        decision = decide(TASK, labels[:200], each[:, :200], best, only_it)
        seen.append(scores[best])
        corrected.append(decision.score)
        true.append(metrics.score(TASK, labels[200:], each[best, 200:]))
    assert abs(np.mean(corrected) - np.mean(true)) < np.mean(seen) - np.mean(true) + 0.01
    assert np.mean(corrected) < np.mean(seen)


def test_having_kept_the_best_of_many_for_the_mixture_is_taken_off_too():
    """The mean over worlds of equals: eight of sixty are kept by the rows that judge their mixture."""
    said, true = [], []
    for seed in range(12):
        labels, each = a_world(3000, 60, skill=1.0, shared=0.7, seed=seed)
        scores = np.array([metrics.score(TASK, labels[:200], one) for one in each[:, :200]])
        kept = np.isin(np.arange(60), np.argsort(-scores)[:8])
        decision = decide(TASK, labels[:200], each[:, :200], int(np.argmax(scores)), kept)
        said.append(decision.score)
        true.append(metrics.score(TASK, labels[200:], mixed(each[:, 200:], decision.combination, "softmax")))
    assert abs(np.mean(said) - np.mean(true)) < 0.015


def test_temperature_finds_by_how_much_answers_are_too_sure():
    labels, each = a_world(2000, 1, skill=2.0, seed=4)
    honest = fit_temperature(TASK, labels, each[0])
    boasting = tempered(each[0], 1 / 3, "softmax")
    assert fit_temperature(TASK, labels, boasting) == pytest.approx(3 * honest, rel=0.03)


def test_temperature_is_of_all_classes_where_the_table_has_one_after_the_other():
    """Of many classes and rows only some tell it; boasting of the later classes must not be overheard."""
    classes, rows = 300, 1200
    random, labels = np.random.default_rng(0), np.sort(np.arange(rows) % classes)
    logits = 4.0 * np.eye(classes)[labels] + random.normal(size=(rows, classes))
    logits[rows // 2 :] *= 4.0
    answers, shuffled = softmax(logits).astype(np.float32), random.permutation(rows)
    task = made_tasks.of_classes(classes)
    anyhow = fit_temperature(task, labels[shuffled], answers[shuffled])
    assert fit_temperature(task, labels, answers) == pytest.approx(anyhow, rel=0.1)


@pytest.mark.parametrize("temperature", [0.5, 3.0, 8.0])
def test_tempering_divides_logits_however_sure_they_are(temperature):
    logits = np.random.default_rng(0).uniform(-35, 35, (50, CLASSES)).astype(np.float32)
    np.testing.assert_allclose(
        tempered(softmax(logits), temperature, "softmax"), softmax(logits / temperature), atol=1e-6
    )


def test_metrics_other_than_accuracy_decide_too():
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    logits = np.eye(2)[labels] + random.normal(size=(3, 400, 2))
    each = (np.exp(logits) / np.exp(logits).sum(2, keepdims=True)).astype(np.float32)
    for metric in Classes.metrics:
        decision = decide(made_tasks.of_classes(2, metric), labels, each, 0, all_of(3))
        assert np.isfinite(decision.score)
        assert decision.combination.shares.sum() == pytest.approx(1.0)


def test_a_class_with_a_single_row_is_no_trouble():
    labels, each = a_world(60, 3, seed=5)
    labels[labels == 3] = 0
    labels[7] = 3
    assert np.isfinite(decide(made_tasks.of_classes(CLASSES, "balanced_accuracy"), labels, each, 0, all_of(3)).score)


@pytest.mark.parametrize("models", [2, 5])
def test_halves_without_a_positive_row_are_no_trouble(models):
    labels, each = np.array([1] + [0] * 40), np.random.default_rng(0).dirichlet([1, 1], (models, 41)).astype(np.float32)
    decision = decide(made_tasks.of_classes(2, "roc_auc"), labels, each, 0, all_of(models))
    assert np.isfinite([decision.score, decision.optimism, decision.single_score]).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(2, 60), st.integers(0, 10_000))
def test_shares_are_shares(models, rows, seed):
    labels, each = a_world(rows, models, seed=seed)
    shares = greedy_shares(TASK, TASK.rules.stakes(labels, each), np.ones(rows))
    assert shares.sum() == pytest.approx(1.0)
    assert all(share == 0 or share >= LEAST_SHARE for share in shares)


def test_many_models_that_are_as_good_as_each_other_share_alike():
    """So many that none has the share that is the least elsewhere: each is right where all others know nothing."""
    models = 16
    of_the_label = np.where(np.eye(models, dtype=bool), 0.999, 0.5).astype(np.float32)
    shares = greedy_shares(TASK, of_the_label, np.ones(models))
    np.testing.assert_allclose(shares, 1 / models)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.2, 5.0), st.integers(0, 10_000))
def test_mixtures_are_probabilities_and_tempering_keeps_the_favourite(temperature, seed):
    _, each = a_world(20, 3, seed=seed)
    combination = Combination(np.array([0.5, 0.25, 0.25]), np.array([1.0, 2.0, 0.5]), temperature)
    answer = mixed(each, combination, "softmax")
    np.testing.assert_allclose(answer.sum(1), 1.0, atol=1e-5)
    untempered = mixed(each, Combination(combination.shares, combination.temperatures, 1.0), "softmax")
    assert (answer.argmax(1) == untempered.argmax(1)).mean() > 0.99


@pytest.mark.parametrize("rows", [10, 40, 500])
def test_answers_that_are_all_right_are_not_taken_for_certain(rows):
    random = np.random.default_rng(0)
    sure = random.uniform(0.8, 0.97, rows)
    answers = np.stack([sure, 1 - sure], 1).astype(np.float32)
    labels, task = np.zeros(rows, np.int64), made_tasks.of_classes(2)
    cooled = tempered(answers, fit_temperature(task, labels, answers), "softmax")
    assert 1 / (4 * rows) < (1 - cooled[:, 0]).mean() < 2 / rows  # about half a mistake in all
    assert fit_temperature(task, labels, cooled) == pytest.approx(1.0, abs=0.05)  # nothing is left to do


def test_labels_that_are_all_right_are_not_taken_for_certain_either():
    random = np.random.default_rng(0)
    targets = (random.random((40, 3)) < 0.5).astype(np.float32)
    answers = np.where(targets > 0.5, 0.8, 0.2).astype(np.float32)
    task = made_tasks.of_labels(3)
    cooled = tempered(answers, fit_temperature(task, targets, answers), "sigmoid")
    assert 0.97 < cooled[targets > 0.5].mean() < 0.995


def test_halves_that_choose_divide_no_group():
    labels, each = a_world(400, 3, skill=1.0, seed=3)
    apart, together = np.arange(400), np.arange(400) // 10
    alone = decide(TASK, labels, each, 0, all_of(3))
    assert decide(TASK, labels, each, 0, all_of(3), apart).lead == pytest.approx(alone.lead)
    repeated = np.repeat(np.arange(40), 10)  # ten copies each of forty rows
    copies = decide(TASK, labels[repeated], each[:, repeated], 0, all_of(3), together)
    believed = decide(TASK, labels[repeated], each[:, repeated], 0, all_of(3))
    few = decide(TASK, labels[:40], each[:, :40], 0, all_of(3))
    assert copies.error == pytest.approx(few.error, rel=0.3)
    assert believed.error < 0.5 * few.error
