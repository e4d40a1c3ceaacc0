"""Heads in closed form and by L-BFGS, against fits done the long way."""

from __future__ import annotations

import made_tasks
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from autotl.features.heads import (
    PENALTIES,
    RIDGE_PENALTIES,
    choose_and_fit,
    choose_penalty,
    fit_head,
    log_shares,
    random_parts,
    ridge_leave_one_out,
    standardization,
)

TASK = made_tasks.of_classes(3)


def blobs(rows, width, classes=3, distance=1.0, seed=0):
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = generator.normal(size=(classes, width)) * distance
    scales, shift = generator.uniform(0.2, 5.0, width), generator.normal(size=width) * 3
    features = (centres[labels] + generator.normal(size=(rows, width))) * scales + shift
    return features.astype(np.float32), labels.astype(np.int64)


def refitted(features, labels, classes, penalty, groups=None):
    """Ridge with an unpenalized intercept, fitted once for each row without that row, or without its group."""
    groups = np.arange(len(labels)) if groups is None else groups
    mean, scale = standardization(features)
    inputs, targets = ((features - mean) / scale).astype(np.float64), np.eye(classes)[labels]
    inputs -= inputs.mean(0)  # what rounding left of the mean
    answers = np.empty_like(targets)
    for row in range(len(labels)):
        others = groups != groups[row]
        middle, offset = inputs[others].mean(0), targets[others].mean(0)
        part = inputs[others] - middle
        gram = part.T @ part + penalty * len(labels) * np.eye(inputs.shape[1])
        answers[row] = offset + (inputs[row] - middle) @ np.linalg.solve(gram, part.T @ (targets[others] - offset))
    return answers


@pytest.mark.parametrize(("rows", "width"), [(40, 6), (24, 24), (20, 50)])
@pytest.mark.parametrize("seed", range(3))
def test_leave_one_out_equals_refitting_without_each_row(rows, width, seed):
    features, labels = blobs(rows, width, distance=0.5, seed=seed)
    found = ridge_leave_one_out(TASK, features, labels)
    assert found.penalty in RIDGE_PENALTIES
    np.testing.assert_allclose(found.predictions, refitted(features, labels, 3, found.penalty), atol=2e-3)


