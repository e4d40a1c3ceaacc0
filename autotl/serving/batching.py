"""What many requests ask is predicted together, by one thread: a row in a batch costs a fraction of a row alone."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

logger = logging.getLogger(__name__)

#: Clients that were answered ask again, and meanwhile the model rests: a share of the last batch's time at most, until
#: as many have come as may come, or for so many seconds nobody. Rows a second of MiniLM on two cores, a row a request,
#: medians of three, where the first of a batch waited 2 ms for others, and with this: 84 and 107 for one client, 281
#: and 307 for 8, 403 and 447 for 50, 483 and 530 for 200, who fall into two groups without it. With a quarter and 4 ms
#: 104, 286, 433 and 510.
PATIENCE, QUIET = 0.5, 0.008

#: Rows of a batch. MiniLM, ms of a core a row: 5.2 in batches of 16, 3.9 of 64, 3.4 of 256, and 3.4 of 1024.
MOST_ROWS = 256


#: What is said of one input.
Answer = TypeVar("Answer")


@dataclass
class _Question(Generic[Answer]):
    """What one request asks. The answer is cancelled where nobody waits for it any more."""

    cells: Sequence[Any]
    answer: asyncio.Future[Sequence[Answer]]
    since: float  #: on the event loop's clock


_Outcome: TypeAlias = Sequence[Answer] | Exception


class Batcher(Generic[Answer]):
    """Gathers questions in the event loop that it is made in, and predicts in a thread of its own until `close`."""

    def __init__(
        self,
        predict: Callable[[Sequence[Any]], Sequence[Answer]],
        *,
        patience: float = PATIENCE,
        quiet: float = QUIET,
        most_rows: int = MOST_ROWS,
    ) -> None:
        """predict: one answer an input, in order; called by one thread only."""
        self._predict, self._patience, self._quiet, self._most_rows = predict, patience, quiet, most_rows
        self._loop = asyncio.get_running_loop()
        self._model = ThreadPoolExecutor(1, "autotl-model")
        self._questions: deque[_Question[Answer]] = deque()
        self._rows = 0  #: that they ask for
        self._expected = 0  #: questions, once all who were answered last have asked again
        self._ended = self._due = 0.0  #: when the last batch did, and until when they are waited for
        self._waiting: asyncio.TimerHandle | None = None
        self._work: asyncio.Task[None] | None = None  #: on a batch
        self._closed = False

    def predict(self, cells: Sequence[Any]) -> asyncio.Future[Sequence[Answer]]:
        """The answers for at least one input. What is cancelled before its turn costs nothing."""
        question = _Question[Answer](cells, self._loop.create_future(), self._loop.time())
        self._questions.append(question)
        self._rows += len(cells)
        if self._work is None and (self._waiting is None or self._complete()):
            self._consider()
        return question.answer

    async def close(self) -> None:
        """Answers what waits, and ends the thread."""
        self._closed = True
        while self._questions or self._work is not None:
            if self._work is None:
                self._consider()
            else:
                await self._work
        self._model.shutdown()

    def _complete(self) -> bool:
        """Whether nobody needs to be waited for."""
        return len(self._questions) >= self._expected or self._rows >= self._most_rows or self._closed

    def _consider(self) -> None:
        """Begins the next batch, or waits for those who were answered last. There are questions, and no batch."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        latest = min(self._due, max(self._questions[-1].since, self._ended) + self._quiet)
        if self._complete() or latest <= self._loop.time():
            self._work = self._loop.create_task(self._answer(self._next()))
        else:
            self._waiting = self._loop.call_at(latest, self._consider)

    def _next(self) -> list[_Question[Answer]]:
        """The questions of the next batch, at least one."""
        batch, room = list[_Question[Answer]](), self._most_rows
        while self._questions and (not batch or len(self._questions[0].cells) <= room):
            batch.append(self._questions.popleft())
            room -= len(batch[-1].cells)
        self._rows -= self._most_rows - room
        return batch

    async def _answer(self, batch: list[_Question[Answer]]) -> None:
        """Tells each question its part."""
        began = self._loop.time()
        batch = [question for question in batch if not question.answer.done()]
        asked = [question.cells for question in batch]
        told = await self._loop.run_in_executor(self._model, self._outcomes, asked) if batch else []
        for question, outcome in zip(batch, told, strict=True):
            if question.answer.done():
                continue
            if isinstance(outcome, Exception):
                question.answer.set_exception(outcome)
            else:
                question.answer.set_result(outcome)
        self._ended = self._loop.time()
        self._due = self._ended + self._patience * (self._ended - began)
        self._expected = len(self._questions) + len(batch)
        self._work = None
        if self._questions:
            self._consider()

    def _outcomes(self, asked: Sequence[Sequence[Any]]) -> list[_Outcome[Answer]]:
        """Of each question; where the batch fails, each is tried alone, so that one costs no other."""
        try:
            together = self._predict([cell for cells in asked for cell in cells])
            ends = itertools.accumulate(map(len, asked))
            return [together[end - len(cells) : end] for cells, end in zip(asked, ends, strict=True)]
        except Exception as error:
            if len(asked) > 1:
                return [outcome for cells in asked for outcome in self._outcomes([cells])]
            logger.exception("a prediction failed")
            return [error]
