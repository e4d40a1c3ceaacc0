"""What backbones have seen of the table: its rows as each encodes them, and which training rows each has passed."""

from __future__ import annotations

import heapq
import math
from collections.abc import Set
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np
import torch

from autotl.budget import Clock
from autotl.config import cache_folder
from autotl.data.paths import obstacle, paths_of
from autotl.errors import TrialError
from autotl.features.frozen import FrozenBackbone
from autotl.features.memory import free_cache
from autotl.features.rows import EncodedRows, identity
from autotl.features.speed import SettledSpeeds, SpeedBook
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import PICTORIAL, Candidate, InputEncoder, Modality
from autotl.plugins.manager import plugins

#: Between two looks at the clock while rows are seen; more rows at once let texts of like length find each other. Fewer
#: of a network that would take longer for them than it has, but as many as pass together.
ROWS_A_LOOK, SECONDS_A_LOOK, FEWEST_A_LOOK = 256, 1.0, 8

#: Rows that are seen however little time there is, and that a training has.
FEWEST_ROWS = 500

#: Rows that must be seen in any case may take so many times the seconds of a look; of 0.3 s each, a base ViT's on two
#: cores, a hundred took half a minute of the five that there were.
PATIENCE = 2.0

#: What a row that is trained on costs beside its first look, in forward passes: with half of a network frozen a step
#: takes two. Of rows that no training can pass there is no need.
TRAINED = 2.0

#: Where more rows validate, so many of them judge the first head, or what passes in the seconds that it has, if that is
#: fewer: all 2000 of a table of 20,000 photographs kept it waiting for ten seconds on two cores.
MOST_JUDGES, FEWEST_JUDGES = 500, 100

#: Rows of a look that say what one takes: of fewer it is mostly what a call takes.
FEWEST_TIMED = 32

#: Cells that settle how inputs are read, such as their usual size.
SAMPLE = 256


