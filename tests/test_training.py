"""Training: what is frozen stays, what is seeded repeats, what is limited ends, and what diverges says so."""

from __future__ import annotations

import re
import time

import made_tasks
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy

from autotl.budget import Clock
from autotl.errors import DivergedError
from autotl.features.boundary import Boundary
from autotl.features.speed import SettledSpeeds
from autotl.plugins.contracts import Recipe, Work
from autotl.plugins.manager import plugins
from autotl.testing.bench import image_bench
from autotl.training.batches import Batches
from autotl.training.checkpoint import go_on_from
from autotl.training.effect import Effect
from autotl.training.forecast import forecast
from autotl.training.loop import Plan, train
from autotl.training.model import Classifier, load_model, save_model
from autotl.training.rungs import RUNGS
from autotl.training.trial import ProbeHeads

pytestmark = pytest.mark.usefixtures("one_thread")


def plan(**changes):
    usual = {
        "epochs": 2.0,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "layer_decay": 1.0,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "frozen_stages": 0,
        "augment": 0.0,
    }
    return Plan(**(usual | changes))


def weights(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_training_on_few_rows_starts_where_there_is_something_to_learn(bench):
    """The start on 50 rows a class knows where they are and is not sure of it; on more it is the probe."""
    trial = bench.trial()
    features = torch.from_numpy(bench.frozen.features(trial.train))
    targets = torch.from_numpy(bench.targets[trial.train])
    _, probe = trial.probes.penalty_and_head(bench.frozen)
    known, start = (torch.from_numpy(head.logits(features.numpy())) for head in (probe, trial.starting_head()))
    assert cross_entropy(known, targets) < 0.8 * np.log(3) < 0.95 * np.log(3) < cross_entropy(start, targets)
    assert (start.argmax(1) == targets).float().mean() > 0.5

    many = bench.trial()
    many.train = np.tile(trial.train, 5)  # 250 rows a class
    assert np.array_equal(many.starting_head().weight, probe.weight)

    crowded = bench.trial()
    crowded.task, crowded.targets = made_tasks.of_classes(12), np.arange(len(bench.targets)) % 12
    crowded.probes = ProbeHeads(crowded.task, crowded.targets, crowded.train, 0)
    assert np.array_equal(crowded.starting_head().weight, crowded.probes.penalty_and_head(bench.frozen)[1].weight)


def test_rows_of_every_length_are_trained_on_alike(bench, tiny, zoo, frame, tmp_path):
    """Texts are sorted by length within batches; what fills none must not always be the longest."""
    lengths = np.random.default_rng(0).integers(1, 12, len(frame))
    texts = [" ".join([text, *["word"] * more]) for text, more in zip(frame["text"], lengths, strict=True)]
    bench = type(bench)(tiny, zoo, frame.assign(text=texts), tmp_path / "unlike")
    trial = bench.trial()
    assert len(set(bench.frozen.rows.lengths(trial.train))) > 5
    batches = Batches(trial, 32)  # four of 150 rows, 22 are left over
    seen = np.zeros(len(bench.targets), int)
    for step in range(4 * 60):
        _, rows = batches.at(step)
        seen[rows] += 1
    assert seen[trial.train].min() > 30
    assert seen.sum() == 4 * 60 * 32


def test_a_probe_of_a_table_that_was_seen_in_part_looks_at_no_other_rows(bench):
    """It is forecast as a closed form; a look at the rest could take longer than all the time that is left."""
    trial = bench.trial(settings={"penalty_multiplier": 1.0})
    trial.seen = trial.train[::2]
    list(plugins().strategy("probe").fit(trial))
    kept = bench.frozen.collection("features", f"{bench.frozen.layered.lowest} to {bench.frozen.last}")
    found = [digest in kept for digest in bench.frozen.rows.digests(trial.train)]
    assert found == [place % 2 == 0 for place in range(len(trial.train))]
    answers = trial.model.logits(bench.frozen.rows, trial.train, bench.frozen.precision, trial.device)
    assert (answers.argmax(1) == trial.targets[trial.train]).mean() > 0.5


def test_a_part_of_a_recipe_is_as_long_as_it_says_and_says_what_it_made(bench):
    made = []
    for share in (1.0, 0.5, 2.0):
        trial = bench.trial()
        trial.share = share
        steps = [progress.details["steps"] for progress in train(bench.model(trial), trial, plan(epochs=8.0))]
        made.append((steps[-1], trial.made))
    whole = made[0][0]
    assert made == [(whole, 1.0), (pytest.approx(whole / 2, abs=1), pytest.approx(0.5, abs=0.05)), (2 * whole, 2.0)]


@pytest.mark.parametrize("frozen", [0, 1, 2, 3])
def test_frozen_stages_keep_parameters_and_statistics_and_the_others_learn(bench, frozen):
    trial = bench.trial()
    model = bench.model(trial)
    before = [weights(module) for module in (*model.backbone.stages, model.head)]
    list(train(model, trial, plan(frozen_stages=frozen)))
    after = [weights(module) for module in (*model.backbone.stages, model.head)]
    for depth, (old, new) in enumerate(zip(before, after, strict=True)):
        if depth < frozen:
            assert same(old, new), f"stage {depth}"
        else:
            assert all(not torch.equal(old[name], new[name]) for name in old), f"stage {depth}"


def test_training_learns_what_the_table_teaches(bench):
    trial = bench.trial()
    model = bench.model(trial)
    losses = [progress.details["loss"] for progress in train(model, trial, plan(epochs=20))]
    assert losses[-1] < 0.5 * losses[0]
    held_out = bench.frozen.rows.readable(np.arange(150, 200))
    logits = model.logits(bench.frozen.rows, held_out, bench.frozen.precision, trial.device)
    assert (logits.argmax(1) == bench.targets[held_out]).mean() > 0.6


def test_same_seed_gives_the_same_weights_and_another_seed_others(bench):
    results = []
    for seed in (3, 3, 4):
        trial = bench.trial(seed=seed)
        model = bench.model(trial)
        list(train(model, trial, plan()))
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_same_seed_gives_the_same_weights_on_a_machine_seen_for_the_first_time(bench):
    """The first training of a network also races precisions, which must not move what dropout draws."""
    results = []
    for _ in range(2):
        trial = bench.trial()
        model = bench.model(trial, drop=0.2)
        list(train(model, trial, plan()))
        results.append(weights(model))
    assert same(results[0], results[1])


def test_trial_is_judged_at_every_rung(bench):
    trial = bench.trial()
    assert tuple(step.permille for step in train(bench.model(trial), trial, plan())) == RUNGS


def test_shortest_training_still_takes_a_step_before_each_rung(bench):
    trial = bench.trial()
    steps = [progress.details["steps"] for progress in train(bench.model(trial), trial, plan(epochs=0.01))]
    assert steps[0] >= 1
    assert steps == sorted(set(steps))


def test_long_training_ends_within_its_clock_at_its_last_rung(bench):
    trial = bench.trial()
    model = bench.model(trial)
    trial.clock = Clock(1.0)
    began = time.monotonic()
    last = list(train(model, trial, plan(epochs=1e6)))[-1]
    assert last.permille == 1000
    assert 0.9 < time.monotonic() - began < 1.5


def test_short_training_does_not_wait_for_its_clock_unless_it_should_fill_it(bench):
    trial = bench.trial()
    began = time.monotonic()
    list(train(bench.model(trial), trial, plan()))
    trial.clock, began = Clock(60.0), time.monotonic()
    list(train(bench.model(trial), trial, plan()))
    assert time.monotonic() - began < 10.0
    trial.clock, trial.fill_time = Clock(1.0), True
    last = list(train(bench.model(trial), trial, plan(epochs=0.1)))[-1]
    assert last.permille == 1000
    assert trial.clock.elapsed >= 1.0
    assert last.details["steps"] > 10


class Explosion(Effect):
    """Ruins a training in one of its steps: its loss, or the gradients of a loss that is as it should be."""

    def __init__(self, step, *, in_gradients):
        self.step, self.in_gradients, self.steps = step, in_gradients, 0

    def loss(self, logits, again):
        if self.steps != self.step:
            return None
        if self.in_gradients:  # the root of zero has a gradient that no number is
            return logits.sub(logits.detach()).square().sum().sqrt()
        return logits.sum() * float("inf")

    def stepped(self, step, progress):
        self.steps = step + 1


@pytest.mark.parametrize("in_gradients", [False, True])
@pytest.mark.parametrize("step", [0, 5])
def test_loss_that_is_not_finite_fails_the_trial_at_once(bench, step, in_gradients, tmp_path):
    explosion = Explosion(step, in_gradients=in_gradients)
    trial = bench.trial(effects=[explosion], checkpoint=tmp_path / "trial")
    with pytest.raises(DivergedError, match=f"the loss is not finite after {step + 1} steps"):
        list(train(bench.model(trial), trial, plan(epochs=50)))
    assert explosion.steps == step
    assert not trial.checkpoint.exists()


def test_table_smaller_than_a_batch_is_trained_on(bench):
    trial = bench.trial()
    trial.train = bench.train[:5]
    assert [step.permille for step in train(bench.model(trial), trial, plan(batch_size=64))][-1] == 1000


@pytest.mark.parametrize("schedule", ["constant-cooldown", "cosine", "linear", "one-cycle"])
def test_every_schedule_trains(bench, schedule):
    trial = bench.trial()
    model = bench.model(trial)
    before = weights(model.head)
    assert list(train(model, trial, plan(schedule=schedule, epochs=1)))[-1].permille == 1000
    assert not same(before, weights(model.head))


def test_saved_model_answers_as_before(bench, tmp_path):
    trial = bench.trial()
    model = bench.model(trial)
    list(train(model, trial, plan()))
    save_model(model, bench.family, bench.frozen.rows.encoder, tmp_path / "model")
    loaded, encoder = load_model(bench.family, tmp_path / "model")
    assert encoder == bench.frozen.rows.encoder
    before, after = (
        one.logits(bench.frozen.rows, bench.train, bench.frozen.precision, trial.device) for one in (model, loaded)
    )
    np.testing.assert_array_equal(before, after)


def test_a_batch_that_does_not_fit_is_passed_in_pieces_and_stays_one_batch(bench, monkeypatch):
    """Batch statistics would tell pieces from wholes, so they are frozen here, and so would bf16."""
    bench.frozen.speeds = SettledSpeeds(torch.device("cpu"))
    results = []
    for fits in (16, 4):
        trial = bench.trial()
        model = bench.model(trial)
        for stage in model.backbone.stages[1:]:
            stage.norm.momentum = 0.0
            monkeypatch.setattr(stage.norm, "train", lambda mode=True, norm=stage.norm: norm)
            stage.norm.eval()
        forward = model.backbone.forward

        def limited(state, start=0, stop=None, *, forward=forward, fits=fits):
            if len(state["x"]) > fits:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return forward(state, start, stop)

        monkeypatch.setattr(model.backbone, "forward", limited)
        list(train(model, trial, plan(epochs=0.5)))
        results.append(weights(model))
    for name, whole in results[0].items():
        torch.testing.assert_close(results[1][name], whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("fits", "pretrained", "moves"), [(16, True, True), (2, True, False), (2, False, True)])
def test_the_statistics_of_a_few_rows_are_no_batch(bench, monkeypatch, fits, pretrained, moves):
    """In pieces, what normalizes is what the network was pretrained with, and stays; new weights have nothing else."""
    bench.frozen.speeds = SettledSpeeds(torch.device("cpu"))
    trial = bench.trial()
    model = bench.model(trial)
    before = [stage.norm.running_mean.clone() for stage in model.backbone.stages[1:]]
    forward = model.backbone.forward

    def limited(state, start=0, stop=None):
        if len(state["x"]) > fits and model.training:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(state, start, stop)

    monkeypatch.setattr(model.backbone, "forward", limited)
    list(train(model, trial, plan(epochs=0.5, pretrained=pretrained)))
    after = [stage.norm.running_mean for stage in model.backbone.stages[1:]]
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True)) == moves


