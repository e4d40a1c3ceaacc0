"""The training loop: one optimizer, one schedule, a frozen prefix, a deadline looked at before every step.

It never stops early by itself: judging is the search's business, and `train` yields wherever that is possible.
What a step draws at random follows from the seed and its number, so a training goes on from its checkpoint as if it had
never stopped.
A trial that runs slower than planned moves along its schedule by time instead of steps, so that the rate has
cooled down when the time is over; without a time limit only steps count and a seed gives the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    training = _Training(model, trial, plan)
    ahead = [rung for rung in RUNGS if rung > training.judged]
    while ahead:
        progress = training.progress
        if 1000 * progress < ahead[0]:
            training.advance(progress)
            continue
        while ahead and 1000 * progress >= ahead[0]:  # where time went by without a step, one look is enough
            training.judged = ahead.pop(0)
        yield training.stand_still(last=not ahead)
        if ahead:
            training.go_on()


class _Training:
    """What is trained, by what, and how far it is."""

    def __init__(self, model: Classifier, trial: Trial, plan: Plan) -> None:
        self._model, self._trial, self._plan = model, trial, plan
        self._optimizer = AdamW(self._groups(plan.frozen_at(1.0)))
        for effect in trial.effects:
            effect.begin(model, trial)
        self._whole = max(round(plan.epochs * len(trial.train) / min(plan.batch_size, len(trial.train))), len(RUNGS))
        # what fills its time ends with the clock: its steps stay the recipe's, which a larger budget goes on to
        self._steps = self._whole if trial.fill_time else max(round(trial.share * self._whole), len(RUNGS))
        self._schedule = SCHEDULES[plan.schedule]
        self._average = Average(model)
        self._batches = plan.batches(trial, plan.batch_size)
        self._checkpoint = Checkpoint(trial, model, self._optimizer, self._average)
        self._step = 0  #: the next
        self.judged = 0  #: permille, the last rung
        trained = 0.0  # seconds, by an earlier process
        if before := self._checkpoint.restore():
            self._step, self._steps, self.judged = int(before["step"]), int(before["steps"]), int(before["permille"])
            trained = before["trained"]
            trial.clock.set_back(before["seconds"])
        self._begun = trial.clock.elapsed - trained  #: when its schedule began, on the trial's clock
        self._stepper = self._enter(self.progress)
        self._begun = trial.clock.elapsed - trained  # loading, the first head and settling are no part of it
        self._generator = torch.Generator()
        self._losses: list[torch.Tensor] = []

    def _groups(self, stage: int) -> list[dict[str, Any]]:
        """What the optimizer trains from this stage on."""
        plan = self._plan
        return parameter_groups(
            self._model, stage, learning_rate=plan.learning_rate, layer_decay=plan.layer_decay,
            weight_decay=plan.weight_decay, trains=plan.trains,
        )  # fmt: skip

    @property
    def progress(self) -> float:
        """From 0 to 1: by time, or where it is further by steps."""
        clock = self._trial.clock
        by_time = (clock.elapsed - self._begun) / max(clock.seconds - self._begun, 1e-9)
        return by_time if self._trial.fill_time else max(by_time, self._step / self._steps)

    def _enter(self, progress: float) -> Stepper:
        """Trains what is not frozen from there on."""
        plan, trial = self._plan, self._trial
        stage, passes = plan.frozen_at(progress), trial.share * plan.passes_at(progress)
        boundary = Boundary(trial.frozen, stage, trial.train, augment=plan.augment, passes=passes)
        stepper = Stepper(
            self._model, trial, boundary, method=plan.method, objective=plan.objective, pretrained=plan.pretrained
        )
        stepper.settle(AdamW(self._groups(stage)), plan.batch_size)
        self._optimizer.follow_layout()  # of what settling has laid out
        self._average.follow_layout()
        return stepper

    def advance(self, progress: float) -> None:
        """By a step."""
        trial = self._trial
        if self._plan.frozen_at(progress) < self._stepper.stage:
            self._stepper.write_down()
            self._stepper = self._enter(progress)
            progress = self.progress  # what entering took is no part of the step
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * self._schedule(min(progress, 1.0))
        number, batch = self._batches.at(self._step)
        # torch's own would write down where it is called from, for accelerators that may still come
        (torch.default_generator if trial.device.type == "cpu" else torch).manual_seed(seed_of(trial.seed, self._step))
        self._generator.manual_seed(seed_of(trial.seed, self._step))
        self._losses.append(self._stepper.step(self._optimizer, batch, number, self._generator))
        there = -1 if trial.device.type == "cpu" else -2  # an accelerator's loss is there a step later
        _finite(self._losses[there:][0], self._step + 1)
        self._step += 1
        for effect in trial.effects:
            effect.stepped(self._step - 1, self.progress - progress)
        self._average.update()
        if self._checkpoint.due:
            self._write()

    def stand_still(self, *, last: bool) -> Progress:
        """At a rung, with the running mean in the place of the weights."""
        details, self._trial.made = {"steps": float(self._step)}, self._step / self._whole
        if self._losses:
            wait_for(self._trial.device)  # the last of them may be on its way to the host
            details["loss"] = _finite(torch.stack(self._losses).mean(), self._step)
        self._stepper.write_down()
        if not last:
            self._write()
        if self.judged == LATE:
            self._checkpoint.keep_late()
        self._average.swap()
        return Progress(self.judged, details)

    def go_on(self) -> None:
        """With the weights as they were."""
        self._average.swap()
        self._stepper.train_mode()
        self._losses.clear()

    def _write(self) -> None:
        self._checkpoint.write(step=self._step, steps=self._steps, begun=self._begun, permille=self.judged)


def _finite(loss: torch.Tensor, steps: int) -> float:
    """The value of a loss after so many steps. Raises `DivergedError` for one that is not finite."""
    value = float(loss)
    if not math.isfinite(value):
        raise DivergedError(f"the loss is not finite after {steps} steps")
    return value
