"""The worker process: ``python -m autotl.search.worker``. Holds torch and the models; runs what the engine asks.

Each request ends with ``{"say": "done", ...}`` or ``{"say": "failed", ...}``.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import traceback

from autotl.errors import UnreadableError
from autotl.failures import kind_of
from autotl.plugins.manager import plugins
from autotl.search.line import WorkerEnd
from autotl.usage import allow_open_files, keep_freed_memory

#: ``PR_SET_PDEATHSIG`` of prctl(2).
_SET_PARENT_DEATH_SIGNAL = 1


#: What the engine may ask for, by the names of the workbench's methods.
REQUESTS = frozenset(
    ("alike", "split", "screen", "forget", "head", "words", "forecast", "trial", "validate", "refit", "teach", "test")
)


def main() -> None:
    """Serves the engine until it hangs up. What ends a terminal's programs reaches the engine too, and it decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.basicConfig(format="%(name)s: %(message)s")  # to standard error, which is the run's worker.log
    _end_with_engine()
    keep_freed_memory()
    allow_open_files()
    line = WorkerEnd()
    from autotl.search.workbench import Workbench  # loads torch while the engine still reads the table

    bench: Workbench | None = None
    while True:
        request = line.receive()
        do = request.pop("do")
        try:
            if do == "set_up":
                bench = Workbench(line, **request)
                line.say("done", device=str(bench.device))
            elif bench and do in REQUESTS:
                line.say("done", **getattr(bench, do)(**request))
            else:  # an engine that waits for an answer would wait until the budget's end
                raise ValueError(f"no such request: {do!r}")
        except Exception as error:  # the engine books it on the trial; the worker lives on
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            what = f"{type(error).__name__}: {str(error) or repr(error)}"
            unreadable = isinstance(error, UnreadableError)
            if _accelerator_is_lost():  # until the process ends; the engine books that, and begins another
                os._exit(1)
            line.say("failed", what=what, failure=kind_of(error, plugins().modules), unreadable=unreadable)


def _accelerator_is_lost() -> bool:
    """Whether an error has left the accelerator in a state in which all that follows would fail alike."""
    import torch

    from autotl.features.device import best_device

    if best_device().type == "cpu":
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def _end_with_engine() -> None:
    """Has the kernel kill this process when the engine ends in whatever way, even while it listens to nobody."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # a C library without it; it still ends when it listens
            ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    main()
