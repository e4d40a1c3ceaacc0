"""The feature store: arrays computed once for a row's content, on disk, for every later use and every later search.

A *collection* holds what one computation gave: decoded pixels, pooled features, or the state at a stage boundary.
Its name is a hash of all that decides the values except the row, and a row is known by the digest of its content; so
a changed row is new, and everything else is found again. Rows are written in segments (`features.segments`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from autotl.features.segments import (
    SUFFIX,
    Row,
    Segment,
    StoredSegment,
    read_about,
    read_segment,
    stored_segments,
    write_segment,
)
from autotl.usage import folder_bytes, free_memory

#: Rows wait in memory until a segment, or what waits in all, is worth a file: fewer files to map, and little lost by a
#: kill.
SEGMENT_BYTES = 32 * 2**20

#: The store takes at most this share of what the disk has left, and at most so many bytes: decoded images of a large
#: table (100 000 at 224 pixels) are 15 GB.
SHARE_OF_DISK, MOST_BYTES = 0.2, 20 * 10**9

#: A run's folder and what the cache keeps for it may take this share of what the disk has left: it is not the only one
#: there. As long as the folder grows, the cache leaves it a half of what is not taken.
SHARE_OF_FREE, LEFT_TO_THE_RUN = 0.5, 0.5

#: Of the memory that is free, for rows that cannot be written, and bytes at most.
SHARE_OF_MEMORY, MOST_IN_MEMORY = 0.125, 2**30

#: What `about` calls states at a stage boundary.
STATES = "states"

_FOLDER = "store"


class Collection:
    """Rows of one kind, by the digest of their content. Safe for several threads."""

    def __init__(self, store: FeatureStore, folder: Path | None, about: Mapping[str, Any]) -> None:
        self.about = about
        self._store = store
        self._folder = folder
        self._lock = threading.RLock()
        self._places: dict[bytes, tuple[Segment, int]] = {}
        self._waiting: dict[bytes, Row] = {}
        self.waiting_bytes = 0
        self._held: dict[bytes, Row] = {}
        self.held_bytes = 0
        self._segments: list[Segment] = []
        if folder is not None:
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                self._open(path)

    def _open(self, path: Path, *, used: bool = False) -> None:
        """used: whether this process wrote it."""
        try:
            segment = read_segment(path)
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
                    self.waiting_bytes += sum(array.nbytes for array in row.values())
        self._store.write_the_fullest()  # which may be another's, whose lock is not waited for in ours

    def let_go(self) -> None:
        """Removes what this process used of what is on disk; it has to be computed again."""
        with self._lock:
            paths = list(self.used)
            self._segments = [segment for segment in self._segments if not segment.used]
            self._places = {digest: (kept, at) for digest, (kept, at) in self._places.items() if not kept.used}
            for path in paths:  # after nothing here maps them, which Windows asks for
                with contextlib.suppress(OSError):  # is gone already, or open elsewhere
                    path.unlink()

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
            rows, size = self._waiting, self.waiting_bytes
            self._waiting, self.waiting_bytes = {}, 0
            path = None
            if self._folder is not None and self._store.make_room(size):
                with contextlib.suppress(OSError, SafetensorError):  # a full or read-only disk must not end a search
                    path = write_segment(self._folder, rows, self.about)
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
        max_disk: int | None = None,
    ) -> None:
        """cache: where to keep things, or None for memory only. limit: bytes on disk; None: `default_limit`.

        memory: bytes of rows to hold where they cannot be written, beyond which they are computed again; None for a
        part of what is free.
        run: the folder of the run that this serves. max_disk: bytes that the run and what is kept for it may take;
        None for a share of what is free.
        """
        self.folder = None if cache is None else cache / _FOLDER
        self.limit = limit if limit is not None else default_limit(cache) if cache else 0
        self._run = run
        self._max_disk = default_max_disk(run) if run is not None and max_disk is None else max_disk
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

    def write_the_fullest(self) -> None:
        """Of all collections, where what waits in them is worth a file: eight views of a table held 250 MB."""
        collections = list(self._collections.values())
        if sum(collection.waiting_bytes for collection in collections) >= SEGMENT_BYTES:
            max(collections, key=lambda collection: collection.waiting_bytes).flush()

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
        if self._run is None or self._max_disk is None:
            return self.limit
        return int(LEFT_TO_THE_RUN * (self._max_disk - folder_bytes(self._run))) - sum(self._used.values())

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
        if self._run is None or self._max_disk is None:
            return
        kept = sum(self._used.values()) + sum(self._loose.values())
        self._share_spent = folder_bytes(self._run) + kept + size > self._max_disk
        if self._share_spent:
            raise OSError(errno.ENOSPC, f"the run and its cache may take {self._max_disk / 1e6:.0f} MB (--max-disk)")

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
        segments = sorted(stored_segments(self.folder), key=lambda segment: segment.last_used)
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


def _part_of_memory() -> int:
    """Bytes of rows to hold where the disk takes none: a small part of what this process may take."""
    free = free_memory()
    return MOST_IN_MEMORY if free is None else min(int(SHARE_OF_MEMORY * free), MOST_IN_MEMORY)


def default_limit(cache: Path) -> int:
    """Bytes that the store in a cache folder may take: a share of what is free or already its own."""
    own = sum(segment.size for segment in stored_segments(cache / _FOLDER))
    return int(min(SHARE_OF_DISK * (shutil.disk_usage(_existing(cache)).free + own), MOST_BYTES))


def default_max_disk(run: Path) -> int:
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
    for segment in stored_segments(cache / _FOLDER):
        found.setdefault(segment.path.parent, []).append(segment)
    collections = []
    for segments in found.values():
        known = [content for segment in segments if (content := read_about(segment.path))]
        if known:
            about, rows = known[0][0], sum(rows for _, rows in known)
            size, last_used = sum(s.size for s in segments), max(s.last_used for s in segments)
            collections.append(StoredCollection(about, rows, size, last_used))
    return sorted(collections, key=lambda collection: -collection.last_used)


def clear_store(cache: Path) -> int:
    """Removes everything from the store of a cache folder; a search that runs computes again. Returns the bytes."""
    before = sum(segment.size for segment in stored_segments(cache / _FOLDER))
    shutil.rmtree(cache / _FOLDER, ignore_errors=True)
    return before - sum(segment.size for segment in stored_segments(cache / _FOLDER))
