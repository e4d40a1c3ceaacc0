"""The engine's talk with the worker: one request at a time, with a limit, and a new worker for one that died."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from autotl.errors import DataError, RunError, TrialError
from autotl.failures import REMEDIES
from autotl.search.disk import Disk
from autotl.search.ledger import Ledger
from autotl.search.line import EngineEnd, Message, WorkerGone
from autotl.search.pace import Pace

LOG_FILE = "worker.log"

#: Hears what the worker offers in the middle of a request; what it returns is the answer.
Hearer = Callable[[Message], Message]


class OutOfTime(Exception):
    """The worker did not answer before the time was up."""


class NoWorker(OutOfTime):
    """A worker died and no other can be had: nothing more can be tried, as if the time were up."""


class WorkerStuck(TrialError):
    """The worker was silent for longer than anybody waits, and was ended."""


class Dialogue:
    """Requests to the worker. A request that a worker dies of, or is stuck in, fails; the next finds a new worker."""

    def __init__(self, folder: Path, disk: Disk, pace: Pace, ledger: Ledger, *, offline: bool) -> None:
        """folder: of the run, where what the worker's libraries print is kept. The worker starts now.

        offline: whether it may open no connection.
        """
        self._log = folder / LOG_FILE
        self._disk, self._pace, self._ledger = disk, pace, ledger
        self._set_up: Message = {}
        self._offline = offline
        self._worker = EngineEnd(self._log, offline=self._offline)

    def begin(self, set_up: Message) -> None:
        """Tells the worker, and each one after it, what it must know; `ready` waits for it."""
        self._set_up = set_up
        with suppress(WorkerGone):  # it could not start: `ready` says why
            self._worker.tell(do="set_up", **set_up)

    def settle_split(self, split: Message) -> None:
        """Tells this worker, and each one after it, which rows train and which validate. Raises `OutOfTime`."""
        self._set_up |= split
        self.ask("split", "auditing", do="split", **split)

    def teach(self, teacher: Path) -> None:
        """Tells this worker, and each one after it, which bundle there is to learn from. Raises `OutOfTime`."""
        self._set_up |= {"teacher": str(teacher)}
        self.ask("teacher", "training", do="teach", teacher=str(teacher))

    def ready(self) -> str:
        """The device that the worker computes on.

        Raises `RunError` when the worker cannot start, `OutOfTime` when it does not in time.
        """
        return self._ready("loading")

    def _ready(self, account: str) -> str:
        try:
            return str(self._converse("set up", account, None)["device"])
        except TrialError as error:  # a new one would end as this did
            raise RunError(f"nothing can be trained: {error}; {REMEDIES[error.kind]}") from error

    def ask(
        self, what: str, account: str, *, hearer: Hearer | None = None, silence: float = math.inf, **request: Any
    ) -> Message:
        """The answer to a request; `what` names it in messages, and its seconds are booked under `account`.

        silence: seconds without a word after which it is given up.
        Raises `TrialError` when the request failed, `DataError` when the data is at fault, and `OutOfTime`, of which
        `NoWorker` is one.
        """
        try:
            self._worker.tell(**request)
        except WorkerGone:  # since its last answer, which costs nothing
            self._start_again(account)
            self._worker.tell(**request)
        try:
            return self._converse(what, account, hearer, silence)
        except (WorkerGone, WorkerStuck):
            self._start_again(account)
            raise

    def _converse(self, what: str, account: str, hearer: Hearer | None, silence: float = math.inf) -> Message:
        while True:
            patience = self._pace.patience(testing=account == "testing")
            try:
                with self._ledger.book(account):
                    message = self._worker.hear(min(patience, silence))
            except TimeoutError:
                if silence < patience:
                    text = f"{what}: nothing came of it for {silence:.0f} s, so it was ended"
                    raise WorkerStuck(text, kind="time") from None
                self.close()
                raise OutOfTime from None
            match message["say"]:
                case "done":
                    return message
                case "full":
                    self._disk.give_way()
                    self._worker.tell(do="answer")
                    continue
                case "failed" if message["fatal"]:
                    raise DataError(message["what"].partition(": ")[2])
                case "failed":
                    raise TrialError(f"{what}: {message['what']}", kind=message["failure"])
            if hearer:
                self._worker.tell(**hearer(message))

    def _start_again(self, account: str) -> None:
        """A new worker, in the time of whoever needs it; it looks through backbones when they are needed.

        Raises `NoWorker`: what there is on the disk stays, and the search ends well with it.
        """
        self.close()
        try:
            self._worker = EngineEnd(self._log, offline=self._offline)
            self.begin(self._set_up)
            self._ready(account)
        except (RunError, TrialError, OSError) as error:  # no memory for a process, for one
            self.close()
            raise NoWorker(str(error)) from error

    def last_words(self) -> str:
        """The last line that the worker's libraries printed; empty when there is none."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        """Ends the worker at once; what it has on disk is whole at any moment."""
        self._worker.close()
