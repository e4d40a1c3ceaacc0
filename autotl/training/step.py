"""One step of training: which precision, how many rows at once, forward, back, clip, update."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.failures import is_out_of_memory
from autotl.features.device import wait_for
from autotl.features.memory import free_cache
from autotl.features.precision import Precision, options_for
from autotl.training.capture import Captured
from autotl.training.optimizer import AdamW, LossScale, clip

if TYPE_CHECKING:
    from autotl.features.boundary import Boundary
    from autotl.features.frozen import FrozenBackbone
    from autotl.plugins.contracts import State
    from autotl.training.model import Classifier
    from autotl.training.trial import Trial

#: The norm to which gradients are clipped: the common value of BERT's and timm's fine-tuning recipes.
LARGEST_GRADIENT = 1.0


def train_key(frozen: FrozenBackbone, stage: int, batch_size: int, method: str = "") -> str:
    """Under which the speed book knows a step from a stage on; method: where it is not a plain one."""
    return frozen.speed_key(f"train {batch_size} from stage {stage}{method and f', {method}'}:")


class Stepper:
    """Runs the steps of one trial. `parts` is how many pieces a batch is cut into so that it fits into memory."""

    def __init__(
        self,
        model: Classifier,
        trial: Trial,
        boundary: Boundary,
        *,
        method: str = "",
        objective: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        pretrained: bool = True,
    ) -> None:
        """method: by which the steps are known, where they are not plain ones. objective, pretrained: as in `Plan`."""
        self.parts = 1
        self.precision = Precision()
        self._model = model
        self._trial = trial
        self._boundary = boundary
        self._objective, self._pretrained = objective, pretrained
        self._method = ", ".join([*([method] if method else []), *trial.slowed_by])
        self._key = ""
        self._seconds, self._rows = 0.0, 0
        self._lost = torch.zeros(())  #: in the last step, be it one that is left out
        self._scale: LossScale | None = None  #: in fp16
        self._captured: Captured | None = None  #: the pass of a batch, where it can be recorded and pays
        self._done: torch.cuda.Event | None = None  #: with the step before

    @property
    def stage(self) -> int:
        """The first that is trained."""
        return self._boundary.stage

    def settle(self, optimizer: AdamW, batch_size: int) -> None:
        """Finds the precision on a typical batch, and the pieces on the largest, and leaves no trace in the weights.

        optimizer: one for this alone, whose rates are zero, so that its steps can be timed too.
        """
        model, frozen, train = self._model, self._trial.frozen, self._trial.train
        by_length = train[np.argsort(frozen.rows.lengths(train), kind="stable")]
        lengths = frozen.rows.lengths(by_length)
        typical, largest = _around_the_mean(by_length, lengths, batch_size), by_length[-batch_size:]
        self.train_mode()
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        generator = torch.Generator().manual_seed(0)
        sample = self._boundary.batch(typical[:1], 0, generator)
        alike = typical if lengths[0] == lengths[-1] else None  # batches of texts differ in shape

        def pass_(precision: Precision) -> float:
            self._arrange(precision, alike)
            optimizer.follow_layout()
            began, below = time.perf_counter(), self._boundary.seconds
            loss = self.step(optimizer, typical, 0, generator)
            wait_for(self._trial.device)
            seconds = time.perf_counter() - began - (self._boundary.seconds - below)
            return seconds if precision.exact or bool((self._lost + loss).isfinite()) else math.inf

        self._key = train_key(frozen, self._boundary.stage, batch_size, self._method)
        speed = frozen.speeds.race(self._key, options_for(sample, self._trial.device), pass_, rows=len(typical))
        self._arrange(speed.precision, alike)
        optimizer.follow_layout()
        if lengths[-1] > frozen.rows.lengths(typical).max():
            if self._key not in frozen.parts:
                self._forward_and_back(largest, 0, generator)
                frozen.parts[self._key] = self.parts
            self.parts = frozen.parts[self._key]
        self._boundary.settle(typical)
        self._seconds, self._rows = 0.0, 0
        optimizer.zero_grad()
        for name, buffer in model.named_buffers():  # batch statistics moved
            buffer.copy_(before[name])
        self.train_mode()  # trying the longest batch may have cut it into pieces

    def _arrange(self, precision: Precision, alike: np.ndarray | None) -> None:
        """alike: rows of a batch, where all batches have its shape."""
        if precision != self.precision:
            self._captured = None  # the weights move, and another pass is meant
            self.parts = 1  # what had no room in another precision may have it in this one
            self.train_mode()
        self.precision = precision
        self._scale = LossScale(self._trial.device) if precision.format == "fp16" else None
        precision.arrange(self._model.backbone)
        if self._trial.device.type == "cuda" and alike is not None and self._objective is None and not self._captured:
            self._capture(alike)

    def _capture(self, rows: np.ndarray) -> None:
        device, stage = self._trial.device, self._boundary.stage
        trained = [module for part in self._model.backbone.stages[stage:] for module in part.modules()]
        if any(isinstance(module, torch.nn.Embedding) and module.sparse for module in trained):
            return  # how many rows their gradients have is asked of the device, which no recording can
        state = self.precision.place(self._boundary.batch(rows, 0, torch.Generator().manual_seed(0)), device)
        gc.collect()  # what torch makes of a recording is a cycle, which keeps its weights and gradients on the device
        with contextlib.suppress(RuntimeError):  # steps do without
            self._captured = Captured(self._model, stage, self.precision, state, device)
        if self._captured is None:
            free_cache()

    def step(self, optimizer: AdamW, batch: np.ndarray, number: int, generator: torch.Generator) -> torch.Tensor:
        """One update on the rows `batch` in their pass `number`.

        Returns the loss, a scalar on the host, not finite where the gradients are not; an accelerator's is there
        when the next step returns.
        """
        began, below = time.perf_counter(), self._boundary.seconds
        loss = self._forward_and_back(batch, number, generator)
        self._lost = loss
        norm = clip(optimizer, LARGEST_GRADIENT, self._scale)
        optimizer.step()
        optimizer.zero_grad()
        told = loss + 0.0 * norm
        if self._scale is not None and optimizer.found_inf is not None:  # a step that is left out has no loss
            told = told.where((optimizer.found_inf == 0) | (self._scale.value < 1.0), 0.0)
        if self._trial.device.type == "cuda":
            told = self._on_the_host(told)
        self._seconds += time.perf_counter() - began - (self._boundary.seconds - below)
        self._rows += len(batch)
        return told

    def _on_the_host(self, told: torch.Tensor) -> torch.Tensor:
        """A scalar that arrives there with the end of this step, once the step before has ended.

        So an accelerator is given one step ahead and no more, and a step takes here what it takes there. Whoever asked
        the accelerator itself for a number would wait for all that it was given.
        """
        arriving = torch.empty((), pin_memory=True).copy_(told, non_blocking=True)
        done, self._done = self._done, torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._done.record()
        if done is not None:
            done.synchronize()
        return arriving

    def train_mode(self) -> None:
        """Training mode above the frozen stages; below, dropout and batch statistics stay as in prediction.

        Where a batch is cut into pieces, batch normalizations keep to the running statistics of pretraining, if there
        are such: a piece's own are not the batch's.
        """
        model = self._model
        model.train()
        for stage in model.backbone.stages[: self.stage]:
            stage.eval()
        if self.parts > 1 and self._pretrained:
            for module in model.backbone.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def write_down(self) -> None:
        """Lets the speed book know what a row of this trial took so far, above the boundary and below it."""
        if self._rows:
            self._trial.frozen.speeds.learn(self._key, self._seconds / self._rows)
            self._boundary.write_down()

    def _forward_and_back(self, batch: np.ndarray, number: int, generator: torch.Generator) -> torch.Tensor:
        """The mean loss of a batch, its gradients added up; in more and smaller pieces when memory runs out."""
        while True:
            try:
                losses = [
                    self._piece(piece, len(piece) / len(batch), number, generator)
                    for piece in np.array_split(batch, self.parts)
                ]
                return torch.stack(losses).sum()
            except Exception as error:
                if self.parts >= len(batch) or not is_out_of_memory(error):
                    raise
            # outside of the handler, which would keep the failed pass alive
            self._model.zero_grad(set_to_none=True)
            self.parts = min(2 * self.parts, len(batch))
            self._captured = None  # it is of whole batches
            free_cache()
            self.train_mode()

    def _piece(self, rows: np.ndarray, share: float, number: int, generator: torch.Generator) -> torch.Tensor:
        device, stage = self._trial.device, self._boundary.stage
        state = self.precision.place(self._boundary.batch(rows, number, generator), device)
        targets = torch.from_numpy(self._trial.targets[rows])
        if self._objective is None:
            for effect in self._trial.effects:
                effect.rows(rows)
            loss = self._answers_loss(state, targets, self._trial.weights_of(rows), generator) * share
        else:
            with self.precision.autocast(device):
                features = self._model.backbone.pool(self._model.backbone(state, stage))
            loss = self._objective(features.float(), targets.to(device)) * share
        scaled = loss if self._scale is None else loss * self._scale.value
        scaled.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _answers_loss(
        self, state: State, targets: torch.Tensor, weights: np.ndarray | None, generator: torch.Generator
    ) -> torch.Tensor:
        """By the task's kind, of what the head says, and what regularizers make of it."""
        device, stage, rules = self._trial.device, self._boundary.stage, self._trial.task.rules
        targets = rules.dense(targets, self._trial.outputs).to(device)
        counting = None if weights is None else torch.from_numpy(weights).to(device)
        for effect in self._trial.effects:
            state, targets = effect.batch(state, targets, generator)

        def answer(captured: Captured | None = None) -> torch.Tensor:
            if captured is not None and captured.takes(state):
                logits = captured(state)
            else:
                with self.precision.autocast(device):
                    logits = self._model(state, stage)
            for effect in self._trial.effects:
                logits = effect.logits(logits)
            return logits

        logits = answer(self._captured)  # once a batch: a second pass would overwrite what the way back needs
        loss = rules.loss(logits, targets, counting)
        for effect in self._trial.effects:
            if (more := effect.loss(logits, answer)) is not None:
                loss = loss + more
        return loss


def _around_the_mean(by_length: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """The batch of like rows whose length is nearest to the mean: it costs what batches cost on average."""
    middle = int(np.searchsorted(lengths, lengths.mean()))
    start = min(max(middle - size // 2, 0), max(len(by_length) - size, 0))
    return by_length[start : start + size]
