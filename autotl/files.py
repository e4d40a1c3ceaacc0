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


def append_line(path: Path, text: str) -> None:
    """Adds a line of its own to a file, also after a last line that a kill left torn."""
    with path.open("ab+") as file:
        torn = False
        if file.tell():
            file.seek(-1, os.SEEK_END)
            torn = file.read() != b"\n"
        file.write(("\n" * torn + text + "\n").encode("utf-8"))
