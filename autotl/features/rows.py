"""The cells of a table, encoded once by one encoder and kept for every use after."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from autotl.data.cells import content_digest
from autotl.data.paths import obstacle, paths_of
from autotl.data.wording import shortened
from autotl.errors import RowLostError, UnreadableError
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import PICTORIAL, AcceleratedEncoder, InputEncoder, Modality, Unreadable
from autotl.usage import cores

if TYPE_CHECKING:
    import torch

    from autotl.plugins.contracts import State

#: Cells a thread encodes at a time: some 60 ms of JPEG decoding, short enough to stop at a deadline. Fewer where there
#: are not enough for all threads, but never so few that handing them out is what takes the time.
CHUNK, SMALLEST_CHUNK = 64, 8

#: Threads that encode at most: more wait for the disk, and the stack of each counts as memory.
MOST_THREADS = 16

#: Where encoding takes so many times the seconds that it computes, over some rows, it waits for files, and as many
#: threads can wait at once.
WAITING, MEASURED = 3.0, 32

#: Below this many rows a share says nothing: three broken files in ten are no reason to refuse a table.
ALWAYS_SKIPPED = 3
#: Standard deviations above a share that a few rows may be by chance: of tables with 15 % unreadable rows where 20 %
#: are allowed, a fifth used to be refused by their first 32.
BY_CHANCE = 3.0

_Encoded: TypeAlias = "list[tuple[bytes, np.ndarray | Unreadable]]"


def identity(encoder: InputEncoder) -> str:
    """What arrays are kept under: the fingerprint, which is an encoder's own word, and whose word it is."""
    kind = type(encoder)
    return f"{kind.__module__}.{kind.__qualname__} {encoder.fingerprint}"


