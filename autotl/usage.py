"""What processes and folders take of this machine."""

from __future__ import annotations

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
    files = {(status := path.lstat()).st_ino: status.st_size for path in folder.rglob("*") if path.is_file()}
    return sum(files.values())
