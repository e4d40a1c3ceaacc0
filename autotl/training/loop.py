"""The training loop: one optimizer, one schedule, a frozen prefix, a deadline looked at before every step.

It never stops early by itself: judging is the search's business, and `train` yields wherever that is possible.
What a step draws at random follows from the seed and its number, so a training goes on from its checkpoint as if it had
never stopped.
A trial that runs slower than planned moves along its schedule by time instead of steps, so that the rate has
cooled down when the time is over; without a time limit only steps count and a seed gives the same weights.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from autotl.errors import DivergedError
from autotl.features.boundary import Boundary
from autotl.features.device import wait_for
from autotl.plugins.contracts import Progress
from autotl.training.average import Average
from autotl.training.batches import Batches, Sampler, seed_of
from autotl.training.checkpoint import Checkpoint
from autotl.training.optimizer import AdamW, parameter_groups
from autotl.training.rungs import LATE, RUNGS
from autotl.training.schedules import SCHEDULES
from autotl.training.step import Stepper

if TYPE_CHECKING:
    from autotl.training.model import Classifier
    from autotl.training.trial import Trial


@dataclass(frozen=True)
class Plan:
    """What `train` is to do; learning rates are peak values, `epochs` passes over the training rows."""

    epochs: float
    batch_size: int
    learning_rate: float
    layer_decay: float
    weight_decay: float
    schedule: str
    frozen_stages: int
    augment: float
    method: str = ""  #: what distinguishes it, where not all weights above the frozen stages are trained
    trains: Callable[[int, str, torch.nn.Parameter], bool] | None = None  #: which are: by stage, name and value
    #: What is minimized in place of the loss of the task's kind: a scalar from features ``[batch, width] float32`` and
    #: labels ``[batch] int64``. The head is not trained then, and regularizers have no part in it.
    objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    pretrained: bool = True  #: whether the weights begin at published ones, and statistics of batches with them
    batches: Callable[[Trial, int], Sampler] = Batches  #: which rows make each batch, of a trial and its batch size
    thaws: tuple[tuple[float, int], ...] = ()  #: (progress, frozen stages from there on), fewer each time

    def frozen_at(self, progress: float) -> int:
        """Stages that are frozen at a training's progress from 0 to 1."""
        return min([self.frozen_stages, *(stages for when, stages in self.thaws if when <= progress)])

    def passes_at(self, progress: float) -> float:
        """Over the rows, from the thaw before it to the one after it."""
        thaws = [when for when, _ in self.thaws]
        begins, ends = (when for when in thaws if when <= progress), (when for when in thaws if when > progress)
        return self.epochs * (min(ends, default=1.0) - max(begins, default=0.0))


def train(model: Classifier, trial: Trial, plan: Plan) -> Iterator[Progress]:
    """Trains `model` in place, yielding at each of `RUNGS`, where it has the running mean of its weights.

    Goes on from the trial's checkpoint where there is one. Raises `DivergedError` as soon as the loss is not finite.
    Dropout and stochastic depth draw from torch's global generator, which is seeded here.
    """
    groups = functools.partial(
        parameter_groups,
        model,
        learning_rate=plan.learning_rate,
        layer_decay=plan.layer_decay,
        weight_decay=plan.weight_decay,
        trains=plan.trains,
    )

    def enter(progress: float) -> Stepper:
        """Trains what is not frozen from there on."""
        stage, passes = plan.frozen_at(progress), trial.share * plan.passes_at(progress)
        boundary = Boundary(trial.frozen, stage, trial.train, augment=plan.augment, passes=passes)
        stepper = Stepper(
            model, trial, boundary, method=plan.method, objective=plan.objective, pretrained=plan.pretrained
        )
        stepper.settle(AdamW(groups(stage)), plan.batch_size)
        optimizer.follow_layout()  # of what settling has laid out
        average.follow_layout()
        return stepper

    optimizer = AdamW(groups(plan.frozen_at(1.0)))
    for effect in trial.effects:
        effect.begin(model, trial)
    whole = max(round(plan.epochs * len(trial.train) / min(plan.batch_size, len(trial.train))), len(RUNGS))
    # what fills its time ends with the clock: its steps stay the recipe's, which a larger budget goes on to
    steps = whole if trial.fill_time else max(round(trial.share * whole), len(RUNGS))
    schedule = SCHEDULES[plan.schedule]
    average = Average(model)
    batches = plan.batches(trial, plan.batch_size)
    checkpoint = Checkpoint(trial, model, optimizer, average)
    step, judged, trained = 0, 0, 0.0
    if before := checkpoint.restore():
        step, steps, judged = int(before["step"]), int(before["steps"]), int(before["permille"])
        trained = before["trained"]
        trial.clock.set_back(before["seconds"])
    begun = trial.clock.elapsed - trained

    def progress_so_far() -> float:
        """By time, or where it is further by steps."""
        by_time = (trial.clock.elapsed - begun) / max(trial.clock.seconds - begun, 1e-9)
        return by_time if trial.fill_time else max(by_time, step / steps)

    stepper = enter(progress_so_far())
    begun = trial.clock.elapsed - trained  # loading, the first head and settling are no part of the schedule
    ahead = [rung for rung in RUNGS if rung > judged]
    generator = torch.Generator()
    losses: list[torch.Tensor] = []
    while True:
        progress = progress_so_far()
        if 1000 * progress >= ahead[0]:
            while ahead and 1000 * progress >= ahead[0]:  # where time went by without a step, one look is enough
                judged = ahead.pop(0)
            details, trial.made = {"steps": float(step)}, step / whole
            if losses:
                wait_for(trial.device)  # the last of them may be on its way to the host
                details["loss"] = _finite(torch.stack(losses).mean(), step)
            stepper.write_down()
            if ahead:
                checkpoint.write(step=step, steps=steps, begun=begun, permille=judged)
            if judged == LATE:
                checkpoint.keep_late()
            average.swap()
            yield Progress(judged, details)
            if not ahead:
                return
            average.swap()
            stepper.train_mode()
            losses.clear()
            continue
        if plan.frozen_at(progress) < stepper.stage:
            stepper.write_down()
            stepper = enter(progress)
            progress = progress_so_far()  # what entering took is no part of the step
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(min(progress, 1.0))
        number, batch = batches.at(step)
        # torch's own would write down where it is called from, for accelerators that may still come
        (torch.default_generator if trial.device.type == "cpu" else torch).manual_seed(seed_of(trial.seed, step))
        generator.manual_seed(seed_of(trial.seed, step))
        losses.append(stepper.step(optimizer, batch, number, generator))
        there = -1 if trial.device.type == "cpu" else -2  # an accelerator's loss is there a step later
        _finite(losses[there:][0], step + 1)
        step += 1
        for effect in trial.effects:
            effect.stepped(step - 1, progress_so_far() - progress)
        average.update()
        if checkpoint.due:
            checkpoint.write(step=step, steps=steps, begun=begun, permille=judged)


def _finite(loss: torch.Tensor, steps: int) -> float:
    """The value of a loss after so many steps. Raises `DivergedError` for one that is not finite."""
    value = float(loss)
    if not math.isfinite(value):
        raise DivergedError(f"the loss is not finite after {steps} steps")
    return value