def test_what_a_trial_takes_is_forecast_before_it_starts(bench):
    trial = bench.trial()
    list(train(bench.model(trial), trial, plan(epochs=20)))  # what is measured in passing is in the book
    work = Work(passes=40.0)
    assert forecast(trial, Work(passes=0.0)).seconds == 0.0
    planned = forecast(trial, work).seconds
    assert forecast(trial, Work(passes=80.0)).seconds == pytest.approx(2 * planned)
    began = time.perf_counter()
    list(train(bench.model(trial), trial, plan(epochs=40)))
    assert planned == pytest.approx(time.perf_counter() - began, rel=0.7)


def test_training_that_was_put_down_ends_as_if_it_had_not_been(bench, tmp_path):
    """Dropout and shuffling too: all that is random follows from the seed and the step."""
    whole = bench.model(bench.trial(), drop=0.3)
    list(train(whole, bench.trial(), plan(epochs=3.0)))

    file = tmp_path / "there" / "0007.safetensors"
    first = bench.trial(checkpoint=file)
    begun = bench.model(first, drop=0.3)
    for progress in train(begun, first, plan(epochs=3.0)):
        if progress.permille == 333:
            break
    second = bench.trial(checkpoint=file)
    ended = bench.model(second, drop=0.3)
    rungs = [progress.permille for progress in train(ended, second, plan(epochs=3.0))]

    assert rungs == [permille for permille in RUNGS if permille > 333]
    assert same(weights(ended), weights(whole))
    assert not same(weights(ended), weights(begun))