class EncodedRows:
    """Encodes lazily and remembers in a store; rows that cannot be read are remembered with their reason.

    cells: one input a row, paths or texts by `modality`; None counts as unreadable, and so does the path of what is
    no file: encoders open what they are given.
    """

    def __init__(
        self, encoder: InputEncoder, cells: Sequence[Any], *, modality: Modality, store: FeatureStore,
        made_by: str = "", readers: Readers | None = None,
    ) -> None:  # fmt: skip
        """made_by: packages, with versions, that the encoder reads with; another may read something else.

        readers: of the same files, which may know already whether these come slowly.
        """
        self.encoder = encoder
        self.modality = modality
        self.unreadable: dict[int, str] = {}
        self._cells = cells
        self._store, self._made_by = store, made_by
        self._kept = store.collection(kind="inputs", encoder=identity(encoder), made_by=made_by)
        self._digests: dict[int, bytes] = {}
        self._lengths: dict[int, int] = {}
        self._readers = readers or Readers(modality)

    @property
    def count(self) -> int:
        """Rows, readable or not."""
        return len(self._cells)

    def beside(self, cells: Sequence[Any]) -> EncodedRows:
        """Other cells for the same encoder, kept where these are."""
        return EncodedRows(
            self.encoder, cells, modality=self.modality, store=self._store, made_by=self._made_by, readers=self._readers
        )

    def seen_by(self, encoder: InputEncoder) -> EncodedRows:
        """The same arrays for an encoder with the same fingerprint, which may batch them in another way."""
        other = self._before(encoder)
        other._digests, other._lengths, other.unreadable = self._digests, self._lengths, self.unreadable
        other._kept = self._kept
        return other

    def read_by(self, encoder: InputEncoder) -> EncodedRows:
        """The same cells for any encoder; what encoders of the same fingerprint have read is shared."""
        if identity(encoder) == identity(self.encoder):
            return self.seen_by(encoder)
        return self._before(encoder)

    def _before(self, encoder: InputEncoder) -> EncodedRows:
        return EncodedRows(
            encoder, self._cells, modality=self.modality, store=self._store, made_by=self._made_by,
            readers=self._readers,
        )  # fmt: skip

    def gather(self, indices: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """The arrays of rows that `readable` has returned."""
        found = [self._kept.get(self._digests[int(index)]) for index in indices]
        missing = [place for place, row in enumerate(found) if row is None]
        if missing:  # the store could not keep them, or another search needed the room
            wanted = [int(indices[place]) for place in missing]
            parts = [wanted[start : start + SMALLEST_CHUNK] for start in range(0, len(wanted), SMALLEST_CHUNK)]
            with ThreadPoolExecutor(self._readers.threads) as pool:  # a step of a training waits for these
                again = [pair for part in pool.map(self._encode, parts) for pair in part]
            for place, (digest, array) in zip(missing, again, strict=True):
                index = int(indices[place])
                if isinstance(array, Unreadable):
                    raise RowLostError(f"{self._cells[index]}: {array.reason}, though it could be read before")
                if digest != self._digests[index]:  # whose features would be kept as those of what it was
                    raise RowLostError(f"{self._cells[index]} has changed since it was read")
                found[place] = {"x": array}
        return [row["x"] for row in found if row is not None]

    def batch(
        self,
        indices: Sequence[int] | np.ndarray,
        device: torch.device,
        *,
        augment: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> State:
        """The input of stage 0 for such rows, made on `device` by encoders that can, and by others on the CPU."""
        rows = self.gather(indices)
        if device.type != "cpu" and isinstance(self.encoder, AcceleratedEncoder):
            return self.encoder.batch_on(device, rows, augment=augment, generator=generator)
        return self.encoder.batch(rows, augment=augment, generator=generator)

    def digests(self, indices: Sequence[int] | np.ndarray) -> list[bytes]:
        """What identifies the content of rows that `readable` has returned."""
        return [self._digests[int(index)] for index in indices]

    def lengths(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """``[rows] int64``: the first dimension of each array, which for texts is the number of tokens."""
        return np.array([self._lengths[int(index)] for index in indices], np.int64)

    def readable(self, indices: np.ndarray) -> np.ndarray:
        """Encodes what is missing and returns the rows that can be used, in the order given."""
        return np.concatenate([np.empty(0, np.int64), *self.stream(indices, ahead=True)])

    def stream(self, indices: np.ndarray, *, ahead: bool) -> Iterator[np.ndarray]:
        """The readable rows among `indices`, in that order and piece by piece.

        ahead: threads encode what follows while the caller works. Pays where the caller works on an accelerator; two
        cores that also run the network lose more by the threads in each other's way than by taking turns
        (MobileNetV2-1.0 from JPEG: 0.84 of the bare network's speed against 0.91).
        """
        if not self._readers.known and len(indices) > CHUNK:  # the first piece says how many threads there should be
            yield from self._stream(indices[:CHUNK], ahead=ahead)
            indices = indices[CHUNK:]
        yield from self._stream(indices, ahead=ahead)

    def _stream(self, indices: np.ndarray, *, ahead: bool) -> Iterator[np.ndarray]:
        """As `stream`. Pieces are the same however many threads read parts of them: rows that pass together matter."""
        workers, usual = self._readers.threads, min(cores(), MOST_THREADS)
        size = min(max(len(indices) // (2 * usual), SMALLEST_CHUNK), CHUNK) if ahead else CHUNK
        part = size if self._readers.known and not self._readers.waits else SMALLEST_CHUNK
        at_once = max(2 * workers * part // size, 1)
        pieces = deque(indices[start : start + size] for start in range(0, len(indices), size))
        waiting: deque[tuple[np.ndarray, list[int], list[Future[_Encoded]]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            while pieces or waiting:
                if ahead or not waiting:
                    for _ in range(min(at_once - len(waiting), len(pieces))):
                        piece = pieces.popleft()
                        new = [int(i) for i in piece if int(i) not in self._lengths and int(i) not in self.unreadable]
                        parts = [new[start : start + part] for start in range(0, len(new), part)]
                        waiting.append((piece, new, [pool.submit(self._encode, few) for few in parts]))
                    if not ahead:
                        wait([encoded for _, _, parts_of_it in waiting for encoded in parts_of_it])
                piece, new, encoded = waiting.popleft()
                self._keep(new, [row for few in encoded for row in few.result()])
                yield np.array([i for i in piece if int(i) in self._lengths], dtype=np.int64)

    def _keep(self, indices: Sequence[int], encoded: _Encoded) -> None:
        fresh: dict[bytes, dict[str, np.ndarray]] = {}
        for index, (digest, array) in zip(indices, encoded, strict=True):
            if isinstance(array, Unreadable):
                self.unreadable[index] = array.reason
                continue
            if not array.shape[0]:  # of an encoder that leaves out what it does not know
                self.unreadable[index] = "nothing in it that the backbone reads"
                continue
            self._digests[index], self._lengths[index] = digest, array.shape[0]
            if digest not in self._kept:
                fresh[digest] = {"x": array}
        self._kept.add(list(fresh), list(fresh.values()))

    def _encode(self, indices: Sequence[int]) -> _Encoded:
        """As `_encoded`, and learns how much of the time goes by waiting."""
        began, computed = time.perf_counter(), time.thread_time()
        encoded = self._encoded(indices)
        self._readers.learn(len(indices), time.perf_counter() - began, time.thread_time() - computed)
        return encoded

    def _encoded(self, indices: Sequence[int]) -> _Encoded:
        """The digest and the array of each row, from the store or by the encoder."""
        encoded: _Encoded = [(b"", Unreadable("empty"))] * len(indices)
        missing: list[int] = []
        for place, index in enumerate(indices):
            cell = self._cells[index]
            if cell is None:
                continue
            if self.modality in PICTORIAL and (found := _in_the_way(cell)):
                encoded[place] = b"", Unreadable(found)
                continue
            digest = content_digest(cell, self.modality)
            known = self._kept.get(digest)
            encoded[place] = digest, Unreadable("") if known is None else known["x"]
            if known is None:
                missing.append(place)
        for place, array in zip(missing, self.encoder.encode([self._cells[indices[i]] for i in missing]), strict=True):
            encoded[place] = encoded[place][0], array
        return encoded

    def refuse_too_many(self, share: float, describe: Callable[[int], str]) -> None:
        """Raises `UnreadableError` naming the first unreadable row when more than `share` of the rows are.

        As long as a part was seen, by more than chance would have among these.
        """
        bad, seen = len(self.unreadable), len(self._lengths) + len(self.unreadable)
        chance = math.sqrt(seen * share * (1 - share)) if seen < len(self._cells) else 0.0
        if bad > max(ALWAYS_SKIPPED if share else 0, share * seen + BY_CHANCE * chance) or (bad and bad == seen):
            first = min(self.unreadable)
            raise UnreadableError(
                f"{describe(first)}: {self.unreadable[first]}; {bad} of {seen} rows cannot be read, more than "
                f"{share:.0%}. Mend the files, or allow more with --skip-unreadable"
            )


class Readers:
    """How many threads encode: one for each core, and more where they wait for files; settled by the first rows."""

    def __init__(self, modality: Modality) -> None:
        self.threads = min(cores(), MOST_THREADS)
        self.waits = False
        self.known = modality not in PICTORIAL  # tokenizers compute in threads of their own
        self._rows, self._seconds, self._computed = 0, 0.0, 0.0
        self._lock = threading.Lock()

    def learn(self, rows: int, seconds: float, computed: float) -> None:
        """What so many rows took a thread, and how much of that it computed; of several at once, roughly."""
        with self._lock:
            if self.known:
                return
            self._rows += rows
            self._seconds += seconds
            self._computed += computed
            if self._rows < MEASURED:
                return
            times = self._seconds / max(self._computed, 1e-6)
            self.waits = times > WAITING
            if self.waits:
                self.threads = min(round(self.threads * times), MOST_THREADS)
            self.known = True


def _in_the_way(cell: Any) -> str | None:
    """The first of a cell's paths that leads to no file to read, and what is there."""
    found = ((path, obstacle(path)) for path in paths_of(cell))
    return next((f"{shortened(path, width=200)} {there}" for path, there in found if there), None)
