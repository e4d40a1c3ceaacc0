"""Whether a regularizer keeps its contract: off is there, on changes a training and lets it go on."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from autotl.plugins.contracts import Choice, Regularizer
from autotl.testing.bench import Bench, image_bench, number_bench, one_thread, text_bench
from autotl.testing.contexts import contexts, described
from autotl.testing.promises import expect, expect_no_error
from autotl.testing.strategy import check_parameter
from autotl.training.effect import Effect
from autotl.training.loop import Plan, train
from autotl.training.model import Classifier

#: Enough for what happens every few steps only.
STEPS = 24


def check_regularizer(regularizer: Regularizer, bench: Bench | None = None) -> None:
    """A regularizer keeps its contract, in what it says and in short trainings on `bench`, one for each strength.

    By default on the kit's bench of texts where it applies without augmentation, else on that of images. A few
    seconds. Raises `BrokenPromise`.
    """
    check_strengths(regularizer)
    for augments in (False, True):
        here = [context for context in contexts() if context.augments == augments]
        strengths = {
            float(option)
            for context in here
            if (choice := regularizer.strengths(context))
            for option in choice.options
            if option
        }
        if strengths:
            if bench is None:
                bench = image_bench() if augments else text_bench()
                if not augments and regularizer.strengths(bench.context) is None:
                    bench = number_bench()  # for what applies to these alone
            with one_thread():
                _check_trainings(regularizer, bench, sorted(strengths))
            return


def check_strengths(regularizer: Regularizer) -> None:
    """What the search may choose has off in it, and what is usual, wherever it is asked. Raises `BrokenPromise`."""
    thing = f"regularizer {getattr(regularizer, 'name', type(regularizer).__name__)!r}"
    expect(isinstance(regularizer, Regularizer), thing, "has all members of Regularizer", type(regularizer).__name__)
    name = regularizer.name
    expect(re.fullmatch(r"\w+", name) is not None, thing, "its name is a word", repr(name))
    cost = regularizer.step_cost
    expect(cost > 0, thing, "step_cost is a factor on a step's time", cost)
    applies = 0
    for context in contexts():
        where = f" ({described(context)})"
        with expect_no_error(thing, f"strengths() may be asked anywhere{where}"):
            choice = regularizer.strengths(context)
        if choice is None:
            continue
        applies += 1
        expect(isinstance(choice, Choice), thing, f"strengths() returns a Choice or None{where}", choice)
        check_parameter(thing, choice)
        expect(choice.name == name, thing, "its parameter has its name", repr(choice.name))
        numbers = [option for option in choice.options if not isinstance(option, str)]
        kept = len(numbers) == len(choice.options) > 1 and min(numbers) == 0
        expect(kept, thing, f"strengths are numbers, 0 the least, which is off, and others{where}", choice.options)
        with expect_no_error(thing, f"usual() knows a strength wherever there are some{where}"):
            usual = regularizer.usual(context)
        expect(usual in numbers, thing, f"what is usual is among the strengths{where}", f"{usual} of {numbers}")
    expect(applies > 0, thing, "applies somewhere", "no strengths anywhere")


def _check_trainings(regularizer: Regularizer, bench: Bench, strengths: list[float]) -> None:
    thing = f"regularizer {regularizer.name!r} on {bench.frozen.candidate.key}"
    everything = len(bench.frozen.backbone.stages)
    for frozen_stages in (0, 1, everything):
        off = _trained(bench, None, frozen_stages)
        for strength in strengths:
            what = f"{thing} at strength {strength:g}, {frozen_stages} stages frozen"
            with expect_no_error(what, "effect() gives an Effect"):
                effect = regularizer.effect(strength)
            expect(isinstance(effect, Effect), what, "effect() gives an Effect", type(effect).__name__)
            expect(0 <= effect.drop < 1, what, "what it drops is a rate from 0 to 1", effect.drop)
            with expect_no_error(what, f"a training of {STEPS} steps goes through with finite losses"):
                on = _trained(bench, effect, frozen_stages)
            broken = [name for name, value in on.items() if not bool(value.isfinite().all())]
            expect(not broken, what, "weights stay finite numbers", f"others in {', '.join(broken[:3])}")
            if frozen_stages < everything:  # there may be nothing for it in a head alone
                changed = any(not torch.equal(value, off[name]) for name, value in on.items())
                expect(changed, what, "changes the training, as 0 alone is off", "the same weights as without it")
            if frozen_stages == 0 and strength == strengths[-1]:
                again = _trained(bench, regularizer.effect(strength), frozen_stages)
                same = all(torch.equal(value, again[name]) for name, value in on.items())
                expect(same, what, "the same seed gives the same training", "other weights the second time")
                _check_going_on(what, regularizer, strength, bench, on)


def _check_going_on(
    what: str, regularizer: Regularizer, strength: float, bench: Bench, known: Mapping[str, torch.Tensor]
) -> None:
    """known: the weights of a training that was not put down."""
    with tempfile.TemporaryDirectory() as name:
        checkpoint = Path(name) / "checkpoint.safetensors"
        _trained(bench, regularizer.effect(strength), 0, checkpoint=checkpoint, put_down=True)
        found = _trained(bench, regularizer.effect(strength), 0, checkpoint=checkpoint)
    other = [name for name, value in found.items() if not torch.allclose(value, known[name], rtol=1e-4, atol=1e-6)]
    promise = "a training goes on from its checkpoint as if it had never been put down"
    expect(not other, what, promise, f"other weights in {', '.join(other[:3])}")


def _trained(
    bench: Bench, effect: Effect | None, frozen_stages: int, *, checkpoint: Path | None = None, put_down: bool = False
) -> Mapping[str, torch.Tensor]:
    """The weights after `STEPS` steps; put_down: where a training can first be judged.

    checkpoint: where it is taken up, if there is one, and put down.
    """
    trial = bench.trial({}, effects=[] if effect is None else [effect], checkpoint=checkpoint)
    recipe = bench.frozen.candidate.recipe
    plan = Plan(
        epochs=STEPS * recipe.batch_size / len(bench.train),
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        layer_decay=1.0,
        weight_decay=recipe.weight_decay,
        schedule="constant-cooldown",
        frozen_stages=frozen_stages,
        augment=0.0,
    )
    model = Classifier(trial.load_backbone(), trial.starting_head())
    for _ in train(model, trial, plan):
        if put_down:
            break
    return model.state_dict()