@pytest.mark.parametrize(("rows", "width"), [(40, 6), (30, 50)])
@pytest.mark.parametrize("seed", range(3))
def test_leaving_groups_out_equals_refitting_without_each_group(rows, width, seed):
    features, labels = blobs(rows, width, distance=0.5, seed=seed)
    groups = np.random.default_rng(seed).integers(0, rows // 2, rows)
    found = ridge_leave_one_out(TASK, features, labels, groups)
    np.testing.assert_allclose(found.predictions, refitted(features, labels, 3, found.penalty, groups), atol=2e-3)


def patients(count, rows_of_each, seed, width=60):
    """Rows of one patient are much alike, in more than what its label says; features, labels, patients."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    habits = generator.normal(size=(count, width)) * 3 + generator.normal(size=(3, width))[labels]
    groups = np.repeat(np.arange(count), rows_of_each)
    features = habits[groups] + 0.5 * generator.normal(size=(len(groups), width))
    return features.astype(np.float32), labels[groups].astype(np.int64), groups


def test_groups_are_scored_as_new_ones_will_be_and_ask_for_a_stronger_penalty():
    told, flattered, true, gains = [], [], [], []
    for seed in range(6):
        features, labels, groups = patients(240, 8, seed)
        some, new = groups < 40, groups >= 40
        of_some = features[some], labels[some]
        told.append(ridge_leave_one_out(TASK, *of_some, groups[some]).score)
        flattered.append(ridge_leave_one_out(TASK, *of_some).score)
        penalties = [choose_penalty(TASK, *of_some, 0), choose_penalty(TASK, *of_some, 0, groups=groups[some])]
        assert penalties[0] <= penalties[1]
        heads = [fit_head(TASK, *of_some, penalty) for penalty in penalties]
        right = [(head.logits(features[new]).argmax(1) == labels[new]).mean() for head in heads]
        true.append(max(right))
        gains.append(right[1] - right[0])
    assert np.mean(flattered) > 0.95 > np.mean(true) + 0.1
    assert abs(np.mean(told) - np.mean(true)) < 0.1
    assert np.mean(gains) >= 0


@given(st.integers(1, 60), st.integers(1, 6), st.integers(0, 1000), st.booleans())
def test_random_parts_hold_every_row_once_and_divide_no_group(rows, parts, seed, grouped):
    groups = np.random.default_rng(seed).integers(0, rows, rows) if grouped else None
    found = random_parts(rows, parts, seed, groups)
    assert sorted(np.concatenate(found).tolist()) == list(range(rows))
    if grouped and len(set(groups.tolist())) > 1:
        homes = [set(groups[part].tolist()) for part in found]
        assert sum(map(len, homes)) == len(set(groups.tolist()))
        assert len(found) > 1 or parts == 1
    else:
        assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize(("rows", "width"), [(40, 6), (20, 50)])
def test_the_best_penalty_is_found(rows, width):
    features, labels = blobs(rows, width, distance=0.5, seed=7)
    found = ridge_leave_one_out(TASK, features, labels)
    every = [(refitted(features, labels, 3, penalty).argmax(1) == labels).mean() for penalty in RIDGE_PENALTIES]
    assert found.score == pytest.approx(max(every), abs=1e-9)
    assert found.score == pytest.approx((found.predictions.argmax(1) == labels).mean())


def test_columns_that_never_change_are_borne():
    features, labels = blobs(60, 8, distance=3.0)
    features[:, 3] = 7.0
    features[:, 5] = 0.0
    assert ridge_leave_one_out(TASK, features, labels).score > 0.95
    assert np.isfinite(fit_head(TASK, features, labels, 1e-2).logits(features)).all()


def test_noise_is_not_mistaken_for_signal():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 200)).astype(np.float32)
    assert ridge_leave_one_out(TASK, features, np.arange(300) % 3).score < 0.45


def test_logistic_head_separates_what_is_separable():
    features, labels = blobs(90, 5, distance=8.0)
    logits = fit_head(TASK, features, labels, PENALTIES[-1]).logits(features)
    assert (logits.argmax(1) == labels).all()
    assert np.isfinite(logits).all()


def test_logistic_head_reads_raw_features_whatever_their_units():
    """The standardization is folded into the head: other units give another head with the same logits."""
    features, labels = blobs(80, 6)
    units, shift = np.array([4, 1, 0.5, 3, 1, 1], np.float32), np.array([5, 0, 0, -40, 0, 0], np.float32)
    head = fit_head(TASK, features, labels, 1e-2)
    other = fit_head(TASK, features * units + shift, labels, 1e-2)
    np.testing.assert_allclose(other.logits(features * units + shift), head.logits(features), atol=2e-2)


def test_logistic_head_is_the_regularized_optimum():
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, labels = blobs(120, 6, distance=0.7)
    mean, scale = standardization(features)
    penalty = 1e-2  # times the squared weights, beside the mean loss: C = 1 / (2 * rows * penalty)
    theirs = linear_model.LogisticRegression(C=1 / (2 * 120 * penalty), tol=1e-8, max_iter=1000)
    theirs.fit((features - mean) / scale, labels)
    expected = theirs.predict_proba((features - mean) / scale)
    logits = fit_head(TASK, features, labels, penalty).logits(features)
    found = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_more_noise_asks_for_a_stronger_penalty():
    clean, labels = blobs(200, 10, distance=6.0)
    noise = np.random.default_rng(1).normal(size=(200, 150)).astype(np.float32)
    assert choose_penalty(TASK, noise, labels, 0) > choose_penalty(TASK, clean, labels, 0)


def test_a_head_of_numbers_is_the_ridge_that_was_scored():
    """The best penalty by leave-one-out is one that the head is then fitted with."""
    random = np.random.default_rng(0)
    task = made_tasks.of_numbers()
    for rows, width in ((200, 30), (150, 200)):
        features = random.normal(size=(2 * rows, width)).astype(np.float32)
        truth = features[:, :3].sum(1, keepdims=True) + random.normal(size=(2 * rows, 1))
        targets = ((truth - truth.mean()) / truth.std()).astype(np.float32)
        penalty = choose_penalty(task, features[:rows], targets[:rows], 0)
        assert penalty == ridge_leave_one_out(task, features[:rows], targets[:rows]).penalty
        losses = {}
        for other in RIDGE_PENALTIES:
            answers = fit_head(task, features[:rows], targets[:rows], other).logits(features[rows:])
            losses[other] = float(((answers - targets[rows:]) ** 2).mean())
        assert losses[penalty] < 1.3 * min(losses.values())
        assert losses[penalty] < 0.9 * max(losses.values())


def test_a_penalty_that_some_rows_chose_is_as_strong_for_all():
    """Of groups the first 2000 rows choose: for 12,000 the same share of the covariance would be six times as much.

    But not where more rows are of the same groups, of which they say nothing new.
    """
    random = np.random.default_rng(0)
    task, rows = made_tasks.of_numbers(), 12_000
    features = random.normal(size=(2 * rows, 300)).astype(np.float32)
    truth = features @ random.normal(size=(300, 1)) + 30 * random.normal(size=(2 * rows, 1))
    targets = ((truth - truth.mean()) / truth.std()).astype(np.float32)
    penalty = choose_penalty(task, features[:rows], targets[:rows], 0, groups=np.arange(rows) // 2)
    some = ridge_leave_one_out(task, features[:2000], targets[:2000], np.arange(2000) // 2).penalty

    def loss(penalty):
        answers = fit_head(task, features[:rows], targets[:rows], penalty).logits(features[rows:])
        return float(((answers - targets[rows:]) ** 2).mean())

    assert penalty == pytest.approx(some / 6)
    assert loss(penalty) < loss(some)
    patients = np.arange(rows) % 50
    known = ridge_leave_one_out(task, features[:2000], targets[:2000], patients[:2000]).penalty
    assert choose_penalty(task, features[:rows], targets[:rows], 0, groups=patients) == known


@pytest.mark.parametrize(("rows", "width"), [(200, 30), (40, 90)])
def test_no_other_head_has_less_loss(rows, width):
    """Whether rows determine all weights or not: no step from the head, in any direction, leads further down."""
    features, labels = blobs(rows, width, distance=0.4)
    penalty = 1e-2
    mean, scale = standardization(features)
    inputs = torch.from_numpy(((features - mean) / scale).astype(np.float32))

    def loss(weight, bias):
        return cross_entropy(inputs @ weight + bias, torch.from_numpy(labels)) + penalty * weight.square().sum()

    head = fit_head(TASK, features, labels, penalty)
    weight = torch.from_numpy(head.weight * scale[:, None].astype(np.float32)).requires_grad_()
    bias = torch.from_numpy(head.bias + mean @ head.weight).float().requires_grad_()
    loss(weight, bias).backward()
    assert max(float(weight.grad.abs().max()), float(bias.grad.abs().max())) < 2e-3


@pytest.mark.parametrize("rows", [60, 150, 400])
def test_the_penalty_chosen_is_about_the_best_for_new_rows(rows):
    features, labels = blobs(1000 + rows, 40, distance=0.35)
    penalty = choose_penalty(TASK, features[:rows], labels[:rows], 0)
    losses = {}
    for other in PENALTIES:
        logits = torch.from_numpy(fit_head(TASK, features[:rows], labels[:rows], other).logits(features[rows:]))
        losses[other] = float(cross_entropy(logits, torch.from_numpy(labels[rows:])))
    assert losses[penalty] < 1.2 * min(losses.values())  # at most one off
    assert losses[penalty] < 0.8 * max(losses.values())


def test_of_a_large_table_ridge_leaves_out_the_first_rows(monkeypatch):
    features, labels = blobs(90, 5)
    expected = ridge_leave_one_out(TASK, features[:40], labels[:40])
    monkeypatch.setattr("autotl.features.heads.RIDGE_ROWS", 40)
    found = ridge_leave_one_out(TASK, features, labels)
    assert (found.score, found.penalty) == (expected.score, expected.penalty)


def test_shares_of_classes_are_those_of_what_their_rows_count():
    labels, weights = np.array([0, 0, 0, 1]), np.array([0.5, 0.5, 1.0, 2.0], np.float32)
    np.testing.assert_allclose(np.exp(log_shares(labels, 2, weights)), [0.5, 0.5])
    np.testing.assert_allclose(np.exp(log_shares(labels, 2, None)), [0.75, 0.25], rtol=1e-6)


def test_fitting_a_head_ends_by_its_seconds(monkeypatch):
    features, labels = blobs(300, 8, distance=0.3)
    whole = choose_and_fit(TASK, features, labels, 0)
    penalty = choose_penalty(TASK, features, labels, 0)
    assert whole[0] == penalty < PENALTIES[0]
    np.testing.assert_array_equal(whole[1].weight, fit_head(TASK, features, labels, penalty).weight)
    in_time = choose_and_fit(TASK, features, labels, 0, seconds=1.0)  # some seconds there are in any case
    np.testing.assert_array_equal(in_time[1].weight, whole[1].weight)
    monkeypatch.setattr("autotl.features.heads.LEAST_FITTING", 0.0)
    strongest, head = choose_and_fit(TASK, features, labels, 0, seconds=0.0)
    assert strongest == PENALTIES[0]
    assert np.isfinite(head.weight).all()


def test_ridge_looks_at_fewer_rows_where_there_are_many_outputs(monkeypatch):
    features, labels = blobs(90, 5)
    expected = ridge_leave_one_out(TASK, features[:40], labels[:40])
    monkeypatch.setattr("autotl.features.heads.RIDGE_PRODUCTS", 40 * 5 * 3)
    assert ridge_leave_one_out(TASK, features, labels).score == expected.score


def test_ridge_of_parts_of_the_rows_is_that_of_all(monkeypatch):
    features, labels = blobs(120, 6)
    task, targets = made_tasks.of_numbers(), labels[:, None].astype(np.float32)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, 120).astype(np.float32)
    for counts in (None, weights / weights.mean()):
        whole = fit_head(task, features, targets, 1e-2, counts)
        with monkeypatch.context() as patch:
            patch.setattr("autotl.features.heads._ROWS_AT_A_TIME", 50)
            in_parts = fit_head(task, features, targets, 1e-2, counts)
        np.testing.assert_allclose(in_parts.weight, whole.weight, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(in_parts.bias, whole.bias, rtol=1e-4)
