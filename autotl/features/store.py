"""The feature store: arrays computed once for a row's content, on disk, for every later use and every later search.

A *collection* holds what one computation gave: decoded pixels, pooled features, or the state at a stage boundary.
Its name is a hash of all that decides the values except the row, and a row is known by the digest of its content; so
a changed row is new, and everything else is found again. Rows are written in segments, files in the safetensors
format that appear in one rename and never change: several processes may write at once, and a kill leaves a temporary
file that nobody reads. Every row carries a checksum, verified before its first use.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from autotl.untrusted import TensorFile, parse_json, read_header
from autotl.usage import folder_bytes, free_memory

#: Named arrays of one row; those of one collection agree in all dimensions but the first, and mostly in dtype.
Row: TypeAlias = Mapping[str, np.ndarray]

#: Rows wait in memory until a segment is worth a file: fewer files to map, and little lost by a kill.
SEGMENT_BYTES = 32 * 2**20

#: The store takes at most this share of what the disk has left, and at most so many bytes: decoded images of a large
#: table (100 000 at 224 pixels) are 15 GB.
SHARE_OF_DISK, MOST_BYTES = 0.2, 20 * 10**9

#: A run's folder and what the cache keeps for it may take this share of what the disk has left: it is not the only one
#: there. As long as the folder grows, the cache leaves it a half of what is not taken.
SHARE_OF_FREE, LEFT_TO_THE_RUN = 0.5, 0.5

#: Of the memory that is free, for rows that cannot be written, and bytes at most.
SHARE_OF_MEMORY, MOST_IN_MEMORY = 0.125, 2**30

#: A temporary file older than this belongs to nobody any more.
ABANDONED_SECONDS = 3600.0

#: Rows are written when so many wait, which are at most the above and those of one batch; a larger file is not ours.
LARGEST_SEGMENT = 2**30

#: What `about` calls states at a stage boundary.
STATES = "states"

_SUFFIX, _WRITING = ".safetensors", ".writing"
_FOLDER = "store"


@dataclass
class _Segment:
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


class Collection:
    """Rows of one kind, by the digest of their content. Safe for several threads."""

    def __init__(self, store: FeatureStore, folder: Path | None, about: Mapping[str, Any]) -> None:
        self.about = about
        self._store = store
        self._folder = folder
        self._lock = threading.RLock()
        self._places: dict[bytes, tuple[_Segment, int]] = {}
        self._waiting: dict[bytes, Row] = {}
        self._waiting_bytes = 0
        self._held: dict[bytes, Row] = {}
        self.held_bytes = 0
        self._segments: list[_Segment] = []
        if folder is not None:
            for path in sorted(folder.glob(f"*{_SUFFIX}")):
                self._open(path)

    def _open(self, path: Path, *, used: bool = False) -> None:
        """used: whether this process wrote it."""
        try:
            segment = _read_segment(path)
        except OSError:  # too many files are open, or another process was faster: it may be whole
            return
        if segment is None:
            with contextlib.suppress(OSError):  # torn by a failing disk: nothing in it can be used
                path.unlink()
            return
        segment.used = used
        self._segments.append(segment)
        for place, digest in enumerate(segment.digests):
            self._places[digest.tobytes()] = segment, place

    def __contains__(self, digest: bytes) -> bool:
        """Whether it has the row, as far as is known before it is read: a torn one is computed again."""
        with self._lock:
            return digest in self._waiting or digest in self._held or digest in self._places

    def get(self, digest: bytes) -> Row | None:
        """The row's arrays, read-only, or None when it has to be computed."""
        with self._lock:
            if (row := self._waiting.get(digest) or self._held.get(digest)) is not None:
                return row
            if (known := self._places.get(digest)) is None:
                return None
            segment, place = known
            if not segment.used:
                segment.used = True
                with contextlib.suppress(OSError):  # the time of last use, for eviction
                    os.utime(segment.path)
            if not segment.is_intact(place):
                del self._places[digest]
                return None
            return segment.row(place)

    def add(self, digests: Sequence[bytes], rows: Sequence[Row]) -> None:
        """Keeps rows; they can be read at once, and are on disk after the next `flush` at the latest."""
        with self._lock:
            for digest, row in zip(digests, rows, strict=True):
                if digest not in self._waiting:
                    self._waiting[digest] = row
                    self._waiting_bytes += sum(array.nbytes for array in row.values())
            if self._waiting_bytes >= SEGMENT_BYTES:
                self.flush()

    def let_go(self) -> None:
        """Removes what this process used of what is on disk; it has to be computed again."""
        with self._lock:
            for path in self.used:
                with contextlib.suppress(OSError):  # is gone already, or open elsewhere on Windows
                    path.unlink()
            self._segments = [segment for segment in self._segments if not segment.used]
            self._places = {digest: (kept, at) for digest, (kept, at) in self._places.items() if not kept.used}

    @property
    def used(self) -> dict[Path, int]:
        """The files of which this process has read or written a row, and their bytes."""
        with self._lock:
            return {segment.path: segment.size for segment in self._segments if segment.used}

    def flush(self) -> None:
        """Writes what waits. Where the disk takes nothing, rows stay in memory as far as the store may use it."""
        with self._lock:
            if not self._waiting:
                return
            rows, size = self._waiting, self._waiting_bytes
            self._waiting, self._waiting_bytes = {}, 0
            path = None
            if self._folder is not None and self._store.make_room(size):
                with contextlib.suppress(OSError, SafetensorError):  # a full or read-only disk must not end a search
                    path = _write_segment(self._folder, rows, self.about)
            if path is not None:
                self._open(path, used=True)
            elif self._store.hold(size):
                self._held |= rows
                self.held_bytes += size


