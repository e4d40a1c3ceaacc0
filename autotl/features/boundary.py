"""What flows into the first stage that is trained: computed once a row and view where it can be kept.

Below the freeze depth nothing changes, so a pass over the rows starts from stored states. With augmentation a row has
a fixed number of views, each augmented once; pass after pass goes through them in turn.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.features.device import wait_for
from autotl.features.precision import Precision
from autotl.features.states import pack, unpack
from autotl.features.store import STATES
from autotl.usage import free_memory

if TYPE_CHECKING:
    from autotl.features.frozen import FrozenBackbone
    from autotl.features.segments import Row
    from autotl.plugins.contracts import Backbone, State

#: Augmented views of each row. MobileNetV2-0.35, half frozen, 15 passes over 2400 photographs, one seed, right of 800
#: test rows: 0.724 with one view, 0.746 with two, 0.714 with four, 0.749 with eight. More than one is needed, and eight
#: are no dearer than the passes of a short training.
VIEWS = 8

#: Each view serves so many passes at least, two views in any case: with eight of them, a training of twelve passes
#: spent two thirds of them, and half of its time, on views that it saw once or twice.
PASSES_A_VIEW = 3

#: Stored states may fill this share of the store's room, and of the memory that is free, so that the page cache holds
#: them: read from the disk at random they would be slower than computed again.
MOST_OF_ROOM = 0.5

#: The same in bytes where a search is to be repeated exactly: machines that train have as much, and 2400 photographs in
#: eight views take a third.
KEPT_WHEN_REPEATED = 2**30

#: Rows that tell how many bytes a row's state has.
SAMPLE = 8


def stage_at(fraction: float, backbone: Backbone) -> int:
    """The first stage that is trained when so large a fraction of all stages is frozen; below 1 at least one is."""
    stages = len(backbone.stages)
    frozen = int(fraction * stages + 0.5)  # half of an odd number is the larger half, which trains faster
    return frozen if fraction >= 1.0 else min(frozen, stages - 1)


def generator_of_view(view: str, digests: Sequence[bytes]) -> torch.Generator:
    """What these rows are augmented by: the same whenever they come together in this view."""
    seed = hashlib.sha256(view.encode() + b"".join(digests)).digest()
    return torch.Generator().manual_seed(int.from_bytes(seed[:7], "little"))


class Boundary:
    """The input of stage `stage` for any batch of rows."""

    def __init__(self, frozen: FrozenBackbone, stage: int, train: np.ndarray, *, augment: float, passes: float) -> None:
        """train: the readable rows ``[rows] int64`` that batches are made of, each `passes` times.

        augment: the strength, 0 for none.
        """
        self.stage = stage
        self.seconds = 0.0  #: spent on computing what is below
        self._frozen = frozen
        self._augment = augment
        self._views = min(max(int(passes / PASSES_A_VIEW), 2), VIEWS) if augment else 1
        self._computed = 0
        worth = stage > 0 and (
            passes > self._views or (not self._repeats and self._missing(train) < passes * len(train))
        )
        self.size = self._size(train) if worth else 0.0  #: bytes of the states, if kept
        self.kept = self.size > 0 and self._fits(train)

    def _size(self, train: np.ndarray) -> float:
        sample, lengths = train[:SAMPLE], self._frozen.rows.lengths
        packed = pack(self._prefix(sample, 0.0, None), **self._format)
        known = sum(array.nbytes for row in packed for array in row.values())
        # a text's state grows with its tokens, and a few texts say little of how many the others have
        return known * int(lengths(train).sum()) / int(lengths(sample).sum()) * self._views

    def _fits(self, train: np.ndarray) -> bool:
        """Whether all states find room in memory, and on the disk those that are not there yet."""
        if self._repeats:
            return self.size < KEPT_WHEN_REPEATED
        free, room = free_memory(), MOST_OF_ROOM * self._frozen.store.room()
        if free is not None and self.size >= MOST_OF_ROOM * free:
            return False
        return self.size < room or self.size * self._missing(train) / (len(train) * self._views) < room

    @property
    def _repeats(self) -> bool:
        """Whether the search is to be repeated exactly: views that are kept are others than those of each pass, so
        nothing may hang on what is free, or on what an earlier trial has left.
        """
        return bool(self._frozen.found_by)

    @property
    def _format(self) -> dict[str, bool]:
        precision = self._frozen.precision
        return {"exact": precision.exact, "channels_last": precision.channels_last}

    def rows_below(self, train: np.ndarray, passes: float) -> float:
        """How many rows will pass below the boundary when each of `train` is trained on `passes` times."""
        if not self.kept:
            return passes * len(train) if self.stage else 0.0
        return self._missing(train)

    def _missing(self, train: np.ndarray) -> int:
        """Views of these rows whose states are not stored."""
        digests = self._frozen.rows.digests(train)
        views = (self._frozen.collection(STATES, self.stage, self._view(number)) for number in range(self._views))
        return sum(digest not in kept for kept in views for digest in digests)

    def settle(self, indices: np.ndarray) -> None:
        """Measures a row's seconds below the boundary on these, unless the speed book knows them."""
        if self.stage:
            generator = torch.Generator().manual_seed(0)

            def pass_(precision: Precision) -> float:
                began = time.perf_counter()
                pack(self._prefix(indices, self._augment, generator), **self._format)
                return time.perf_counter() - began

            self._frozen.speeds.race(self._key, [self._frozen.precision], pass_, rows=len(indices))

    @property
    def seconds_a_row(self) -> float:
        """Below the boundary, as far as the speed book knows; 0 where there is nothing below."""
        known = self._frozen.speeds.known(self._key) if self.stage else None
        return known.seconds_a_row if known else 0.0

    def write_down(self) -> None:
        """Lets the speed book know what a row took below the boundary so far."""
        if self._computed:
            self._frozen.speeds.learn(self._key, self.seconds / self._computed)

    @property
    def _key(self) -> str:
        augmented = " augmented" if self._augment else ""
        return self._frozen.speed_key(f"forward{augmented} to stage {self.stage}:")

    def batch(self, indices: np.ndarray, number: int, generator: torch.Generator) -> State:
        """The state of readable rows in their pass `number`, counted from 0, on the CPU or where it was computed.

        Randomness comes from `generator`, but for stored views, which are the same for every trial.
        """
        if self.stage == 0:
            return self._input(indices, self._augment, generator)
        if self.kept:
            return self._stored(indices, number)
        began = time.perf_counter()
        state = self._prefix(indices, self._augment, generator)
        self._book(len(indices), began)
        return state

    def _book(self, rows: int, began: float) -> None:
        wait_for(self._frozen.device)
        self.seconds += time.perf_counter() - began
        self._computed += rows

    def _prefix(self, indices: np.ndarray, augment: float, generator: torch.Generator | None) -> State:
        return self._frozen.prefix(self._input(indices, augment, generator), self.stage)

    def _input(self, indices: np.ndarray, augment: float, generator: torch.Generator | None) -> State:
        return self._frozen.rows.batch(indices, self._frozen.device, augment=augment, generator=generator)

    def _view(self, number: int) -> str:
        return f"augmented {self._augment}, view {number % self._views}" if self._augment else "exact"

    def _stored(self, indices: np.ndarray, number: int) -> State:
        name = self._view(number)
        kept = self._frozen.collection(STATES, self.stage, name)
        digests = self._frozen.rows.digests(indices)
        found: list[Row | None] = [kept.get(digest) for digest in digests]
        missing = [place for place, row in enumerate(found) if row is None]
        if missing:
            began = time.perf_counter()
            absent = [digests[place] for place in missing]
            generator = generator_of_view(name, absent)
            fresh = pack(self._prefix(indices[missing], self._augment, generator), **self._format)
            kept.add(absent, fresh)
            for place, row in zip(missing, fresh, strict=True):
                found[place] = row
            self._book(len(missing), began)
        return unpack([row for row in found if row is not None], channels_last=self._format["channels_last"])
