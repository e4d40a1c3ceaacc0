"""What many requests ask is predicted together, by one thread: a row in a batch costs a fraction of a row alone."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from autotl.predictor.predictor import Predictions

logger = logging.getLogger(__name__)

#: Clients that were answered ask again, and meanwhile the model rests: a share of the last batch's time at most, until
#: as many have come as may come, or for so many seconds nobody. Rows a second of MiniLM on two cores, a row a request,
#: medians of three, where the first of a batch waited 2 ms for others, and with this: 84 and 107 for one client, 281
#: and 307 for 8, 403 and 447 for 50, 483 and 530 for 200, who fall into two groups without it. With a quarter and 4 ms
#: 104, 286, 433 and 510.
PATIENCE, QUIET = 0.5, 0.008

#: Rows of a batch. MiniLM, ms of a core a row: 5.2 in batches of 16, 3.9 of 64, 3.4 of 256, and 3.4 of 1024.
MOST_ROWS = 256


@dataclass
class _Question:
    """What one request asks."""

    cells: Sequence[Any]
    answer: Future[Predictions] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """Predicts in a thread of its own, from its making to `close`."""

    def __init__(
        self,
        predict: Callable[[Sequence[Any]], Predictions],
        *,
        patience: float = PATIENCE,
        quiet: float = QUIET,
        most_rows: int = MOST_ROWS,
    ) -> None:
        """predict: called by one thread only."""
        self._predict, self._patience, self._quiet, self._most_rows = predict, patience, quiet, most_rows
        self._questions: deque[_Question] = deque()
        self._expected = 0  #: questions, once all who were answered last have asked again
        self._ended = self._due = 0.0  #: when the last batch did, and until when they are waited for
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="autotl-model", daemon=True)
        self._thread.start()

    def submit(self, cells: Sequence[Any]) -> Future[Predictions]:
        """The answer to come, for at least one input; one that is cancelled before its turn costs nothing."""
        question = _Question(cells)
        with self._changed:
            self._questions.append(question)
            self._changed.notify()
        return question.answer

    def close(self) -> None:
        """Answers what waits, and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            began = time.monotonic()
            self._answer([question for question in batch if question.answer.set_running_or_notify_cancel()])
            self._ended = time.monotonic()
            self._due = self._ended + self._patience * (self._ended - began)
            self._expected = len(self._questions) + len(batch)

    def _next(self) -> list[_Question]:
        """The questions of the next batch, at least one; none when it is closed and all are answered."""
        with self._changed:
            self._changed.wait_for(lambda: self._questions or self._closed)
            if not self._questions:
                return []
            self._gather()
            batch = [self._questions.popleft()]
            room = self._most_rows - len(batch[0].cells)
            while self._questions and len(self._questions[0].cells) <= room:
                batch.append(self._questions.popleft())
                room -= len(batch[-1].cells)
            return batch

    def _gather(self) -> None:
        """Waits for those who were answered last."""
        while len(self._questions) < self._expected and self._rows() < self._most_rows and not self._closed:
            latest = min(self._due, max(self._questions[-1].since, self._ended) + self._quiet)
            if (left := latest - time.monotonic()) <= 0:
                return
            self._changed.wait(left)

    def _rows(self) -> int:
        return sum(len(question.cells) for question in self._questions)

    def _answer(self, batch: Sequence[_Question]) -> None:
        """Tells each question its part; where the batch fails, each is tried alone, so that one costs no other."""
        try:
            together = self._predict([cell for question in batch for cell in question.cells])
        except Exception as error:
            if len(batch) > 1:
                for question in batch:
                    self._answer([question])
            elif batch:
                logger.exception("a prediction failed")
                batch[0].answer.set_exception(error)
            return
        start = 0
        for question in batch:
            stop = start + len(question.cells)
            unreadable = {row - start: why for row, why in together.unreadable.items() if start <= row < stop}
            question.answer.set_result(Predictions(together.answers[start:stop], unreadable))
            start = stop
