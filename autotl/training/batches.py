"""Which rows make each batch, as a function of the step alone, so that a training can be continued anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from autotl.training.trial import Trial

#: Rows are shuffled, then sorted by length within this many batches: little padding, and still random batches.
BATCHES_SORTED_TOGETHER = 32


def seed_of(seed: int, number: int) -> int:
    """A seed for the step or the pass `number`; neighbours have nothing in common in torch's generators."""
    return (seed * 0x9E3779B97F4A7C15 + number) % 2**63


class Sampler(Protocol):
    """Says which rows make the batch of a step."""

    def at(self, step: int) -> tuple[int, np.ndarray]:
        """The number of the pass, and row indices ``[size] int64``."""


class Batches:
    """Random batches of a trial's training rows; what fills no batch waits for the next shuffle."""

    def __init__(self, trial: Trial, size: int) -> None:
        lengths = trial.frozen.rows.lengths(trial.train)
        self._rows, self._seed = trial.train, trial.seed
        self._lengths = lengths if bool((lengths != lengths[0]).any()) else None
        self._size = min(size, len(trial.train))
        self._a_pass = len(trial.train) // self._size
        self._pass, self._batches = -1, [np.empty(0, np.int64)]

    def at(self, step: int) -> tuple[int, np.ndarray]:
        """The number of the pass, and row indices ``[size] int64``."""
        number, place = divmod(step, self._a_pass)
        if number != self._pass:
            self._pass, self._batches = number, self._shuffle(number)
        return number, self._batches[place]

    def _shuffle(self, number: int) -> list[np.ndarray]:
        generator = torch.Generator().manual_seed(seed_of(self._seed, number))
        order = torch.randperm(len(self._rows), generator=generator).numpy()
        order = order[: self._a_pass * self._size]  # before sorting: else the longest rows would always be left over
        if self._lengths is not None:
            pool = self._size * BATCHES_SORTED_TOGETHER
            pools = [order[start : start + pool] for start in range(0, len(order), pool)]
            order = np.concatenate([pool[np.argsort(self._lengths[pool], kind="stable")] for pool in pools])
        turns = torch.randperm(self._a_pass, generator=generator).tolist()
        return [self._rows[order[turn * self._size : (turn + 1) * self._size]] for turn in turns]
