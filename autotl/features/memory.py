"""How much memory there is, a ceiling on what this process takes, and what to do when it is reached."""

from __future__ import annotations

import contextlib
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
    accounts = _accounts()
    used, allocated = accounts.get("RssAnon", accounts.get("VmRSS")), accounts.get("VmData")
    if used is None or allocated is None:  # a sandbox that does not tell
        return
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


def _accounts() -> dict[str, int]:
    """Bytes of this process, by the name of each of the kernel's accounts; those that it does not keep are missing."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            name, _, said = line.partition(":")
            if said.endswith(" kB"):
                found[name] = 1024 * int(said.split()[0])
    return found


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
