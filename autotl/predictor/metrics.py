"""Scores of answers, how sure they are, and what difference between two is more than luck. Larger is better everywhere.

What a score is, the task's kind says; it is written out in numpy there, as the library that has such scores takes a
second and a half to import, twice in every search.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from autotl.data.groups import members_of
from autotl.data.task import Task

#: Bootstrap rounds: the standard error is known to 5 % then.
ROUNDS = 200

#: Rows or groups of a class by itself below which resamples say too little of it: of three they have two thirds of the
#: variance that there is, of five four fifths, of one none.
FEWEST_OF_A_STRATUM = 5

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


def _resamples(task: Task, targets: np.ndarray, groups: np.ndarray | None) -> Iterator[np.ndarray]:
    """`ROUNDS` times ``[drawn] int64``: rows, or whole groups, drawn within strata. Always the same.

    So no round lacks a class, but for classes of fewer than `FEWEST_OF_A_STRATUM`, which are drawn together: what has
    one row is the same in each round by itself, and an accuracy over 100 such rows was said to be certain.
    """
    generator = np.random.default_rng(0)
    strata = task.rules.strata(targets)
    if groups is not None:
        members = members_of(groups)
        strata = strata[[rows[0] for rows in members]]
    if task.metric in task.rules.metrics:  # others' may refuse rounds that lack a class
        _, inverse, counts = np.unique(strata, return_inverse=True, return_counts=True)
        strata = np.where(counts[inverse] < FEWEST_OF_A_STRATUM, -1, strata)
    rounds = np.empty((ROUNDS, len(strata)), np.int64)
    for stratum in np.unique(strata):
        places = np.flatnonzero(strata == stratum)
        rounds[:, places] = generator.choice(places, (ROUNDS, len(places)))
    if groups is None:
        yield from rounds
    else:
        yield from (np.concatenate([members[place] for place in drawn]) for drawn in rounds)


def _rounds(
    task: Task, targets: np.ndarray, asked: np.ndarray, groups: np.ndarray | None, *, doubt: bool = False
) -> np.ndarray:
    """``[ROUNDS] float64``: the score of each resample; NaN where one has none.

    asked: what the metric asks. doubt: as `_doubted` does.
    """
    drawn = _resamples(task, targets, groups)
    resamples = _doubted(task, targets, asked, groups, drawn) if doubt else ((targets[r], asked[r]) for r in drawn)
    return np.array([_score_if_any(task, truth, said) for truth, said in resamples])


def _score_if_any(task: Task, targets: np.ndarray, asked: np.ndarray) -> float:
    """NaN where there is no score, as of rows without one of the classes; scikit-learn's scorers raise there."""
    try:
        return task.rules.score(task, targets, asked, metric=task.metric)
    except (ZeroDivisionError, FloatingPointError, ValueError):
        return float("nan")


def _doubted(
    task: Task, targets: np.ndarray, decided: np.ndarray, groups: np.ndarray | None, resamples: Iterable[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Resamples of true and decided classes, drawn as if each class had `DOUBT` rows more, half of them wrong.

    Or as many groups. Which class a wrong one is taken for is a matter of luck.
    """
    generator, classes = np.random.default_rng(1), len(task.classes)
    apart = np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1]
    pairs = np.unique(np.stack([targets, apart]), axis=1)[0]  # each group once in every class that it has
    share = DOUBT / (np.bincount(pairs, minlength=classes) + DOUBT)
    for rows in resamples:
        truth, said = targets[rows], decided[rows].copy()
        luck = generator.random((2, len(rows) if groups is None else len(apart)))
        luck = luck if groups is None else luck[:, apart[rows]]
        imagined, wrong = luck < [share[truth], np.full(len(rows), 0.5)]
        others = (truth + generator.integers(1, classes, len(rows))) % classes
        said[imagined] = np.where(wrong, others, truth)[imagined]
        yield truth, said


def standard_error(task: Task, targets: np.ndarray, answers: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Bootstrap standard error of a score.

    groups ``[rows] int64``, here and below: rows of one group are alike (copies, pictures of one patient), so that they
    are drawn together; None where each is by itself.
    """
    return _deviation(_rounds(task, targets, _asked(task, task.metric, targets, answers), groups))


def advantage(
    task: Task, targets: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray | None = None
) -> tuple[float, float]:
    """Score of `ours` minus that of `theirs`, and the paired bootstrap standard error of that difference."""
    difference = score(task, targets, ours) - score(task, targets, theirs)
    one, other = (_rounds(task, targets, _asked(task, task.metric, targets, said), groups) for said in (ours, theirs))
    return difference, _deviation(one - other)


def _deviation(rounds: np.ndarray) -> float:
    found = rounds[np.isfinite(rounds)]
    return float(found.std()) if len(found) else 0.0


def error_of_mean(values: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """``[…] float64``: standard error of the mean of values ``[…, rows]``."""
    off = values - values.mean(-1, keepdims=True)
    if groups is not None:
        off = np.stack([off[..., rows].sum(-1) for rows in members_of(groups)], -1)
    error: np.ndarray = np.sqrt((off**2).sum(-1)) / values.shape[-1]
    return error


def interval(
    task: Task,
    targets: np.ndarray,
    answers: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    decided: np.ndarray | None = None,
) -> tuple[float, float]:
    """95 % interval of a score: Wilson's for accuracy, the bootstrap's for others. decided: as in `score`.

    Where classes are decided, it doubts what few rows say of a class: resamples of five rows without an error have none
    either.
    """
    asked = _asked(task, task.metric, targets, answers, decided)
    if task.metric == "accuracy":
        right = (asked == targets).astype(np.float64)
        rows = _rows_worth(right, groups)
        return wilson(right.mean() * rows, rows)
    rounds = [_rounds(task, targets, asked, groups)]
    if task.rules.exclusive and task.rules.known_metric(task.metric).of_decisions:
        rounds.append(_rounds(task, targets, asked, groups, doubt=True))
    ends = np.nanquantile(rounds, [0.025, 0.975], axis=1)
    # a score that a few rows decide may be beyond nearly all resamples
    here = task.rules.score(task, targets, asked, metric=task.metric)
    return float(min(ends[0].min(), here)), float(max(ends[1].max(), here))


def _rows_worth(right: np.ndarray, groups: np.ndarray | None) -> float:
    """How many rows by themselves would tell a share as surely as these do (Dean and Pagano 2015).

    By the variance of the share over groups. Where nothing or all is right, or there is one group, that says nothing,
    and rows of a group are taken to be all alike.
    """
    rows, share = float(len(right)), float(right.mean())
    if groups is None:
        return rows
    sizes = np.array([len(members) for members in members_of(groups)])
    fewest = rows**2 / float((sizes**2).sum())
    if len(sizes) == 1 or share in (0.0, 1.0):
        return fewest
    variance = float(error_of_mean(right, groups)) ** 2 * len(sizes) / (len(sizes) - 1)
    return float(np.clip(share * (1 - share) / max(variance, 1e-12), fewest, rows))


def wilson(hits: float, count: float) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z = 1.96
    centre = (hits + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * (hits * (count - hits) / count + z * z / 4) ** 0.5
    return centre - half, centre + half
