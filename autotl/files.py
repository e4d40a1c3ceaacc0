"""Writing files so that whoever reads, at any moment and after any kill or on a full disk, finds whole ones."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

Written = TypeVar("Written")

#: What the system says where nothing more can be written: the disk is full, or the quota, or it can only be read.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

#: The same as safetensors says it: by the system's own numbers, which on Windows are others.
_FULL_IN_WORDS = (39, 112, 1295) if os.name == "nt" else _FULL

#: Seconds in which a file on Windows is given up by whoever reads it: until then it cannot be replaced.
_SECONDS_OF_READING = 1.0


def is_disk_full(error: BaseException) -> bool:
    """Whether an exception says that nothing more can be written; safetensors says it in words only."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    words = str(error)  # the second is how older releases say it
    return any(f"(os error {code})" in words or f"code: {code}," in words for code in _FULL_IN_WORDS)


def making_room(write: Callable[[], Written], givers: Iterable[Callable[[], object]]) -> Written:
    """What `write` returns; where the disk is full, one giver after the other makes way before it is tried again.

    Raises whatever `write` raises at last.
    """
    for give_way in givers:
        try:
            return write()
        except Exception as error:
            if not is_disk_full(error):
                raise
        give_way()
    return write()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` to write into, which takes its name at the end; a failure leaves nothing behind."""
    fresh = _beside(path)
    try:
        fresh.mkdir()
        yield fresh
        fresh.rename(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _beside(path: Path) -> Path:
    """A hidden name of nothing that is there. Not by the number of the process, which in a container is 1 each time:
    one that was killed leaves what it wrote.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def to_be(path: Path) -> str | None:
    """The name that a file was about to take when a kill left it under one of `_beside`; None for any other."""
    unfinished = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}", path.name)
    return unfinished[1] if unfinished else None


def write_durably(path: Path, contents: str | bytes) -> None:
    """Replaces a file in one rename, after its contents have reached the disk; a failure leaves nothing behind."""
    with replacing(path) as file:
        file.write(contents.encode() if isinstance(contents, str) else contents)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which takes the place of `path` as in `write_durably`."""
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:  # no link that waits there is followed
            yield file
            file.flush()
            os.fsync(file.fileno())
        _take_the_place(temporary, path)
    except BaseException:  # Ctrl-C leaves nothing behind either
        temporary.unlink(missing_ok=True)
        raise


def _take_the_place(temporary: Path, path: Path) -> None:
    """Raises `PermissionError` on Windows where `path` stays open, such as in a spreadsheet."""
    began = time.monotonic()
    while True:
        try:
            temporary.replace(path)
            return
        except PermissionError:
            if os.name != "nt" or time.monotonic() - began > _SECONDS_OF_READING:
                raise
        time.sleep(0.05)


def append(file: io.FileIO, contents: bytes) -> None:
    """Adds to the end of a file that is open for it: everything, or where there is no room nothing."""
    size = file.seek(0, os.SEEK_END)
    rest = memoryview(contents)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(size)
        raise


def ends_torn(path: Path) -> bool:
    """Whether the last line of a file lacks its end, as a kill leaves it."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def drop_torn_end(path: Path) -> None:
    """Takes away what stands behind the last whole line of a file; for readers that do not pass over it."""
    with path.open("rb+") as file:
        file.truncate(file.read().rfind(b"\n") + 1)


def append_line(path: Path, text: str) -> None:
    """Adds a line of its own to a file, also after a last line that is torn."""
    torn = path.exists() and ends_torn(path)
    with path.open("ab", buffering=0) as file:
        append(file, ("\n" * torn + text + "\n").encode())


def reach_the_disk(file: Path) -> None:
    """Returns when the contents of a file will be there after a power cut."""
    with file.open("rb+") as opened:  # Windows refuses to flush what was opened to be read
        os.fsync(opened.fileno())


class EqualFiles:
    """Gives files with the same contents one place on the disk and as many names. Nobody may change them afterwards."""

    def __init__(self) -> None:
        self._known: dict[str, Path] = {}  #: by the digest of their contents

    def share(self, folder: Path) -> None:
        """Looks through a folder that was just written, perhaps in the place of another."""
        self._known = {digest: file for digest, file in self._known.items() if folder not in file.parents}
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            with file.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            twin, link = self._known.setdefault(digest, file), file.with_name(f".{file.name}")
            if twin != file:
                try:
                    os.link(twin, link)
                    link.replace(file)
                except OSError:  # a disk without links, or the twin was removed
                    self._known[digest] = file