def test_one_training_after_another_begins_where_the_first_ended_and_not_in_its_checkpoint(bench, tmp_path):
    """As a strategy in stages does; where the second is put down, both begin anew, and end as they would have."""

    def both(checkpoint, *, until=1000):
        trial = bench.trial(checkpoint=checkpoint)
        model = bench.model(trial)
        list(train(model, trial, plan(epochs=2.0)))
        after_one = weights(model)
        rungs = []
        for progress in train(model, trial, plan(epochs=2.0, learning_rate=1e-4)):
            rungs.append(progress.permille)
            if progress.permille >= until:
                break
        return after_one, weights(model), rungs

    one, whole, rungs = both(None)
    assert rungs == list(RUNGS)
    assert not same(one, whole)
    assert same(both(tmp_path / "0001.safetensors")[1], whole)
    both(tmp_path / "0002.safetensors", until=333)
    again, ended, rungs = both(tmp_path / "0002.safetensors")
    assert rungs == list(RUNGS)
    assert same(again, one)
    assert same(ended, whole)


def test_training_on_pictures_goes_on_from_the_weights_that_it_had(tmp_path):
    """Networks before pictures have their weights laid out anew when a training begins."""
    bench = image_bench()

    def begun(checkpoint=None):
        trial = bench.trial({})
        trial.checkpoint = checkpoint
        trial.model = Classifier(trial.load_backbone(), trial.starting_head())
        return trial, train(trial.model, trial, plan(epochs=12.0))

    whole, progress = begun()
    list(progress)
    first, progress = begun(tmp_path / "0000.safetensors")
    assert next(progress).permille == RUNGS[0]
    second, progress = begun(tmp_path / "0000.safetensors")
    assert [word.permille for word in progress] == list(RUNGS[1:])
    assert same(weights(second.model), weights(whole.model))
    assert not same(weights(second.model), weights(first.model))


