"""The floor: what can be had without any network. A model that does not beat it is not worth its passes."""

from __future__ import annotations

import numpy as np

from autotl.data.task import Task
from autotl.errors import TrialError
from autotl.events import EventLog
from autotl.plugins.contracts import TEXTUAL
from autotl.predictor import metrics
from autotl.search.dialogue import Dialogue
from autotl.search.pace import Pace

#: Seconds of a bag of words for each training row: 0.14 to 1.15 ms on four tables of short texts, two cores.
SECONDS_A_ROW = 1e-3

#: The share of what is left that a floor may cost.
SHARE = 0.01

#: Fewer rows would make a floor that is none.
FEWEST_ROWS = 500


class Floor:
    """Says what one answer for all gets, and what a bag of words gets where the inputs are texts."""

    def __init__(self, task: Task, targets: np.ndarray, dialogue: Dialogue, pace: Pace, events: EventLog) -> None:
        """targets ``[kept, …]``."""
        self._task, self._targets = task, targets
        self._dialogue, self._pace, self._events = dialogue, pace, events

    def measure(self, train: np.ndarray, valid: np.ndarray) -> None:
        """train, valid ``[rows] int64``: positions in `targets`. Raises `OutOfTime`."""
        same = self._task.rules.constant(self._targets[train], len(self._task.outputs))
        constant = np.tile(same, (len(valid), 1))
        majority, words = metrics.score(self._task, self._targets[valid], constant), None
        if self._task.modality in TEXTUAL and (rows := self._affordable_rows(len(train))):
            try:
                words = self._dialogue.ask("bag of words", "floor", do="floor", most_rows=rows)["score"]
            except TrialError as error:
                self._events.emit("note", text=f"no floor by a bag of words ({error})")
        self._events.emit("floor", majority=majority, words=words)

    def _affordable_rows(self, rows: int) -> int:
        """How many training rows a bag of words can be learned from in its time; 0 for too few."""
        if self._pace.limited:
            affordable = int(SHARE * self._pace.seconds_to_the_end() / SECONDS_A_ROW)
            return min(rows, affordable) if affordable >= min(FEWEST_ROWS, rows) else 0
        return rows