class FeatureStore:
    """All collections under one folder, with a limit on their size; the least recently used segments go first."""

    def __init__(
        self,
        cache: Path | None,
        *,
        limit: int | None = None,
        memory: int | None = None,
        run: Path | None = None,
        together: int | None = None,
    ) -> None:
        """cache: where to keep things, or None for memory only. limit: bytes on disk; None: `default_limit`.

        memory: bytes of rows to hold where they cannot be written, beyond which they are computed again; None for a
        part of what is free.
        run: the folder of the run that this serves. together: bytes that the run and what is kept for it may take; None
        for a share of what is free.
        """
        self.folder = None if cache is None else cache / _FOLDER
        self.limit = limit if limit is not None else default_limit(cache) if cache else 0
        self._run = run
        self._together = default_together(run) if run is not None and together is None else together
        self._share_spent = False  #: whether the last claim was for more than that
        self._memory_left = _part_of_memory() if memory is None else memory
        self._collections: dict[str, Collection] = {}
        self._loose: dict[Path, int] = {}  #: files of this process that may make way, and their bytes

    def collection(self, **about: Any) -> Collection:
        """The collection of what `about` describes: all that decides the values, and nothing else."""
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
        if name not in self._collections:
            folder = None if self.folder is None else self.folder / name
            self._collections[name] = Collection(self, folder, about)
        return self._collections[name]

    def flush(self) -> None:
        for collection in self._collections.values():
            collection.flush()

    def let_states_make_way(self) -> None:
        """A training has ended: states that it began from may make room for those of another, and are found until then.

        A search of many depths and strengths of augmentation used to have no room left after the third.
        """
        self.flush()
        for name, collection in list(self._collections.items()):
            if collection.about.get("kind") == STATES:
                self._loose |= collection.used
                self._memory_left += collection.held_bytes
                del self._collections[name]

    def room(self) -> int:
        """Bytes that this process may still add, when all that it does not use itself makes way."""
        if self.folder is None:
            return 0
        used = self._used
        free = shutil.disk_usage(_existing(self.folder)).free + sum(self._loose.values())
        return max(min(self.limit - sum(used.values()), free, self._left_beside_the_run()), 0)

    def _left_beside_the_run(self) -> int:
        """Bytes that may still be kept for the run, a half of the rest being its own."""
        if self._run is None or self._together is None:
            return self.limit
        return int(LEFT_TO_THE_RUN * (self._together - folder_bytes(self._run))) - sum(self._used.values())

    @property
    def _used(self) -> dict[Path, int]:
        """Files that this process uses, whoever computed them, and their bytes; what may make way is not among them."""
        found: dict[Path, int] = {}
        for collection in self._collections.values():
            found |= collection.used
        # but for those that a later training begins from again, and that others have removed
        self._loose = {path: size for path, size in self._loose.items() if path not in found and path.exists()}
        return found

    def claim(self, size: int) -> None:
        """Raises `OSError`, as on a full disk, where the run's folder may not grow by so many bytes."""
        if self._run is None or self._together is None:
            return
        kept = sum(self._used.values()) + sum(self._loose.values())
        self._share_spent = folder_bytes(self._run) + kept + size > self._together
        if self._share_spent:
            raise OSError(errno.ENOSPC, f"the run and its cache may take {self._together / 1e6:.0f} MB (--max-disk)")

    def give_way(self) -> None:
        """Removes what is kept for the run, and where the disk itself is full everything; keeps nothing any more."""
        if self.folder is None or self._run is None or not (self._share_spent or on_one_disk(self.folder, self._run)):
            return
        self.limit = 0
        for collection in self._collections.values():
            collection.let_go()
        for path in self._loose:
            with contextlib.suppress(OSError):
                path.unlink()
        self._loose.clear()
        if not self._share_spent:
            clear_store(self.folder.parent)

    def make_room(self, size: int) -> bool:
        """Evicts until `size` more bytes fit; False, and nothing is evicted, when they cannot."""
        used = self._used
        left = self._left_beside_the_run()
        if self.folder is None or size > min(left, self.limit - sum(used.values())):
            return False
        segments = sorted(_segments(self.folder), key=lambda segment: segment.last_used)
        excess = sum(segment.size for segment in segments) + size - self.limit
        beside = sum(self._loose.values()) + size - left  # of what the run may take
        for segment in segments:
            loose = segment.path in self._loose
            if segment.path in used or (excess <= 0 and not (loose and beside > 0)):
                continue
            with contextlib.suppress(OSError):  # another process was faster, or has it open on Windows
                segment.path.unlink()
                excess -= segment.size
                beside -= self._loose.pop(segment.path, 0)
        return excess <= 0 and beside <= 0

    def hold(self, size: int) -> bool:
        """Whether so many bytes more may stay in memory; they are taken then."""
        granted = size <= self._memory_left
        self._memory_left -= size * granted
        return granted