def test_training_goes_on_by_the_clock_where_it_was(bench, tmp_path):
    file = tmp_path / "0000.safetensors"
    first = bench.trial(checkpoint=file, clock=Clock(60.0))
    next(train(bench.model(first), first, plan(epochs=3.0)))
    before = first.clock.elapsed
    second = bench.trial(checkpoint=file, clock=Clock(30.0))
    next(train(bench.model(second), second, plan(epochs=3.0)))
    assert second.clock.elapsed > before
    assert second.clock.seconds > 30.0


class Shares(Effect):
    """What of the training each step was, as effects are told."""

    def __init__(self):
        self.told = []

    def stepped(self, step, progress):
        self.told.append(progress)


def test_each_step_is_told_what_of_the_training_it_was_even_the_first_of_one_that_goes_on_by_the_clock(bench, tmp_path):
    """A training that fills its time is elsewhere by the clock than by its steps."""
    first, second, file = Shares(), Shares(), tmp_path / "0000.safetensors"
    trial = bench.trial(effects=[first], checkpoint=file)
    for progress in train(bench.model(trial), trial, plan(epochs=3.0)):
        if progress.permille == 667:
            break
    assert sum(first.told) == pytest.approx(0.667, abs=0.05)
    trial = bench.trial(effects=[second], checkpoint=file, clock=Clock(1.0), fill_time=True)
    list(train(bench.model(trial), trial, plan(epochs=3.0)))
    assert len(second.told) > 10
    assert min(second.told) > 0
    assert max(second.told) < 0.3
    assert sum(second.told) < 1.0


