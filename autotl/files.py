"""Writing files so that whoever reads, at any moment and after any kill, finds whole ones."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(path: Path, text: str) -> None:
    """Replaces a file in one rename, after its contents have reached the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def ends_torn(path: Path) -> bool:
    """Whether the last line of a file lacks its end, as a kill leaves it."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read() != b"\n"


def append_line(path: Path, text: str) -> None:
    """Adds a line of its own to a file, also after a last line that is torn."""
    torn = path.exists() and ends_torn(path)
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * torn + text + "\n")
