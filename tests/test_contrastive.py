"""Contrastive tuning: where it applies, what its loss says, and that it keeps time, seeds and states like any other."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from autotl.budget import Clock
from autotl.plugins.contracts import Candidate, Recipe, StrategyContext
from autotl.plugins.manager import plugins
from autotl.search.fitting import fit
from autotl.testing import check_strategy
from autotl.training.contrast import BalancedBatches, contrast
from autotl.training.model import load_model, save_model
from autotl.training.rungs import RUNGS

CANDIDATE = Candidate(
    name="one",
    family="family",
    modality="text",
    source="folder",
    location="one",
    parameters=1000,
    width=32,
    input_size=64,
    licence="none",
    prior=0.5,
    recipe=Recipe(1e-3),
)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def few(bench):
    """The bench with eight rows a class."""
    chosen = [bench.train[bench.targets[bench.train] == label][:8] for label in range(3)]
    bench.train = np.sort(np.concatenate(chosen))
    return bench


def context(class_rows, *, modality="text"):
    return StrategyContext(
        replace(CANDIDATE, modality=modality), sum(class_rows), class_rows, "accuracy", False, math.inf
    )


def contrastive():
    return plugins().strategy("contrastive")


def trained(bench, **how):
    """The trial and what it yielded, after a fraction of the recipe's steps."""
    recipe = {**contrastive().portfolio(context((8, 8, 8)))[0], "epochs_multiplier": 0.5}
    trial = bench.trial(settings=recipe, **how)
    return trial, fit(trial, "contrastive")


def weights(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("class_rows", "modality", "applies"),
    [
        ((64, 8), "text", True),
        ((2, 2, 2), "text", True),
        ((120, 8), "text", True),
        ((121, 8), "text", False),
        ((1, 1), "text", False),
        ((8, 8), "image", False),
    ],
)
def test_it_applies_to_texts_with_64_rows_a_class_or_fewer_in_the_mean(class_rows, modality, applies):
    assert bool(contrastive().parameters(context(class_rows, modality=modality))) is applies


def test_loss_is_the_one_published():
    """Outside the logarithm, spelled out for each anchor and each of its partners."""
    torch.manual_seed(0)
    features, labels = torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 1, 2])
    unit = features / features.norm(dim=1, keepdim=True)
    from autotl.training.contrast import TEMPERATURE

    losses = []
    for i in range(5):  # the last is alone in its class
        others = [j for j in range(6) if j != i]
        total = sum(math.exp(float(unit[i] @ unit[j]) / TEMPERATURE) for j in others)
        partners = [j for j in others if labels[j] == labels[i]]
        losses.append(-sum(float(unit[i] @ unit[j]) / TEMPERATURE - math.log(total) for j in partners) / len(partners))
    assert float(contrast(features, labels)) == pytest.approx(sum(losses) / 5, rel=1e-5)


def test_loss_of_rows_without_partners_is_zero_and_has_gradients():
    features = torch.randn(3, 4, requires_grad=True)
    loss = contrast(features, torch.tensor([0, 1, 2]))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert torch.isfinite(features.grad).all()


def test_batches_hold_as_many_rows_of_each_class_and_follow_from_seed_and_step(bench):
    trial = bench.trial()
    batches, again = BalancedBatches(trial, 12), BalancedBatches(trial, 12)
    assert [batches.at(step)[0] for step in range(30)] == sorted(batches.at(step)[0] for step in range(30))
    for step in (0, 3, 17):
        _, rows = batches.at(step)
        assert sorted(bench.targets[rows].tolist()) == [0] * 4 + [1] * 4 + [2] * 4
        assert len(set(rows.tolist())) == 12
        assert np.array_equal(rows, again.at(step)[1])
    assert not np.array_equal(batches.at(0)[1], batches.at(1)[1])


def test_classes_take_turns_where_two_rows_of_each_do_not_fit(bench):
    trial = bench.trial()
    seen = [set(bench.targets[BalancedBatches(trial, 4).at(step)[1]].tolist()) for step in range(20)]
    assert all(len(labels) == 2 for labels in seen)
    assert set().union(*seen) == {0, 1, 2}


def test_tuned_features_hold_classes_together_and_the_head_knows_them(few):
    trial, progress = trained(few)
    details = [step.details["loss"] for step in progress]
    assert details[-1] < 0.8 * details[0]
    logits = trial.model.logits(few.frozen.rows, few.train, few.frozen.precision, trial.device)
    assert (logits.argmax(1) == few.targets[few.train]).all()


def test_there_is_a_model_with_a_head_of_its_own_at_every_rung(few):
    trial, progress = trained(few)
    heads, rungs = [], []
    for step in progress:
        rungs.append(step.permille)
        heads.append(trial.model.linear_head().weight)
    assert tuple(rungs) == RUNGS
    assert all(not np.array_equal(first, second) for first, second in itertools.pairwise(heads))


def test_where_nobody_looks_at_it_on_its_way_it_gets_its_head_at_the_end(few):
    trial, progress = trained(few)
    trial.judged_on_the_way = False
    heads = [trial.model.linear_head().weight for _ in progress]
    assert all(np.array_equal(heads[0], head) for head in heads[:-1])
    assert not np.array_equal(heads[0], heads[-1])


def test_same_seed_gives_the_same_model_and_another_seed_another(few):
    results = []
    for seed in (3, 3, 4):
        trial, progress = trained(few, seed=seed)
        list(progress)
        results.append(weights(trial.model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_it_ends_within_its_clock(few):
    trial, progress = trained(few, clock=Clock(2.0), fill_time=True)
    began = time.monotonic()
    assert [step.permille for step in progress][-1] == 1000
    assert time.monotonic() - began < 3.0  # the last head is fitted when the time is over
    assert trial.model is not None


def test_training_that_was_put_down_ends_as_if_it_had_not_been(few, tmp_path):
    whole, progress = trained(few)
    list(progress)
    file = tmp_path / "state.safetensors"
    _, begun = trained(few, checkpoint=file)
    for step in begun:
        if step.permille == 333:
            break
    resumed, rest = trained(few, checkpoint=file)
    assert [step.permille for step in rest] == [rung for rung in RUNGS if rung > 333]
    assert same(weights(whole.model), weights(resumed.model))


def test_late_checkpoint_lets_a_refit_repeat_the_last_third_with_more_rows(few, tmp_path):
    late = tmp_path / "late.safetensors"
    trial, progress = trained(few, checkpoint=tmp_path / "state.safetensors")
    trial.late_checkpoint = late
    list(progress)
    few.train = few.frozen.rows.readable(np.arange(60))
    again, rest = trained(few, checkpoint=late)
    assert [step.permille for step in rest] == [1000]
    assert not same(weights(trial.model), weights(again.model))


def test_saved_model_answers_as_before(few, tmp_path):
    trial, progress = trained(few)
    list(progress)
    save_model(trial.model, few.family, few.frozen.rows.encoder, tmp_path / "model")
    loaded, _ = load_model(few.family, tmp_path / "model")
    before, after = (
        one.logits(few.frozen.rows, few.train, few.frozen.precision, trial.device) for one in (trial.model, loaded)
    )
    np.testing.assert_array_equal(before, after)


def test_it_keeps_its_contract():
    check_strategy(contrastive())
