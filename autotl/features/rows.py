"""The cells of a table, encoded once by one encoder and kept for every use after."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from autotl.errors import DataError
from autotl.plugins.contracts import InputEncoder, Unreadable

#: Cells a thread encodes at a time: some 60 ms of JPEG decoding, short enough to stop at a deadline.
CHUNK = 64

#: Below this many rows a share says nothing: three broken files in ten are no reason to refuse a table.
ALWAYS_SKIPPED = 3


class EncodedRows:
    """Encodes lazily and remembers; rows that cannot be read are remembered with their reason.

    cells: one input a row; None counts as unreadable.
    """

    def __init__(self, encoder: InputEncoder, cells: Sequence[Any]) -> None:
        self.encoder = encoder
        self.unreadable: dict[int, str] = {}
        self._cells = cells
        self._arrays: dict[int, np.ndarray] = {}

    def seen_by(self, encoder: InputEncoder) -> EncodedRows:
        """The same arrays for an encoder with the same fingerprint, which may batch them in another way."""
        other = EncodedRows(encoder, self._cells)
        other._arrays, other.unreadable = self._arrays, self.unreadable
        return other

    def __getitem__(self, index: int) -> np.ndarray:
        return self._arrays[index]

    def gather(self, indices: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """The arrays of rows that `readable` has returned."""
        return [self._arrays[index] for index in indices]

    def readable(self, indices: np.ndarray) -> np.ndarray:
        """Encodes what is missing and returns the rows that can be used, in the order given."""
        missing = [int(i) for i in indices if int(i) not in self._arrays and int(i) not in self.unreadable]
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for chunk, arrays in zip(chunks, pool.map(self._encode, chunks), strict=True):
                for index, array in zip(chunk, arrays, strict=True):
                    if isinstance(array, Unreadable):
                        self.unreadable[index] = array.reason
                    else:
                        self._arrays[index] = array
        return np.array([i for i in indices if int(i) in self._arrays], dtype=np.int64)

    def _encode(self, chunk: Sequence[int]) -> list[np.ndarray | Unreadable]:
        encoded: list[np.ndarray | Unreadable] = [Unreadable("empty")] * len(chunk)
        filled = [place for place, index in enumerate(chunk) if self._cells[index] is not None]
        for place, array in zip(filled, self.encoder.encode([self._cells[chunk[i]] for i in filled]), strict=True):
            encoded[place] = array
        return encoded

    def refuse_too_many(self, share: float, describe: Callable[[int], str]) -> None:
        """Raises `DataError` naming the first unreadable row when more than `share` of the rows seen are."""
        bad, seen = len(self.unreadable), len(self._arrays) + len(self.unreadable)
        if bad > max(ALWAYS_SKIPPED, share * seen) or (bad and bad == seen):
            first = min(self.unreadable)
            raise DataError(
                f"{describe(first)}: {self.unreadable[first]}; {bad} of {seen} rows cannot be read, more than "
                f"{share:.0%}. Mend the files, or allow more with --skip-unreadable"
            )
