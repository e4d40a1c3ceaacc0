"""What processes and folders take of this machine."""

from __future__ import annotations

import contextlib
import stat
import sys
from pathlib import Path


def peak_memory(*, children: bool = False) -> int:
    """Bytes that this process had resident at most so far, mapped files counted; 0 where the system does not say.

    children: of the largest of its children that have ended instead.
    """
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_CHILDREN if children else resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder; a file with several names counts once."""
    sizes: dict[int, int] = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed since it was listed
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                sizes[status.st_ino] = status.st_size
    return sum(sizes.values())
