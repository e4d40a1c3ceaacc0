"""Scores of answers, how sure they are, and what difference between two is more than luck. Larger is better everywhere.

What a score is, the task's kind says; it is written out in numpy there, as the library that has such scores takes a
second and a half to import, twice in every search.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autotl.data.task import Task

#: Bootstrap rounds: the standard error is known to 5 % then.
ROUNDS = 200


def score(
    task: Task,
    targets: np.ndarray,
    answers: np.ndarray,
    *,
    metric: str | None = None,
    decided: np.ndarray | None = None,
) -> float:
    """By the task's metric, or another one that its kind has.

    targets ``[rows] int64`` or ``[rows, outputs] float32``, as the kind has them; answers ``[rows, outputs] float32``.
    decided: by thresholds that are settled; by default each row's are those of other rows.
    """
    name = metric or task.metric
    return task.rules.score(task, targets, _asked(task, name, targets, answers, decided), metric=name)


def _asked(
    task: Task, metric: str, targets: np.ndarray, answers: np.ndarray, decided: np.ndarray | None = None
) -> np.ndarray:
    """What a metric asks: the answers, or what is decided by them."""
    if not task.rules.known_metric(metric).of_decisions:
        return answers
    return task.rules.decide(task, targets, answers) if decided is None else decided


def _resamples(task: Task, targets: np.ndarray) -> Iterator[np.ndarray]:
    """`ROUNDS` times ``[rows] int64``, drawn within strata, so that no round lacks a class. Always the same."""
    generator = np.random.default_rng(0)
    strata = task.rules.strata(targets)
    rounds = np.empty((ROUNDS, len(strata)), np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        rounds[:, members] = generator.choice(members, (ROUNDS, len(members)))
    yield from rounds


def _rounds(task: Task, targets: np.ndarray, answers: np.ndarray, decided: np.ndarray | None = None) -> np.ndarray:
    """``[ROUNDS] float64``: the score of each resample."""
    asked = _asked(task, task.metric, targets, answers, decided)
    scores = [task.rules.score(task, targets[r], asked[r], metric=task.metric) for r in _resamples(task, targets)]
    return np.array(scores)


def standard_error(task: Task, targets: np.ndarray, answers: np.ndarray) -> float:
    """Bootstrap standard error of a score."""
    return float(_rounds(task, targets, answers).std())


def advantage(task: Task, targets: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Score of `ours` minus that of `theirs`, and the paired bootstrap standard error of that difference."""
    difference = score(task, targets, ours) - score(task, targets, theirs)
    return difference, float((_rounds(task, targets, ours) - _rounds(task, targets, theirs)).std())


def interval(
    task: Task, targets: np.ndarray, answers: np.ndarray, *, decided: np.ndarray | None = None
) -> tuple[float, float]:
    """95 % interval of a score: Wilson's for accuracy, the bootstrap's for others. decided: as in `score`."""
    if task.metric == "accuracy":
        taken = _asked(task, task.metric, targets, answers, decided)
        return wilson(int((taken == targets).sum()), len(targets))
    low, high = np.quantile(_rounds(task, targets, answers, decided), [0.025, 0.975])
    return float(low), float(high)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z = 1.96
    centre = (hits + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * (hits * (count - hits) / count + z * z / 4) ** 0.5
    return centre - half, centre + half
