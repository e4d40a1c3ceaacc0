"""Regularizers: off is nothing at all, on is what it says, and all of them train, stop and go on like anything."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autotl.plugins.contracts import Candidate, Choice, Recipe, StrategyContext
from autotl.plugins.manager import plugins
from autotl.search.fitting import fit
from autotl.search.space import Space
from autotl.training.loop import Plan, train
from autotl.training.optimizer import VOCABULARY
from autotl.training.settings import Settings

NAMES = ["label_smoothing", "drop", "reinit_top", "l2_sp", "mixup", "cutmix", "r_drop", "logit_adjustment", "huber"]

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


def known(name):
    return next(regularizer for regularizer in plugins().regularizers if regularizer.name == name)


def context(class_rows=(400, 400, 400), *, augments=False, metric="accuracy", passes=math.inf):
    return StrategyContext(CANDIDATE, sum(class_rows), class_rows, metric, augments, passes)


#: Of a regularizer that does not apply there.
FALLBACK = Choice("strength", (0.0, 1.0))

PLAN = Plan(
    epochs=2.0,
    batch_size=16,
    learning_rate=3e-3,
    layer_decay=1.0,
    weight_decay=0.01,
    schedule="cosine",
    frozen_stages=0,
    augment=0.0,
)


def trained(bench, effects=(), *, seed=0, checkpoint=None):
    trial = bench.trial(effects=effects, seed=seed, checkpoint=checkpoint)
    model = bench.model(trial, drop=max((effect.drop for effect in effects), default=0.0))
    return model, train(model, trial, PLAN)


def finished(bench, effects=(), **how):
    model, progress = trained(bench, effects, **how)
    for _ in progress:
        pass
    return model


def weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def distance(bench, model):
    """How far the backbone has gone from its pretrained weights."""
    start = bench.family.load(bench.frozen.candidate)
    pairs = zip(model.backbone.parameters(), start.parameters(), strict=True)
    return math.sqrt(sum(float((ours - theirs).detach().square().sum()) for ours, theirs in pairs))


def test_ours_are_there_in_this_order():
    assert [regularizer.name for regularizer in plugins().regularizers] == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("augments", [True, False])
@pytest.mark.parametrize("class_rows", [(30, 30), (3000, 90, 40), (4000, 4000)])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_each_can_be_off_and_its_usual_strength_can_be_chosen(name, augments, class_rows, metric):
    here = dataclasses.replace(context(class_rows, augments=augments, metric=metric), squared=name == "huber")
    strengths = known(name).strengths(here)
    assert strengths is not None or name != "huber"
    if strengths is not None:
        assert strengths.name == name
        assert 0.0 in strengths.options
        assert known(name).usual(here) in strengths.options


def test_each_applies_where_its_evidence_is_from():
    texts, images = context(), context((1000, 1000, 1000), augments=True)
    assert known("mixup").strengths(texts) is None
    assert known("mixup").strengths(images)
    assert known("cutmix").strengths(context((1000, 1000, 1000), augments=True, passes=5.0)) is None
    assert known("r_drop").strengths(images) is None
    assert known("reinit_top").strengths(context((4000, 4000))) is None
    assert known("label_smoothing").strengths(context((100, 100))) is None
    assert known("logit_adjustment").strengths(texts) is None
    assert known("logit_adjustment").strengths(context((600, 100)))
    assert known("l2_sp").usual(context((100, 90))) > 0.0
    assert known("l2_sp").usual(context((110, 100))) == 0.0
    assert known("l2_sp").usual(context((500, 500), augments=True)) > 0.0
    assert known("l2_sp").usual(context((501, 500), augments=True)) == 0.0
    assert known("l2_sp").usual(context(())) == 0.0
    assert known("l2_sp").usual(dataclasses.replace(context((), augments=True), rows=2000)) > 0.0  # numbers or labels
    assert known("l2_sp").usual(dataclasses.replace(context((), augments=True), rows=2001)) == 0.0
    assert known("logit_adjustment").usual(context((600, 100))) == 0.0
    assert known("logit_adjustment").usual(context((600, 100), metric="balanced_accuracy")) == 1.0
    assert known("logit_adjustment").usual(context((600, 100), metric="macro_f1")) == 0.5
    priced = dataclasses.replace(context((600, 100), metric="balanced_accuracy"), costs=True)
    assert known("logit_adjustment").usual(priced) == 0.0  # probabilities that costs are multiplied with


def test_frequent_classes_lose_their_advantage_wherever_the_metric_wants_it():
    """Heads do at any imbalance, and trainings begin at these."""
    adjustment = next(known for known in plugins().regularizers if known.name == "logit_adjustment")
    assert adjustment.strengths(context((400, 100), metric="accuracy")) is None
    assert adjustment.usual(context((400, 100), metric="balanced_accuracy")) == 1.0
    assert adjustment.strengths(context((400, 100), metric="balanced_accuracy")).holds(1.0)
    assert adjustment.strengths(context((400, 400), metric="balanced_accuracy")) is None


def test_strength_zero_is_the_training_without(bench):
    recipe = {
        "frozen_fraction": 0.0,
        "learning_rate_multiplier": 1.0,
        "layer_decay": 1.0,
        "schedule": "cosine",
        "epochs_multiplier": 0.3,
    }
    models = []
    for off in ({}, dict.fromkeys(NAMES, 0.0)):
        trial = bench.trial(settings=recipe | off)
        for _ in fit(trial, "finetune"):
            trial.settings.check_all_read()
        assert trial.effects in ([], ())
        models.append(weights(trial.model))
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"mixup", "cutmix", "huber"}])
def test_each_trains_to_something_else_and_the_same_each_time(bench, name):
    """Mixing leaves texts alone, as states with a mask have no common shape; Huber's loss is of numbers."""
    options = known(name).strengths(context((600, 50, 50)))
    strength = options.options[-1]
    plain = finished(bench)
    first, second = (finished(bench, [known(name).effect(strength)]) for _ in range(2))
    assert all(torch.isfinite(tensor).all() for tensor in first.state_dict().values())
    assert all(torch.equal(first.state_dict()[key], second.state_dict()[key]) for key in first.state_dict())
    assert any(not torch.equal(first.state_dict()[key], plain.state_dict()[key]) for key in first.state_dict())


