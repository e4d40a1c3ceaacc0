"""The engine's talk with the worker: one request at a time, with a limit, and a new worker for one that died."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotl.errors import RunError, TrialError, UnreadableError
from autotl.failures import REMEDIES
from autotl.plugins.manager import plugins
from autotl.runs.folder import LOG_FILE
from autotl.search.disk import Disk
from autotl.search.ledger import Ledger
from autotl.search.line import EngineEnd, Fitting, Message, WorkerGone
from autotl.search.pace import Pace

if TYPE_CHECKING:
    from autotl.plugins.contracts import Candidate, Work
    from autotl.search.preparation import TestRows
    from autotl.search.space import TrialConfig


#: Hears what the worker offers in the middle of a request; what it returns is the answer.
Hearer = Callable[[Message], Message]


class OutOfTime(Exception):
    """The worker did not answer before the time was up."""


class NoWorker(OutOfTime):
    """A worker died and no other can be had: nothing more can be tried, as if the time were up."""


class WorkerStuck(TrialError):
    """The worker was silent for longer than anybody waits, and was ended."""


class Dialogue:
    """Requests to the worker. A request that a worker dies of, or is stuck in, fails; the next finds a new worker.

    Each raises `TrialError` when it failed, `UnreadableError` when too many rows are, and `OutOfTime`, of which
    `NoWorker` is one. of, what: how messages name it. silence: seconds without a word after which it is given up.
    views_agree: whether other views of the rows mean the same. loading: seconds for loading a
    backbone, beside those for the look; where a look has no limit, one that has not loaded it by then is given up.
    """

    def __init__(self, folder: Path, disk: Disk, pace: Pace, ledger: Ledger, *, offline: bool) -> None:
        """folder: of the run, where what the worker's libraries print is kept. The worker starts now.

        offline: whether it may open no connection.
        """
        self._log = folder / LOG_FILE
        self._disk, self._pace, self._ledger = disk, pace, ledger
        self._set_up: Message = {}
        self._memory = 0  #: bytes, of the workers that have ended
        self._offline = offline
        self._worker = EngineEnd(self._log, offline=self._offline)

    def begin(self, set_up: Message) -> None:
        """Tells the worker, and each one after it, what it must know; `ready` waits for it."""
        self._set_up = set_up
        with suppress(WorkerGone):  # it could not start: `ready` says why
            self._worker.tell(do="set_up", **set_up)

    def settle_split(self, split: Message) -> None:
        """Tells this worker, and each one after it, which rows train and which validate."""
        self._set_up |= split
        self._ask("split", "auditing", do="split", **split)

    def teach(self, teacher: Path) -> None:
        """Tells this worker, and each one after it, which bundle there is to learn from."""
        self._set_up |= {"teacher": str(teacher)}
        self._ask("teacher", "training", do="teach", teacher=str(teacher))

    def forget(self, but: Collection[str]) -> None:
        """Has the worker let go of the networks of all backbones but these; one that is asked for is loaded again."""
        self._ask("backbones", "screening", do="forget", but=list(but))

    def alike(self, candidate: Candidate, *, test: Sequence[Any], seconds: float, loading: float) -> Message:
        """Which images are copies of others, as the backbone reads them. test: cells of rows to test on."""
        return self._ask(
            "audit", "auditing", silence=loading + seconds, loading=loading, do="alike",
            candidate=dataclasses.asdict(candidate), test=test,
            seconds=seconds,
        )  # fmt: skip

    def screen(
        self, candidate: Candidate, *, seconds: float, most_rows: int | None, opinions: bool, needed: bool,
        loading: float,
    ) -> Message:  # fmt: skip
        """What a backbone sees of the rows. opinions: whether screeners are asked, too. needed: however slow it is."""
        return self._ask(
            _named(candidate), "screening", silence=loading + seconds, loading=loading, do="screen",
            candidate=dataclasses.asdict(candidate),
            seconds=seconds, most_rows=most_rows, opinions=opinions, needed=needed,
        )  # fmt: skip

    def head(
        self, candidate: Candidate, *, name: str, quick: bool, seconds: float, most_rows: int | None,
        hearer: Hearer,
    ) -> Message:  # fmt: skip
        """Has a head fitted on what a backbone saw, or sees now. quick: judged by some rows, for the time being."""
        return self._ask(
            _named(candidate), "heads", hearer=hearer, do="head", candidate=dataclasses.asdict(candidate), name=name,
            quick=quick, seconds=seconds, most_rows=most_rows,
        )  # fmt: skip

    def words(self, *, name: str, most_rows: int, hearer: Hearer, silence: float) -> Message:
        """Has a bag of words fitted."""
        return self._ask(
            "bag of words", "floor", hearer=hearer, silence=silence, do="words", name=name, most_rows=most_rows
        )

    def forecast(
        self, of: str, candidate: Candidate, work: Work, *, views_agree: bool, account: str = "training"
    ) -> Message:
        """What a trial would take."""
        return self._ask(
            f"forecast of {of}", account, do="forecast", candidate=dataclasses.asdict(candidate),
            work=dataclasses.asdict(work), views_agree=views_agree,
        )  # fmt: skip

    def trial(
        self, what: str, candidate: Candidate, config: TrialConfig, *, number: int, name: str, views_agree: bool,
        seconds: float, fill_time: bool, judged_on_the_way: bool, share: float,
        checkpoint: Path | None, late_checkpoint: Path | None, hearer: Hearer, silence: float,
    ) -> Message:  # fmt: skip
        """Has a trial fitted, as far as `hearer` lets it. checkpoint, late_checkpoint: None where none is kept."""
        return self._ask(
            what,
            "training",
            hearer=hearer,
            silence=silence,
            do="trial",
            number=number,
            name=name,
            candidate=dataclasses.asdict(candidate),
            strategy=config.strategy,
            settings=dict(config.settings),
            views_agree=views_agree,
            seconds=seconds,
            fill_time=fill_time,
            judged_on_the_way=judged_on_the_way,
            share=share,
            checkpoint=checkpoint and str(checkpoint),
            late_checkpoint=late_checkpoint and str(late_checkpoint),
        )

    def refit(
        self, of: str, fitting: Fitting, *, seconds: float, late_checkpoint: Path | None, silence: float
    ) -> Message:
        """Has a model fitted to the rows that judged it, too."""
        return self._ask(
            f"refit of {of}", "refitting", silence=silence, do="refit", fitting=dataclasses.asdict(fitting),
            seconds=seconds, late_checkpoint=late_checkpoint and str(late_checkpoint),
        )  # fmt: skip

    def validate(self, of: str, fitting: Fitting, *, part: int, seconds: float, silence: float) -> Message:
        """What a model answers to a part of the rows when it is fitted to the others."""
        return self._ask(
            f"cross-validation of {of}", "cross-validating", silence=silence, do="validate",
            fitting=dataclasses.asdict(fitting), part=part, seconds=seconds,
        )  # fmt: skip

    def test(self, rows: TestRows) -> Message:
        """How the answer does on rows that nothing else has used."""
        return self._ask("test", "testing", do="test", **rows.for_worker())

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

    def _ask(
        self, what: str, account: str, *, hearer: Hearer | None = None, silence: float = math.inf,
        loading: float | None = None, **request: Any,
    ) -> Message:  # fmt: skip
        """The reply to a request; `what` names it in messages, and its seconds are booked under `account`."""
        try:
            self._worker.tell(**request)
        except WorkerGone:  # since its last answer, which costs nothing
            self._start_again(account)
            self._worker.tell(**request)
        try:
            return self._converse(what, account, hearer, silence, loading)
        except (WorkerGone, WorkerStuck):
            self._start_again(account)
            raise

    def _converse(
        self, what: str, account: str, hearer: Hearer | None, silence: float = math.inf, loading: float | None = None
    ) -> Message:
        asked, once_loaded = time.monotonic(), silence
        if loading is not None and math.isinf(silence):  # however long a look may be, what never loads is given up
            silence = loading
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
                case "loaded":  # what both may take counts from the request
                    silence = max(once_loaded - (time.monotonic() - asked), 0.0)
                    continue
                case "full":
                    self._disk.give_way()
                    self._worker.tell(do="answer")
                    continue
                case "failed" if message["unreadable"]:
                    raise UnreadableError(message["what"].partition(": ")[2])
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
        self._memory = self.memory

    @property
    def memory(self) -> int:
        """Bytes that a worker had resident at most so far."""
        return max(self._memory, self._worker.memory)


def _named(candidate: Candidate) -> str:
    """With whom to turn to when something is wrong with it."""
    return f"{candidate.key} of {plugins().origin(candidate.family)}"
