"""Segments of the feature store: files of rows in the safetensors format that appear in one rename and never change.

Several processes may write at once, and a kill leaves a temporary file that nobody reads. Every row carries a checksum,
verified before its first use.
"""

from __future__ import annotations

import contextlib
import json
import time
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors.numpy import save_file

from autotl.untrusted import TensorFile, parse_json, read_header

#: Named arrays of one row; those of one collection agree in all dimensions but the first, and mostly in dtype.
Row: TypeAlias = Mapping[str, np.ndarray]

#: A segment has at most the bytes that the store lets wait and those of one batch; a larger file is not ours.
LARGEST_SEGMENT = 2**30

#: A temporary file older than this belongs to nobody any more.
ABANDONED_SECONDS = 3600.0

SUFFIX, _WRITING = ".safetensors", ".writing"

_DTYPES = {
    "U8": np.uint8, "BOOL": np.bool_, "I32": np.int32, "I64": np.int64, "U16": np.uint16, "U32": np.uint32,
    "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip


@dataclass
class Segment:
    """One file, mapped. `shapes`, `starts` and `data` by array name; `intact` marks rows whose checksum agreed."""

    path: Path
    digests: np.ndarray
    checksums: np.ndarray
    shapes: dict[str, np.ndarray]
    starts: dict[str, np.ndarray]
    data: dict[str, np.ndarray]
    size: int  #: bytes of the file
    used: bool = False  #: whether any of its rows was asked for, or written, by this process
    intact: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.intact = np.zeros(len(self.digests), bool)

    @property
    def agrees(self) -> bool:
        """Whether all its parts speak of the same number of rows."""
        rows = len(self.digests)
        whole = self.digests.ndim == 2 and self.checksums.shape == (rows,)
        return whole and all(
            self.shapes[name].ndim == 2 and len(self.shapes[name]) == rows and self.starts[name].shape == (rows + 1,)
            for name in self.data
        )

    def row(self, place: int) -> dict[str, np.ndarray]:
        return {
            name: data[self.starts[name][place] : self.starts[name][place + 1]].reshape(self.shapes[name][place])
            for name, data in self.data.items()
        }

    def is_intact(self, place: int) -> bool:
        if not self.intact[place]:
            try:
                found = _checksum(self.digests[place].tobytes(), self.row(place))
                self.intact[place] = found == self.checksums[place]
            except ValueError:  # what says where the row is was torn itself
                return False
        return bool(self.intact[place])


def write_segment(folder: Path, rows: Mapping[bytes, Row], about: Mapping[str, Any]) -> Path:
    """A file of these rows in the folder of their collection. Raises `OSError` and `SafetensorError`."""
    values = _of_one_type(list(rows.values()))
    tensors: dict[str, np.ndarray] = {
        "digests": np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1),
        "checksums": np.array([_checksum(*known) for known in zip(rows, values, strict=True)], np.uint32),
    }
    for name in values[0]:
        arrays = [row[name] for row in values]
        tensors[f"{name}.shapes"] = np.array([array.shape for array in arrays], np.int64).reshape(len(arrays), -1)
        tensors[f"{name}.starts"] = np.cumsum([0, *(array.size for array in arrays)], dtype=np.int64)
        tensors[f"{name}.data"] = np.concatenate([array.reshape(-1) for array in arrays])
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    temporary = folder / f"{name}{_WRITING}"
    try:
        # nobody waits until the disk has it: what a power cut leaves is refused by its header or by its checksums
        save_file(tensors, temporary, metadata={"about": json.dumps(about)})
        return temporary.replace(folder / f"{name}{SUFFIX}")
    except BaseException:  # Ctrl-C leaves nothing behind either
        temporary.unlink(missing_ok=True)
        raise


def _of_one_type(rows: list[Row]) -> list[Row]:
    """The same with dtypes that hold all: states of one batch may need more bits than those of another."""
    types = {name: np.result_type(*{row[name].dtype for row in rows}) for name in rows[0]}
    return [{name: row[name].astype(dtype, copy=False) for name, dtype in types.items()} for row in rows]


def read_segment(path: Path) -> Segment | None:
    """Maps a segment; None when it is not whole, or not what `write_segment` writes. Raises `OSError`."""
    try:
        stored = _header(path)
        raw = np.memmap(path, np.uint8, "r", stored.begin)
        arrays: dict[str, Any] = {
            name: raw[tensor.begin : tensor.end].view(_DTYPES[tensor.dtype]).reshape(tensor.shape)
            for name, tensor in stored.tensors.items()
        }
        names = [name.removesuffix(".data") for name in arrays if name.endswith(".data")]
        segment = Segment(
            path,
            np.array(arrays["digests"]),
            np.array(arrays["checksums"]),
            {name: np.array(arrays[f"{name}.shapes"]) for name in names},
            {name: np.array(arrays[f"{name}.starts"]) for name in names},
            {name: arrays[f"{name}.data"] for name in names},
            path.stat().st_size,
        )
        return segment if segment.agrees else None
    except (ValueError, KeyError, TypeError):
        return None


def _header(path: Path) -> TensorFile:
    """Raises `OSError` and `ValueError`, also for a file that is larger than any segment."""
    if (size := path.stat().st_size) > LARGEST_SEGMENT:
        raise ValueError(f"{path.name}: {size} bytes are no segment")
    return read_header(path)


def _checksum(digest: bytes, row: Row) -> int:
    """Of the row and of what it is found by: a flipped bit in either could give another row's values."""
    total = zlib.crc32(digest)
    for name in sorted(row):
        total = zlib.crc32(f"{name}{row[name].shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(row[name]).data, total)
    return total


@dataclass(frozen=True)
class StoredSegment:
    """One file of the store. `last_used` in seconds since the epoch, `size` in bytes."""

    path: Path
    size: int
    last_used: float


def stored_segments(folder: Path) -> Iterable[StoredSegment]:
    """Those of all collections in the store's folder; what a kill left there is removed on the way."""
    now = time.time()
    for path in folder.glob("*/*"):
        if path.parent.is_symlink():  # nothing of ours, and what is behind it is not ours to remove
            continue
        try:
            status = path.lstat()
        except OSError:  # evicted by another process in this moment
            continue
        if path.suffix == SUFFIX:
            yield StoredSegment(path, status.st_size, status.st_mtime)
        elif path.suffix == _WRITING and now - status.st_mtime > ABANDONED_SECONDS:
            with contextlib.suppress(OSError):
                path.unlink()


def read_about(path: Path) -> tuple[dict[str, Any], int] | None:
    """What is computed in a segment, and how many rows it has; None for one that cannot be read."""
    try:
        stored = _header(path)
        about = parse_json(stored.metadata["about"])
        return (about, stored.tensors["digests"].shape[0]) if isinstance(about, dict) else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