@pytest.mark.parametrize("name", ["l2_sp", "r_drop", "label_smoothing", "logit_adjustment"])
def test_training_that_was_put_down_goes_on_as_if_it_had_not(bench, tmp_path, name):
    def effects():
        return [known(name).effect(1.0)]

    whole = finished(bench, effects())
    file = tmp_path / "state.safetensors"
    _, begun = trained(bench, effects(), checkpoint=file)
    next(begun)
    begun.close()
    model, rest = trained(bench, effects(), checkpoint=file)
    for _ in rest:
        pass
    for key, tensor in whole.state_dict().items():
        assert torch.allclose(tensor, model.state_dict()[key], atol=1e-3), key


def test_l2_sp_takes_back_63_percent_of_what_nothing_else_moves(bench):
    trial = bench.trial()
    model = bench.model(trial)
    effect = known("l2_sp").effect(1.0)
    effect.begin(model, trial)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter += 1.0
    before = distance(bench, model)
    for step in range(400):
        effect.stepped(step, 1 / 400)
    assert distance(bench, model) / before == pytest.approx(math.exp(-1), rel=0.02)


def test_l2_sp_leaves_vocabularies_alone_and_pulls_weights_of_any_other_shape(bench):
    """BERT-large's feed-forward layers have as many rows as a vocabulary, and some networks have scalars."""
    trial = bench.trial()
    model = bench.model(trial)
    model.backbone.words, model.backbone.wide = torch.nn.Embedding(VOCABULARY, 1), torch.nn.Linear(1, VOCABULARY)
    model.backbone.temperature = torch.nn.Parameter(torch.tensor(1.0))
    effect = known("l2_sp").effect(1.0)
    effect.begin(model, trial)
    before = weights(model.backbone)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter += 1.0
    for step in range(400):
        effect.stepped(step, 1 / 400)
    moved = {name: float((tensor - before[name]).detach().mean()) for name, tensor in model.backbone.named_parameters()}
    assert moved.pop("words.weight") == pytest.approx(1.0)
    assert list(moved.values()) == pytest.approx([math.exp(-1)] * len(moved), rel=0.02)


def test_l2_sp_stays_nearer_to_where_it_started(bench):
    free, pulled = finished(bench), finished(bench, [known("l2_sp").effect(3.0)])
    assert distance(bench, pulled) < 0.8 * distance(bench, free)


def test_smoothed_targets_give_each_class_its_part():
    effect = known("label_smoothing").effect(0.1)
    _, targets = effect.batch({}, torch.eye(4), torch.Generator())
    assert torch.allclose(targets.sum(1), torch.ones(4))
    assert torch.allclose(targets.diagonal(), torch.full((4,), 0.925))


