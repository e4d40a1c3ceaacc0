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

#: Rows that each class is imagined to have besides, half of them right and half of them wrong: Jeffreys' prior. Of 150
#: drawn tables each, 95 % intervals of balanced accuracy held the true value with it and without: 250 rows and 5, 0.99
#: and 0.45; 435 and 65, 0.95 and 0.90; five classes of 8, 0.99 and 0.89; six of 50, 0.97 and 0.93; two of 200, 0.95 and
#: 0.94. Two rows were wider by a tenth and held no more, and four by a third.
DOUBT = 1.0


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


def _rounds(task: Task, targets: np.ndarray, asked: np.ndarray, *, doubt: bool = False) -> np.ndarray:
    """``[ROUNDS] float64``: the score of each resample. asked: what the metric asks. doubt: as `_doubted` does."""
    resamples = _doubted(task, targets, asked) if doubt else ((targets[r], asked[r]) for r in _resamples(task, targets))
    return np.array([task.rules.score(task, truth, said, metric=task.metric) for truth, said in resamples])


def _doubted(task: Task, targets: np.ndarray, decided: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Resamples of true and decided classes, drawn as if each class had `DOUBT` rows more, half of them wrong.

    Which class a wrong one is taken for is a matter of luck.
    """
    generator, classes = np.random.default_rng(1), len(task.classes)
    share = DOUBT / (np.bincount(targets, minlength=classes) + DOUBT)
    for rows in _resamples(task, targets):
        truth, said = targets[rows], decided[rows].copy()
        imagined, wrong = generator.random((2, len(rows))) < [share[truth], np.full(len(rows), 0.5)]
        others = (truth + generator.integers(1, classes, len(rows))) % classes
        said[imagined] = np.where(wrong, others, truth)[imagined]
        yield truth, said


def standard_error(task: Task, targets: np.ndarray, answers: np.ndarray) -> float:
    """Bootstrap standard error of a score."""
    return float(_rounds(task, targets, _asked(task, task.metric, targets, answers)).std())


def advantage(task: Task, targets: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Score of `ours` minus that of `theirs`, and the paired bootstrap standard error of that difference."""
    difference = score(task, targets, ours) - score(task, targets, theirs)
    one, other = (_rounds(task, targets, _asked(task, task.metric, targets, answers)) for answers in (ours, theirs))
    return difference, float((one - other).std())


def interval(
    task: Task, targets: np.ndarray, answers: np.ndarray, *, decided: np.ndarray | None = None
) -> tuple[float, float]:
    """95 % interval of a score: Wilson's for accuracy, the bootstrap's for others. decided: as in `score`.

    Where classes are decided, it doubts what few rows say of a class: resamples of five rows without an error have none
    either.
    """
    asked = _asked(task, task.metric, targets, answers, decided)
    if task.metric == "accuracy":
        return wilson(int((asked == targets).sum()), len(targets))
    rounds = [_rounds(task, targets, asked)]
    if task.rules.exclusive and task.rules.known_metric(task.metric).of_decisions:
        rounds.append(_rounds(task, targets, asked, doubt=True))
    ends = np.quantile(rounds, [0.025, 0.975], axis=1)
    # a score that a few rows decide may be beyond nearly all resamples
    here = task.rules.score(task, targets, asked, metric=task.metric)
    return float(min(ends[0].min(), here)), float(max(ends[1].max(), here))


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z = 1.96
    centre = (hits + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * (hits * (count - hits) / count + z * z / 4) ** 0.5
    return centre - half, centre + half