@dataclass(frozen=True)
class StoredSegment:
    """One file of the store. `last_used` in seconds since the epoch, `size` in bytes."""

    path: Path
    size: int
    last_used: float


def _part_of_memory() -> int:
    """Bytes of rows to hold where the disk takes none: a small part of what this process may take."""
    free = free_memory()
    return MOST_IN_MEMORY if free is None else min(int(SHARE_OF_MEMORY * free), MOST_IN_MEMORY)


def default_limit(cache: Path) -> int:
    """Bytes that the store in a cache folder may take: a share of what is free or already its own."""
    own = sum(segment.size for segment in _segments(cache / _FOLDER))
    return int(min(SHARE_OF_DISK * (shutil.disk_usage(_existing(cache)).free + own), MOST_BYTES))


def default_together(run: Path) -> int:
    """Bytes that a run's folder and its cache may take: a share of what is free or already the folder's."""
    return int(SHARE_OF_FREE * (shutil.disk_usage(_existing(run)).free + folder_bytes(run)))


def on_one_disk(one: Path, other: Path) -> bool:
    """Whether what is removed from one folder makes room in the other."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(folder: Path) -> Path:
    """The folder, or the one above it that exists."""
    for place in (folder, *folder.absolute().parents):
        with contextlib.suppress(OSError):  # in a folder that may not be entered
            if place.exists():
                return place
    return Path(folder.absolute().anchor)


@dataclass(frozen=True)
class StoredCollection:
    """What is known of a collection from its files. `last_used` in seconds since the epoch."""

    about: Mapping[str, Any]
    rows: int
    size: int
    last_used: float


def stored_collections(cache: Path) -> list[StoredCollection]:
    """All that the store of a cache folder holds, latest use first."""
    found: dict[Path, list[StoredSegment]] = {}
    for segment in _segments(cache / _FOLDER):
        found.setdefault(segment.path.parent, []).append(segment)
    collections = []
    for segments in found.values():
        known = [content for segment in segments if (content := _content(segment.path))]
        if known:
            about, rows = known[0][0], sum(rows for _, rows in known)
            size, last_used = sum(s.size for s in segments), max(s.last_used for s in segments)
            collections.append(StoredCollection(about, rows, size, last_used))
    return sorted(collections, key=lambda collection: -collection.last_used)


def _content(path: Path) -> tuple[dict[str, Any], int] | None:
    """What is computed in a segment, and how many rows it has; None for one that cannot be read."""
    try:
        stored = _header(path)
        about = parse_json(stored.metadata["about"])
        return (about, stored.tensors["digests"].shape[0]) if isinstance(about, dict) else None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def clear_store(cache: Path) -> int:
    """Removes everything from the store of a cache folder; a search that runs computes again. Returns the bytes."""
    size = sum(segment.size for segment in _segments(cache / _FOLDER))
    shutil.rmtree(cache / _FOLDER, ignore_errors=True)
    return size


def _segments(folder: Path) -> Iterable[StoredSegment]:
    now = time.time()
    for path in folder.glob("*/*"):
        if path.parent.is_symlink():  # nothing of ours, and what is behind it is not ours to remove
            continue
        try:
            status = path.lstat()
        except OSError:  # evicted by another process in this moment
            continue
        if path.suffix == _SUFFIX:
            yield StoredSegment(path, status.st_size, status.st_mtime)
        elif path.suffix == _WRITING and now - status.st_mtime > ABANDONED_SECONDS:
            with contextlib.suppress(OSError):
                path.unlink()


def _checksum(digest: bytes, row: Row) -> int:
    """Of the row and of what it is found by: a flipped bit in either could give another row's values."""
    total = zlib.crc32(digest)
    for name in sorted(row):
        total = zlib.crc32(f"{name}{row[name].shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(row[name]).data, total)
    return total


def _write_segment(folder: Path, rows: Mapping[bytes, Row], about: Mapping[str, Any]) -> Path:
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
        return temporary.replace(folder / f"{name}{_SUFFIX}")
    except BaseException:  # Ctrl-C leaves nothing behind either
        temporary.unlink(missing_ok=True)
        raise


def _of_one_type(rows: list[Row]) -> list[Row]:
    """The same with dtypes that hold all: states of one batch may need more bits than those of another."""
    types = {name: np.result_type(*{row[name].dtype for row in rows}) for name in rows[0]}
    return [{name: row[name].astype(dtype, copy=False) for name, dtype in types.items()} for row in rows]


_DTYPES = {
    "U8": np.uint8, "BOOL": np.bool_, "I32": np.int32, "I64": np.int64, "U16": np.uint16, "U32": np.uint32,
    "F16": np.float16, "F32": np.float32, "F64": np.float64,
}  # fmt: skip


def _read_segment(path: Path) -> _Segment | None:
    """Maps a segment; None when it is not whole, or not what `_write_segment` writes. Raises `OSError`."""
    try:
        stored = _header(path)
        raw = np.memmap(path, np.uint8, "r", stored.begin)
        arrays: dict[str, Any] = {
            name: raw[tensor.begin : tensor.end].view(_DTYPES[tensor.dtype]).reshape(tensor.shape)
            for name, tensor in stored.tensors.items()
        }
        names = [name.removesuffix(".data") for name in arrays if name.endswith(".data")]
        segment = _Segment(
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
