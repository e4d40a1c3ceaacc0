"""What can go wrong with a part of a search, in eight words, and what helps."""

from __future__ import annotations

import errno
import socket
import traceback
from collections.abc import Iterator, Mapping

from autotl.errors import DataError, FailureKind, PluginError, TrialError
from autotl.files import is_disk_full

#: One line each, for whoever reads that something failed.
REMEDIES: Mapping[FailureKind, str] = {
    "data": "mend the rows that are named, or leave them out with --set-aside",
    "memory": "close other programs, allow more with --max-memory, or keep to smaller backbones with --max-params",
    "numbers": "nothing needs to be done: what diverges is given up, and settings like it are stayed away from",
    "network": "try again when the network is back, or search what is on this machine with --offline",
    "disk": "make room, or name another disk with --out and AUTOTL_CACHE",
    "plugin": "tell the authors of the plugin; 'autotl plugins' says who they are, and without it the search works too",
    "time": "give more of it, such as --budget +10m to 'autotl resume'",
    "defect": "tell the developers of AutoTL; 'autotl doctor --bundle' packs what they need, without your data",
}


#: What torch says where it has no type for it, on processors and for cuBLAS and cuDNN; and Python of a thread's stack.
_OUT_OF_MEMORY = (
    "allocate memory",
    "out of memory",
    "status_alloc_failed",
    "can't start new thread",
    "unable to find an engine",  # cuDNN, where no way to convolve finds its workspace
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: torch has a type for that on accelerators only."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in words for sign in _OUT_OF_MEMORY)


def kind_of(error: BaseException, plugins: frozenset[str] = frozenset()) -> FailureKind:
    """The kind of an exception, by its type, by what it came of, and at last by whose code raised it.

    plugins: the packages, as they are imported, whose failures are their authors' to mend.
    """
    for cause in _causes(error):
        match cause:
            case TrialError():
                return cause.kind
            case DataError():
                return "data"
            case PluginError():
                return "plugin"
            case ConnectionError() | TimeoutError() | socket.gaierror():  # the last: a name that nobody knows
                return "network"
            case FloatingPointError():
                return "numbers"
        if type(cause).__name__.endswith("LinAlgError"):  # numpy's and torch's
            return "numbers"
        if is_out_of_memory(cause):
            return "memory"
        if is_disk_full(cause) or (isinstance(cause, OSError) and cause.errno == errno.EIO):
            return "disk"
    whose = next((package for package in _packages(error) if package in {"autotl", *plugins}), "autotl")
    return "defect" if whose == "autotl" else "plugin"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, and what it was raised from or while handling."""
    known: BaseException | None = error
    seen: set[int] = set()
    while known is not None and id(known) not in seen:
        seen.add(id(known))
        yield known
        known = known.__cause__ or (None if known.__suppress_context__ else known.__context__)


def _packages(error: BaseException) -> Iterator[str]:
    """Of the code that was at work when it was raised, the innermost first."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        yield str(frame.f_globals.get("__name__", "")).partition(".")[0]
