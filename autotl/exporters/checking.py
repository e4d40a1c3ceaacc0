"""Whether an export answers as its bundle does, and what each costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.data.inspection import read_inputs
from autotl.data.tables import Table
from autotl.data.task import Task, encode_targets
from autotl.predictor import metrics
from autotl.usage import folder_bytes

if TYPE_CHECKING:
    from autotl.predictor.predictor import Predictor

#: Rows that are timed alone: the median of nine forgets the first ones, which are slow.
TIMED = 9


@dataclass(frozen=True)
class Comparison:
    """An export beside its bundle, on rows that both answered."""

    rows: int
    difference: float  #: the largest between two numbers of an answer; infinite where only one could read a row
    agreement: float  #: share of rows on which both decide the same
    metric: str
    score: float | None  #: by the metric; None where the rows have no labels
    bundle_score: float | None
    seconds: float  #: from one row to its answer, alone: the median
    bundle_seconds: float
    size: int  #: bytes on disk
    bundle_size: int


def compare(
    model: Predictor,
    answer: Callable[[Sequence[Any]], np.ndarray],
    folder: Path,
    table: Table,
    expected: np.ndarray,
    bundle_score: float | None,
) -> Comparison:
    """An export's `answer`, whose files are in `folder`, beside `model` on the rows of `table`.

    expected ``[rows, outputs] float32``: what `model` answers to them, NaN where it cannot read one, whose `score_of`
    is `bundle_score`.
    """
    cells = read_inputs(table, model.task)
    found = answer(cells)
    readable = np.flatnonzero(~np.isnan(expected[:, 0]))
    difference = _difference(expected, found)
    # one after the other, not in turns: threads of either wait at full speed for more, on the cores of the other
    alone = readable[np.arange(TIMED) % len(readable)].tolist()
    seconds, answers = _timed(answer, [cells[row] for row in alone])
    bundle_seconds, _ = _timed(lambda asked: model.answers(asked).answers, [cells[row] for row in alone])
    for row, told in zip(alone, answers, strict=True):
        difference = max(difference, _difference(expected[[row]], told))
    return Comparison(
        rows=len(readable),
        difference=difference,
        agreement=_agreement(model, expected[readable], found[readable]),
        metric=model.task.metric,
        score=score_of(model.task, table, found),
        bundle_score=bundle_score,
        seconds=seconds,
        bundle_seconds=bundle_seconds,
        size=folder_bytes(folder),
        bundle_size=folder_bytes(model.folder),
    )


def _timed(answer: Callable[[Sequence[Any]], np.ndarray], cells: Sequence[Any]) -> tuple[float, list[np.ndarray]]:
    """The median of the seconds from one cell to its answer, and the answers ``[1, outputs]``."""
    seconds, answers = [], []
    for cell in cells:
        began = time.perf_counter()
        answers.append(answer([cell]))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), answers


def _difference(expected: np.ndarray, found: np.ndarray) -> float:
    unreadable = np.isnan(expected)
    if expected.shape != found.shape or not np.array_equal(unreadable, np.isnan(found)):
        return float("inf")
    return float(np.abs(expected - found)[~unreadable].max(initial=0.0))


def _agreement(model: Predictor, expected: np.ndarray, found: np.ndarray) -> float:
    """The share of rows on which both decide the same; numbers as they are learned may differ in the third place."""
    task, kept = model.task, model.card.calibration
    ours, theirs = (task.rules.decisions(task, answers, kept).astype(np.float64) for answers in (expected, found))
    off = np.abs(ours - theirs).reshape(len(expected), -1)
    return float((off < 1e-3).all(1).mean())


def score_of(task: Task, table: Table, answers: np.ndarray) -> float | None:
    """Of rows that the task learns; None without labels, or with one class only where the metric compares two.

    Raises `DataError` where the table has a label that is no class.
    """
    if not set(task.targets) <= set(table.columns):
        return None
    targets, known = encode_targets(table, task)
    judged = known & ~np.isnan(answers[:, 0]) & ~(task.rules.exclusive & task.rules.unlearned(task, targets))
    targets = task.rules.learned(task, targets[judged])
    if not judged.any() or not task.rules.can_score(task, task.metric, targets):
        return None
    return metrics.score(task, targets, answers[judged])
