"""Where the paths of a person lead: made whole without surprises, and looked at before anything is opened.

A cell is somebody else's word. What it names may be a pipe that nobody writes to, a device without an end, or an
address on the web; opening these hangs, or eats the memory. Exports ship a copy of this file: it imports nothing of
AutoTL.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import Any

#: More bytes than the largest picture that is read (150 million pixels) has in 16 bits and four channels.
MOST_BYTES = 2 * 10**9

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with the home folder for ``~``; ``~name`` stays where there is no such user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  pathlib's raises for a user that is not there


def absolute(path: str | Path) -> Path:
    """The path from the root. Links stay: a table may lie elsewhere under a name that says nothing, and its images
    beside the link.
    """
    return expanded(path).absolute()


def paths_of(cell: Any) -> tuple[Any, ...]:
    """The files that an input of images names, one or several."""
    return tuple(cell) if isinstance(cell, tuple | list) else (cell,)


def is_address(cell: str) -> bool:
    """Whether it is an address, such as ``https://…``, and no path."""
    return _ADDRESS.match(cell) is not None


def image_path(root: Path, cell: str) -> str:
    """The path that a cell names, which is relative to `root` or whole; an address stays as it is.

    Accents may be written in another Unicode form than on the disk, as when an archive or a table comes from a Mac, and
    folders with backslashes, as Windows writes them; and spaces may stand around a path, as separators have them.
    """
    if is_address(cell):
        return cell
    if cell.isascii() and "\\" not in cell and cell == cell.strip():
        return str(root / cell)
    slashed = (cell, cell.replace("\\", "/"), cell.strip(), cell.strip().replace("\\", "/"))
    forms = [*slashed, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD") for path in slashed)]
    return next((str(root / form) for form in forms if os.path.lexists(root / form)), str(root / cell))


def obstacle(path: str | Path, *, most_bytes: float = MOST_BYTES) -> str | None:
    """What is at a path in the place of a file that can be read, such as ``is a folder``.

    None for a file, and for nothing at all: whoever opens it finds that out.
    """
    if is_address(str(path)):
        return "is an address, not a path: download the file first"
    try:
        found = os.stat(path)  # noqa: PTH116  the path may be text that `Path` takes for another
    except (OSError, ValueError):  # not there, a loop of links, too long, or a character that no path may hold
        return None
    if stat.S_ISDIR(found.st_mode):
        return "is a folder"
    if not stat.S_ISREG(found.st_mode):
        return "is a pipe or a device, not a file"
    if found.st_size > most_bytes:
        return f"has {found.st_size / 1e9:.1f} GB, more than a picture can have"
    return None