class Looks:
    """The cells of the table, and every backbone that was looked through."""

    def __init__(
        self, cells: list[Any], names: list[str], *, modality: Modality, device: torch.device, store: FeatureStore,
        seconds: float, skip_limit: float, found_by: str,
    ) -> None:  # fmt: skip
        """names: of the rows, in messages. seconds: of the whole search. skip_limit: share of the rows that may be
        unreadable. found_by: the search whose decisions about formats are taken again; empty for none.
        """
        self.cells, self.names = cells, names
        self.train = np.empty(0, np.int64)  #: rows to train on, in random order; settled before anybody looks
        self._modality, self._device, self._store = modality, device, store
        self._budget = seconds
        self._skip_limit, self._found_by = skip_limit, found_by
        made_by = ", ".join(sorted({f"{record.package} {record.version}" for record in plugins().records}))
        self.speeds = SettledSpeeds(device) if self._found_by else SpeedBook(cache_folder(), versions=made_by)
        self._rows: dict[str, EncodedRows] = {}  #: by the encoder
        self._frozen: dict[str, FrozenBackbone] = {}
        self._seen: dict[str, tuple[int, np.ndarray]] = {}
        self._took: dict[str, float] = {}  #: seconds a row, reading it included, in the last look
        self._reach: dict[str, int] = {}  #: training rows that the budget could pass through a backbone

    def through(self, candidate: Candidate) -> FrozenBackbone:
        """The frozen backbone of a candidate; encoded rows are shared by all whose encoders agree."""
        if candidate.key not in self._frozen:
            family = plugins().family(candidate.family)
            encoder, made_by = family.encoder(candidate, self._sample), plugins().made_by(family.name)
            shared = self._rows.setdefault(identity(encoder), self.encoded(encoder, self._store, made_by=made_by))
            rows = shared if shared.encoder == encoder else shared.seen_by(encoder)
            frozen = FrozenBackbone(
                candidate, family, rows, device=self._device, speeds=self.speeds, store=self._store,
                made_by=made_by, found_by=self._found_by,
            )  # fmt: skip
            frozen.calibrate(self.readable(frozen, self.train[: frozen.race_size]))
            self._frozen[candidate.key] = frozen
        return self._frozen[candidate.key]

    def forget(self, but: Set[str]) -> None:
        """Lets go of the networks of all backbones but these. What they saw stays known, and the store has it."""
        for key in self._frozen.keys() - but:
            del self._frozen[key]
        free_cache()

    @cached_property
    def _sample(self) -> list[Any]:
        """Different cells that settle how inputs are read: those of the smallest checksums, whatever the seed is.

        So that a table with a row more is read as before, and what an earlier search has kept is found.
        """
        different = {_checksum(cell): cell for cell in self.cells}
        sample = [different[checksum] for checksum in heapq.nsmallest(SAMPLE, different)]
        if self._modality in PICTORIAL:
            sample = [cell for cell in sample if not any(map(obstacle, paths_of(cell)))]
        return sample

    def encoded(self, encoder: InputEncoder, store: FeatureStore, *, made_by: str = "") -> EncodedRows:
        """All cells, as they are encoded when they are asked for. made_by: as `EncodedRows` takes it."""
        return EncodedRows(encoder, self.cells, modality=self._modality, store=store, made_by=made_by)

    def readable(self, frozen: FrozenBackbone, indices: np.ndarray) -> np.ndarray:
        """Those that can be read. Raises `UnreadableError` where too many of the table cannot."""
        readable = frozen.rows.readable(indices)
        frozen.rows.refuse_too_many(self._skip_limit, self.names.__getitem__)
        return readable

    def unreadable(self, frozen: FrozenBackbone) -> list[tuple[int, str, str]]:
        """Rows that could not be read so far: place, name and reason."""
        return [(row, self.names[row], why) for row, why in sorted(frozen.rows.unreadable.items())]

    def trainable(self, frozen: FrozenBackbone, train: np.ndarray) -> np.ndarray:
        """Of rows in random order the readable ones, and as many as the whole budget could read and train on once.

        Of a large table others are not even encoded. Of 261,000 texts all were, before a training of 50 batches: with
        this the time from screening to it fell from 21 to 7 s, of 120.
        """
        if math.isfinite(self._budget):
            key = frozen.candidate.key
            once = self.seconds_a_row(frozen) + TRAINED * frozen.seconds_a_row
            train = train[: self._reach.setdefault(key, max(math.ceil(self._budget / once), FEWEST_ROWS))]
        return self.readable(frozen, train)

    def seconds_a_row(self, frozen: FrozenBackbone) -> float:
        """Of a row that is new, to be encoded, which may be the longer part, and passed through a backbone."""
        return max(frozen.seconds_a_row, self._took.get(frozen.candidate.key, 0.0))

    def some_of(self, judges: np.ndarray, frozen: FrozenBackbone, seconds: float) -> np.ndarray:
        """About as many of the rows that judge as pass in so many seconds, from all over them."""
        count = min(max(seconds / self.seconds_a_row(frozen), FEWEST_JUDGES), MOST_JUDGES, len(judges))
        return judges[np.linspace(0, len(judges) - 1, round(count)).round().astype(np.int64)]

    def see(self, frozen: FrozenBackbone, seconds: float, most: int, *, fewest: int) -> np.ndarray:
        """The readable ones among the first `most` training rows, as far as the seconds reach and no less than before.

        fewest: rows that are seen in any case, `FEWEST_ROWS` at most. Their features are known afterwards.
        """
        clock, key = Clock(seconds), frozen.candidate.key
        looked, seen = self.seen(frozen)
        most, fewest = min(most, len(self.train)), min(fewest, FEWEST_ROWS)
        at_once = most
        if math.isfinite(seconds):
            a_row = self.seconds_a_row(frozen)
            at_once = max(min(ROWS_A_LOOK, round(seconds / a_row)), FEWEST_A_LOOK)
            if key in self._took:  # before that nobody knows how long reading them takes
                at_once = max(at_once, round(SECONDS_A_LOOK / a_row))
        while looked < most and (clock.remaining > 0 or len(seen) < fewest):
            end, began = min(looked + at_once, most), clock.elapsed
            seen = np.concatenate([seen, frozen.see(self.train[looked:end])])
            if end - looked >= FEWEST_TIMED or key not in self._took:
                self._took[key] = (clock.elapsed - began) / (end - looked)
            frozen.rows.refuse_too_many(self._skip_limit, self.names.__getitem__)
            looked = end
            self._seen[key] = looked, seen
        self._store.flush()
        return seen

    def refuse_too_slow(self, frozen: FrozenBackbone, seconds: float, *, fewest: int) -> None:
        """Raises `TrialError` where the rows that must be seen would take far more than these seconds."""
        looked, seen = self.seen(frozen)
        left = min(min(fewest, FEWEST_ROWS) - len(seen), len(self.train) - looked)
        if frozen.knows(self.train[looked : looked + FEWEST_A_LOOK]):  # what an earlier search has seen costs nothing
            return
        if (needed := left * frozen.seconds_a_row) > PATIENCE * seconds:
            raise TrialError(
                f"a look at {left} rows would take {needed:.0f} s, and there are {seconds:.0f}", kind="time"
            )

    def seen(self, frozen: FrozenBackbone) -> tuple[int, np.ndarray]:
        """How many first training rows were looked at, and the readable ones among them."""
        return self._seen.get(frozen.candidate.key, (0, self.train[:0]))

    def count_cut(self, frozen: FrozenBackbone) -> int:
        """How many of the rows seen are as long as a row can be, and so were cut, but for the few that just fit."""
        longest = frozen.rows.encoder.longest
        return 0 if longest is None else int((frozen.rows.lengths(self.seen(frozen)[1]) >= longest).sum())

    def see_again(self, frozen: FrozenBackbone, seconds: float, *, fewest: int) -> None:
        """Looks for so long where there is a budget and this process has not looked, as the one that did has died.

        Else what is not known of a backbone is all known, and its first use would look through the whole table.
        """
        if frozen.candidate.key not in self._seen and math.isfinite(self._budget):
            self.see(frozen, seconds, len(self.train), fewest=fewest)


def _checksum(cell: Any) -> int:
    """Of what a cell says: a text, a path, or several of them."""
    return crc32("\n".join([cell] if isinstance(cell, str) else cell).encode("utf-8", "replace"))
