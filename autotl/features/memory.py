"""How much memory there is, a ceiling on what this process takes, and what to do when it is reached."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from autotl.failures import is_out_of_memory
from autotl.usage import free_memory

#: Of what is free when the search starts: the rest is for the engine, the page cache and whoever else works here.
SHARE_OF_FREE = 0.8


def limit_memory(most: int | None) -> None:
    """Lets this process use `most` bytes; None: a share of what is free beside those that it uses. Linux only.

    The kernel counts private memory, so that an allocation beyond it fails and can be mended, where otherwise the
    process, or another, would be killed. Mapped files are not counted: they make way by themselves. Nor is what was set
    aside before and is not used: torch with CUDA sets aside 770 MB when it is imported, and uses 300 of them.

    Raises `MemoryError` where the process uses more already.
    """
    if not sys.platform.startswith("linux"):
        return
    used, allocated = _memory("RssAnon"), _memory("VmData")
    free = free_memory()
    more = most - used if most is not None else None if free is None else int(SHARE_OF_FREE * free)
    if more is None:
        return
    if more <= 0:
        raise MemoryError(f"Python with torch takes {used / 1e6:.0f} MB by itself")
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ceiling = allocated + more if hard == resource.RLIM_INFINITY else min(allocated + more, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, hard))


def _memory(account: str) -> int:
    """Bytes of this process, by one of the kernel's accounts."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{account}:")).split()[1])


def free_cache() -> None:
    """Gives back to an accelerator what torch keeps for itself, and what cycles of Python still hold."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def halving_on_out_of_memory(run: Callable[[np.ndarray], None], rows: np.ndarray) -> None:
    """Runs on all `rows` at once or, when memory runs out, on their halves. Raises when one row alone is too much."""
    try:
        run(rows)
        return
    except Exception as error:
        if len(rows) == 1 or not is_out_of_memory(error):
            raise
    # outside of the handler, which would keep the failed pass alive
    free_cache()
    half = len(rows) // 2
    halving_on_out_of_memory(run, rows[:half])
    halving_on_out_of_memory(run, rows[half:])
