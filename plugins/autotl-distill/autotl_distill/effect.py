"""What a teacher does to a training: one more term of the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from autotl.kinds.mixing import tempered
from autotl.training.effect import Effect
from autotl_distill.losses import LOSSES

if TYPE_CHECKING:
    import numpy as np

    from autotl.plugins.contracts import State


class Taught(Effect):
    """The first among the effects of a training, so that it sees the model's own answer, which others may shift.

    The teacher has one answer to a row, and the student learns it from every view: the labels of augmented rows are
    taken from the row too. Showing both the same view is better where there are hundreds of passes (Beyer et al. 2022),
    but a pass of the teacher for every step costs a short training a third of its steps and more.
    """

    def __init__(self, answers: np.ndarray, *, loss: str, temperature: float, others: Sequence[Effect]) -> None:
        """answers ``[table rows, classes] float32``: the teacher's probabilities; others: effects of this training."""
        self._answers = torch.from_numpy(tempered(answers, temperature, "softmax"))
        self._loss, self._temperature, self._others = LOSSES[loss], temperature, others

    def rows(self, indices: np.ndarray) -> None:
        self._indices = torch.from_numpy(indices)

    def batch(self, state: State, targets: torch.Tensor, generator: torch.Generator) -> tuple[State, torch.Tensor]:
        answers = self._answers[self._indices].to(targets.device)
        if self._others:  # rows that are mixed have mixed answers: the same is drawn for these as for the targets
            same, seen = torch.Generator(), state
            same.set_state(generator.get_state())
            for other in self._others:
                seen, changed = other.batch(seen, answers, same)
                answers = changed if other.mixes else answers  # labels alone are smoothed
        self._expected = answers
        return state, targets

    def logits(self, logits: torch.Tensor) -> torch.Tensor:
        self._own = logits
        return logits

    def loss(self, logits: torch.Tensor, again: Callable[[], torch.Tensor]) -> torch.Tensor:
        student = (self._own / self._temperature).softmax(1)
        return self._loss(student, self._expected, self._temperature)
