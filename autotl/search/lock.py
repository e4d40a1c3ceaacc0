"""One process works in a run's folder at a time: who does is written beside the lock that says so.

The system gives the lock back when its process ends, in whatever way; so there is no stale one to be recognized, and
what is written of a process that was killed is read by nobody.
"""

from __future__ import annotations

import errno
import json
import os
import platform
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from autotl.errors import RunError
from autotl.files import write_durably
from autotl.runs.folder import HOLDER_FILE, LOCK_FILE
from autotl.untrusted import read_object

#: What systems say of a disk that knows no locks; a search there goes without.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


class RunLock:
    """Held from its making to `release`, or to the end of the process."""

    def __init__(self, folder: Path) -> None:
        """folder: of the run. Raises `RunError` when another search works in it, with its process and host."""
        self._lock, self._holder = FileLock(folder / LOCK_FILE, blocking=False), folder / HOLDER_FILE
        try:
            self._lock.acquire()
        except Timeout:
            raise RunError(f"{folder}: {_holder(folder)} works in it; wait for its end, or stop it first") from None
        except NotImplementedError:  # so older versions of filelock say that a disk knows no locks; it goes without
            return
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return
            raise RunError(f"{folder} cannot be written ({error.strerror}); check its permissions") from error
        with suppress(OSError):  # on a full disk others are told less
            write_durably(self._holder, json.dumps({"process": os.getpid(), "host": platform.node()}))

    def release(self) -> None:
        """Lets others work in the folder."""
        if self._lock.is_locked:
            self._holder.unlink(missing_ok=True)
            self._lock.release()


def is_held(folder: Path) -> bool:
    """Whether a process works in the folder, as far as can be told without being in the way of one that begins."""
    try:
        known = read_object(folder / HOLDER_FILE)
        if os.name != "posix" or known["host"] != platform.node():
            return True  # nobody here knows; it is gone when its file is
        os.kill(known["process"], 0)
    except PermissionError:  # it is another person's
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _holder(folder: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):  # it is about to write it
        known = read_object(folder / HOLDER_FILE)
        return f"another search (process {known['process']} on {known['host']})"
    return "another search"
