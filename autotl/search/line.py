"""The line between engine and worker: JSON objects, one a line, over the worker's standard input and output.

Arrays in them arrive as arrays, to the bit.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from autotl.errors import TrialError
from autotl.plugins.manager import OFF_VARIABLE, plugins
from autotl.usage import peak_memory, spin_variables, threads_of_container

if TYPE_CHECKING:
    from autotl.plugins.contracts import Value

Message = dict[str, Any]

#: Seconds for which nothing else is done while the worker is silent: before Python 3.14, Windows hears no Ctrl-C then.
WAIT = 0.5

#: Seconds for a worker that said its last word to end: on the way out a driver of an accelerator may keep it.
PATIENCE = 10.0


#: Marks an object that stands for an array.
_ARRAY = "__array__"


def _write(message: Message) -> str:
    return json.dumps(message, default=_stand_in) + "\n"


def _stand_in(value: Any) -> Message:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{value!r} cannot be said over the line")
    return {_ARRAY: base64.b64encode(value.tobytes()).decode(), "dtype": value.dtype.str, "shape": value.shape}


def _read(line: str) -> Message:
    message: Message = json.loads(line, object_hook=_stood_for)
    return message


def _stood_for(message: Message) -> Any:
    if _ARRAY not in message:
        return message
    flat = np.frombuffer(base64.b64decode(message[_ARRAY]), message["dtype"])
    return flat.reshape(message["shape"]).copy()  # which may be written to


@dataclass(frozen=True)
class Fitting:
    """What is fitted once more, of a model that was finished."""

    number: int  #: the trial's, or the head's
    name: str  #: of the trial's folder
    candidate: Message | None  #: its backbone; None for the bag of words
    strategy: str
    settings: dict[str, Value]
    head: bool  #: whether it is one on features
    made: float  #: share of its passes that it had
    views_agree: bool  #: whether other views of the rows mean the same


class WorkerGone(TrialError):
    """The worker died or was killed; `message` says how."""


class _Log(io.RawIOBase):
    """The worker's standard error; what its log has no room for is lost, and nobody fails for what is printed."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, printed: Any) -> int:
        with contextlib.suppress(OSError):
            os.write(2, printed)
        return len(printed)


class WorkerEnd:
    """The worker's end: receives requests, says answers."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what a library prints must not end up among the messages
        sys.stdout = sys.stderr = io.TextIOWrapper(_Log(), "utf-8", errors="backslashreplace", write_through=True)
        self._inbox: queue.Queue[Message] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._inbox.put(_read(line))
        os._exit(0)  # the engine is gone, and a worker never outlives it

    def receive(self) -> Message:
        return self._inbox.get()

    def say(self, kind: str, **data: Any) -> None:
        self._out.write(_write({"say": kind, "memory": peak_memory(), **data}))
        self._out.flush()


def _paths() -> list[str]:
    """Where modules are looked for here, and would be in a process that begins now; the working folder by no name."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [path for path in dict.fromkeys([*given, *sys.path]) if isinstance(path, str) and path]


class EngineEnd:
    """The engine's end: starts a worker process, asks, and waits with a limit."""

    def __init__(self, log: Path, *, offline: bool = False) -> None:
        """`log` collects what the worker's libraries print. offline: whether the hub's library is told not to ask."""
        self.memory = 0  #: bytes that the worker had resident at most, as far as is known
        self._log = log.open("a", encoding="utf-8")
        self._process = subprocess.Popen(
            # it imports what this process would, but for modules that lie in the working folder
            [sys.executable, "-P", "-m", "autotl.search.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
            env=spin_variables()
            | threads_of_container()
            | os.environ
            | {"PYTHONPATH": os.pathsep.join(_paths())}
            | {OFF_VARIABLE: " ".join(plugins().unresponsive)}
            | ({"HF_HUB_OFFLINE": "1"} if offline else {}),
        )
        self._inbox: queue.Queue[Message | None] = queue.Queue()
        assert self._process.stdout is not None
        self._listening = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._listening.start()

    def _listen(self, out: TextIO) -> None:
        try:
            with contextlib.suppress(ValueError):  # a worker killed while it speaks leaves half a message, or a letter
                for line in out:
                    self._inbox.put(_read(line))
        finally:
            self._inbox.put(None)
            out.close()

    def tell(self, **request: Any) -> None:
        """Raises `WorkerGone` when nobody listens."""
        assert self._process.stdin is not None
        if self._process.poll() is not None:
            raise self._gone()
        try:
            self._process.stdin.write(_write(request))
            self._process.stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def hear(self, seconds: float) -> Message:
        """The next message. Raises `TimeoutError` after `seconds`, `WorkerGone` when the worker has ended."""
        ends = time.monotonic() + seconds
        while True:
            left = max(ends - time.monotonic(), 0.0)
            try:
                message = self._inbox.get(timeout=min(left, WAIT))
                break
            except queue.Empty:
                self._note_memory()  # one that dies of it is not asked any more
                if left <= WAIT:
                    raise TimeoutError from None
        if message is None:
            raise self._gone()
        self.memory = max(self.memory, message.pop("memory", 0))
        return message

    def _note_memory(self) -> None:
        if self._process.returncode is None:  # else its number may be another's by now
            self.memory = max(self.memory, peak_memory(self._process.pid))

    def _gone(self) -> WorkerGone:
        words = Path(self._log.name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = f" ({words[-1]})" if words else ""
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:  # it waits for a driver, or for an answer that nobody will read
            self._process.kill()
            return WorkerGone(f"the worker hung up{last}")
        if code == -9:
            return WorkerGone("the worker was killed: most likely the machine ran out of memory", kind="memory")
        return WorkerGone(f"the worker ended with code {code}{last}")

    def close(self) -> None:
        """Ends the worker at once; what it has on disk is whole at any moment."""
        self._note_memory()
        self._process.kill()
        # one that waits for a driver or a disk ends when these let go
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._log.close()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what it was told last it never read
            self._process.stdin.close()
        self._listening.join(1.0)  # which closes the other pipe, unless a child of the worker holds it open