def generators(count):
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["mixup", "cutmix"]), st.integers(0, 2**31), st.integers(2, 9), st.integers(2, 12))
def test_labels_are_mixed_in_the_shares_that_rows_are(name, seed, rows, side):
    """Row i is all i: the mean of a mixed row, and of its targets, is the same number then."""
    x = torch.arange(rows).float()[:, None, None, None].expand(rows, 3, side, side).clone()
    effect = known(name).effect(1.0)
    state, targets = effect.batch({"x": x}, torch.eye(rows), torch.Generator().manual_seed(seed))
    assert torch.allclose(targets.sum(1), torch.ones(rows), atol=1e-5)
    assert torch.allclose(state["x"].mean((1, 2, 3)), targets @ torch.arange(rows).float(), atol=1e-3)
    assert torch.equal(x[:, 0, 0, 0], torch.arange(rows).float())  # what is stored is not changed
    if name == "mixup":  # the row whose weight counts is most of it
        assert targets.diagonal().min() >= 0.5 - 1e-6


def test_a_rectangle_is_cut_out_of_the_plane_where_channels_come_last():
    x = torch.arange(6).float()[:, None, None, None].expand(6, 8, 8, 24)
    mixed = [known("cutmix").effect(1.0).batch({"x": x}, torch.eye(6), seed)[0]["x"] for seed in generators(20)]
    assert any(not torch.equal(found, x) for found in mixed)
    assert all(torch.equal(found, found[..., :1].expand_as(found)) for found in mixed)  # every channel of a place


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_half_of_the_batches_are_mixed_and_masked_ones_never(name):
    effect, generator = known(name).effect(1.0), torch.Generator().manual_seed(0)
    x, targets = torch.randn(8, 3, 6, 6), torch.eye(8)
    mixed = [not torch.equal(effect.batch({"x": x}, targets, generator)[1], targets) for _ in range(200)]
    assert 60 < sum(mixed) < 140
    masked = {"x": x, "mask": torch.ones(8, 6)}
    assert all(torch.equal(effect.batch(masked, targets, generator)[1], targets) for _ in range(20))


def test_answers_that_agree_cost_nothing_and_of_others_the_divergence_and_half_of_what_both_lose(bench):
    trial, effect = bench.trial(), known("r_drop").effect(2.0)
    effect.begin(bench.model(trial), trial)
    rows = trial.train[:5]
    targets = torch.nn.functional.one_hot(torch.from_numpy(trial.targets[rows]), trial.outputs).float()
    effect.rows(rows)
    effect.batch({}, targets, torch.Generator())
    logits = torch.randn(5, trial.outputs)
    assert float(effect.loss(logits, lambda: logits)) == pytest.approx(0.0, abs=1e-6)
    other = logits.flip(1)
    one, two = logits.log_softmax(1), other.log_softmax(1)
    apart = ((one.exp() - two.exp()) * (one - two)).sum(1).mean()  # of both directions
    lost = [-(targets * answer).sum(1).mean() for answer in (one, two)]
    expected = float(2.0 * apart / 2 + (lost[1] - lost[0]) / 2)
    assert float(effect.loss(logits, lambda: other)) == pytest.approx(expected, abs=1e-5)


def one_stage(backbone):
    backbone.stages = torch.nn.ModuleList([torch.nn.Sequential(*backbone.stages)])
    return backbone


def test_of_a_single_stage_nothing_is_drawn_anew(bench, monkeypatch):
    trial = bench.trial()
    model, published = bench.model(trial), bench.model(trial)
    one_stage(model.backbone)
    monkeypatch.setattr(type(trial), "load_backbone", lambda *_, **__: one_stage(bench.model(trial).backbone))
    known("reinit_top").effect(2.0).begin(model, trial)
    pairs = zip(model.parameters(), published.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_last_stages_are_drawn_anew_and_the_others_stay(bench):
    trial = bench.trial()
    model = bench.model(trial)
    known("reinit_top").effect(1.0).begin(model, trial)
    published = bench.family.load(bench.frozen.candidate)
    *lower, top = zip(model.backbone.stages, published.stages, strict=True)
    for ours, theirs in lower:
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(top[0].parameters(), top[1].parameters(), strict=True))
    assert not model.head.weight.any()


def test_what_is_not_trained_stays_as_it_was_published(bench):
    trial = bench.trial()
    model = bench.model(trial)
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(False)
    known("reinit_top").effect(2.0).begin(model, trial)
    published = bench.family.load(bench.frozen.candidate)
    assert all(torch.equal(a, b) for a, b in zip(model.backbone.parameters(), published.parameters(), strict=True))
    assert model.head.weight.any()