def test_a_training_warms_up_however_long_it_took_to_come_to_its_first_step(bench):
    """Loading and the first head take seconds, of a training that may have no more than ten."""
    told = Shares()
    trial = bench.trial(effects=[told], clock=Clock(3.0, start=time.monotonic() - 2.0), fill_time=True)
    list(train(bench.model(trial), trial, plan(epochs=3.0)))
    assert sum(told.told) == pytest.approx(1.0, abs=0.15)
    assert 2.9 < trial.clock.elapsed < 3.5


def test_steps_of_a_table_smaller_than_a_batch_are_as_many_as_its_recipe_asks():
    recipe = Recipe(learning_rate=1e-3)
    for rows in (12, 32, 80):
        assert recipe.passes(rows) * rows / min(recipe.batch_size, rows) == pytest.approx(300)


@pytest.mark.parametrize("torn", [b"", b"torn", "short"])
def test_torn_checkpoint_means_a_new_beginning(bench, tmp_path, torn):
    file = tmp_path / "0000.safetensors"
    first = bench.trial(checkpoint=file)
    next(train(bench.model(first), first, plan()))
    file.write_bytes(file.read_bytes()[:-100] if torn == "short" else torn)
    second = bench.trial(checkpoint=file)
    assert [progress.permille for progress in train(bench.model(second), second, plan())] == list(RUNGS)


@pytest.mark.parametrize(
    "other",
    [
        lambda tensors: tensors | {sorted(tensors)[-1]: torch.zeros(7, 7)},
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != max(tensors)},
        lambda tensors: tensors | {"mean 0": torch.zeros(1)},
        lambda tensors: tensors | {"moment 99 mean": torch.zeros(1)},
        lambda tensors: tensors | {"moment 0 mean": torch.zeros(7, 7)},
        lambda tensors: {re.sub("^(moment .*) mean", r"\1 exp_avg", name): tensor for name, tensor in tensors.items()},
        lambda tensors: tensors | {"weights 99": torch.zeros(1)},
    ],
    ids=[
        "shape",
        "missing",
        "shape that would do",
        "moment of nothing",
        "shape of a moment",
        "another optimizer",
        "weight of nothing",
    ],
)
def test_checkpoint_of_another_network_leaves_nothing_behind(bench, tmp_path, other):
    """Trained weights, means or moments that were taken over in part would be no new beginning."""
    file = tmp_path / "0000.safetensors"
    first = bench.trial(checkpoint=file)
    next(train(bench.model(first), first, plan()))
    with safe_open(file, "pt") as stored:
        tensors, about = {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata()  # noqa: SIM118
    save_file(other(tensors), file, metadata=about)
    whole, second = bench.model(bench.trial()), bench.trial(checkpoint=file)
    anew = bench.model(second)
    assert [progress.permille for progress in train(anew, second, plan())] == list(RUNGS)
    list(train(whole, bench.trial(), plan()))
    assert same(weights(anew), weights(whole))


def test_of_a_training_that_is_cut_states_are_kept_for_the_passes_that_it_makes(bench, tmp_path, monkeypatch):
    """And for as many when its last third is repeated."""
    reckoned = []

    class Watched(Boundary):
        def __init__(self, *given, passes, **more):
            reckoned.append(passes)
            super().__init__(*given, passes=passes, **more)

    monkeypatch.setattr("autotl.training.loop.Boundary", Watched)
    trial = bench.trial(checkpoint=tmp_path / "there.safetensors")
    trial.share, trial.late_checkpoint = 0.25, tmp_path / "late.safetensors"
    list(train(bench.model(trial), trial, plan(epochs=8.0)))
    again = bench.trial()
    go_on_from(again, tmp_path / "late.safetensors", rest=0.5)
    list(train(bench.model(again), again, plan(epochs=8.0)))
    assert reckoned == [2.0, 2.0]