def test_rare_classes_count_with_logit_adjustment(bench):
    """Labels that the input says nothing of: the frequent class wins without, none does with."""
    random = np.random.default_rng(0)
    bench.targets = random.choice(3, len(bench.targets), p=[0.8, 0.1, 0.1]).astype(np.int64)
    rows = bench.frozen.rows.readable(np.arange(150, 200))

    def share_of_the_frequent(model):
        answers = model.eval().logits(bench.frozen.rows, rows, bench.frozen.precision, torch.device("cpu"))
        return float((answers.argmax(1) == 0).mean())

    with_it, without = finished(bench, [known("logit_adjustment").effect(1.0)]), finished(bench)
    assert share_of_the_frequent(with_it) < share_of_the_frequent(without) - 0.2


def test_strategies_that_heed_them_have_their_strengths_among_the_settings():
    here = context((3000, 300, 300), augments=True)
    space = Space([CANDIDATE], plugins().strategies, plugins().regularizers, {CANDIDATE.key: here})
    first = next(space.portfolio())
    assert first.strategy == "finetune"
    assert first.settings["label_smoothing"] == 0.05
    assert first.settings["mixup"] == 0.0
    probe = next(config for config in space.portfolio() if config.strategy == "probe")
    assert not set(probe.settings) & set(NAMES)


def test_twice_the_steps_time_is_in_the_forecast():
    here = context()
    space = Space([CANDIDATE], plugins().strategies, plugins().regularizers, {CANDIDATE.key: here})
    config = next(space.portfolio())
    slow = type(config)(config.backbone, config.strategy, {**config.settings, "r_drop": 1.0})
    assert (space.work(config).step_cost, space.work(slow).step_cost) == (1.0, 2.0)

    class Costly(type(plugins().strategy("finetune"))):
        def work(self, context, settings):
            return replace(super().work(context, settings), step_cost=3.0)

    space = Space([CANDIDATE], [Costly()], plugins().regularizers, {CANDIDATE.key: here})
    assert (space.work(config).step_cost, space.work(slow).step_cost) == (3.0, 6.0)


def test_stages_thaw_from_the_top_and_what_was_frozen_until_the_end_stays(bench):
    """Two stages and the head from the middle on, the head alone before that."""
    trial = bench.trial()
    model = bench.model(trial)
    published = bench.family.load(bench.frozen.candidate)
    plan = replace(PLAN, frozen_stages=3, thaws=((0.5, 1),))
    moved = []
    for _ in train(model, trial, plan):
        pairs = zip(model.backbone.stages, published.stages, strict=True)
        moved.append(
            [any(not torch.equal(a, b) for a, b in zip(x.parameters(), y.parameters(), strict=True)) for x, y in pairs]
        )
    assert moved[1] == [False, False, False]  # at a third
    assert moved[-1] == [False, True, True]


@pytest.mark.parametrize(
    ("strategy", "trained_stage"),
    [("norm_bias", None), ("surgical", 0)],
)
def test_strategies_that_train_a_part_leave_the_rest(bench, strategy, trained_stage):
    here = StrategyContext(bench.frozen.candidate, 150, (50, 50, 50), "accuracy", False, math.inf)
    recipe = next(iter(plugins().strategy(strategy).portfolio(here)))
    trial = bench.trial()
    trial.settings = Settings(recipe)
    for _ in fit(trial, strategy):
        pass
    published = bench.family.load(bench.frozen.candidate)
    for place, (ours, theirs) in enumerate(zip(trial.model.backbone.stages, published.stages, strict=True)):
        for (name, own), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            may_move = own.ndim == 1 if trained_stage is None else place == trained_stage
            assert may_move or torch.equal(own, other), f"stage {place}: {name}"
    assert distance(bench, trial.model) > 0


@pytest.mark.parametrize("name", NAMES)
def test_each_lets_a_head_alone_be_trained(bench, name):
    options = (known(name).strengths(context((600, 60), augments=name in ("mixup", "cutmix"))) or FALLBACK).options
    effect = known(name).effect(max(options))
    trial = bench.trial(effects=[effect])
    model = bench.model(trial, drop=effect.drop)
    for _ in train(model, trial, replace(PLAN, frozen_stages=len(model.backbone.stages))):
        pass
    assert distance(bench, model) == 0.0


def test_areas_are_not_cut_out_of_several_images():
    here = context((1000, 1000, 1000), augments=True)
    assert known("cutmix").strengths(here)
    assert known("cutmix").strengths(replace(here, candidate=replace(CANDIDATE, columns=2))) is None
