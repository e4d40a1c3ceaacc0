"""Scores of answers, how sure they are, and what difference between two is more than luck. Larger is better everywhere.

What a score is, the task's kind says; it is written out in numpy there, as the library that has such scores takes a
second and a half to import, twice in every search.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from autotl.data.groups import members_of, several
from autotl.data.task import Task

#: Scores of no more than 1, for which every resample of rows without an error has none. Not losses: one that is doubted
#: would be all of it.
_OF_RANKS = ("roc_auc", "mean_average_precision", "macro_f1", "micro_f1", "exact_match")

#: Bootstrap rounds: the standard error is known to 5 % then.
ROUNDS = 200

#: Answers of many labels or classes are ranked anew in each: of more numbers there are fewer rounds, so many at least,
#: by which the standard error is known to a tenth. 2000 rows of 100 labels would take 6 s each time.
MOST_NUMBERS, FEWEST_ROUNDS = 10_000_000, 50

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


def _resamples(task: Task, targets: np.ndarray, groups: np.ndarray | None, count: int) -> Iterator[np.ndarray]:
    """`count` times ``[drawn] int64``: rows, or whole groups, drawn within strata. Always the same.

    So no round lacks a class, but for classes of fewer than `FEWEST_OF_A_STRATUM`, which are drawn together: what has
    one row is the same in each round by itself, and an accuracy over 100 such rows was said to be certain. Where these
    are fewer themselves, the smallest class beside them is drawn with them. Rows of numbers are all drawn together, as
    errors that grow with the number differ from bin to bin.
    """
    groups = several(groups)
    generator = np.random.default_rng(0)
    strata = np.zeros(len(targets), np.int64) if task.rules.squared else task.rules.strata(targets)
    if groups is not None:
        members = members_of(groups)
        strata = strata[[rows[0] for rows in members]]
    if task.metric in task.rules.metrics:  # others' may refuse rounds that lack a class
        strata = _with_enough_each(strata)
    rounds = np.empty((count, len(strata)), np.int64)
    for stratum in np.unique(strata):
        places = np.flatnonzero(strata == stratum)
        rounds[:, places] = generator.choice(places, (count, len(places)))
    if groups is None:
        yield from rounds
    else:
        yield from (np.concatenate([members[place] for place in drawn]) for drawn in rounds)


def _with_enough_each(strata: np.ndarray) -> np.ndarray:
    """``[n] int64``: those of fewer than `FEWEST_OF_A_STRATUM` as one, with the next ones until it has so many."""
    _, inverse, counts = np.unique(strata, return_inverse=True, return_counts=True)
    before = np.concatenate([[0], np.sort(counts).cumsum()[:-1]])
    together = np.empty(len(counts), bool)
    together[np.argsort(counts, kind="stable")] = (np.sort(counts) < FEWEST_OF_A_STRATUM) | (
        (before > 0) & (before < FEWEST_OF_A_STRATUM)
    )
    joined: np.ndarray = np.where(together[inverse], -1, inverse)
    return joined


def _rounds(
    task: Task,
    targets: np.ndarray,
    asked: np.ndarray,
    groups: np.ndarray | None,
    *,
    doubt: Callable[..., Iterator[tuple[np.ndarray, np.ndarray]]] | None = None,
) -> np.ndarray:
    """``[rounds] float64``: the score of each resample; NaN where one has none.

    asked: what the metric asks. doubt: changes what is drawn, as `_doubted` and `_mistrusted` do.
    """
    count = ROUNDS if asked.size * ROUNDS <= MOST_NUMBERS else max(MOST_NUMBERS // asked.size, FEWEST_ROUNDS)
    drawn = _resamples(task, targets, groups, count)
    resamples = doubt(task, targets, asked, groups, drawn) if doubt else ((targets[r], asked[r]) for r in drawn)
    return np.array([_of_what_is_asked(task, truth, said) for truth, said in resamples])


def score_if_any(task: Task, targets: np.ndarray, answers: np.ndarray) -> float:
    """NaN where there is no score, as of rows without one of the classes; others' metrics raise there."""
    return _of_what_is_asked(task, targets, _asked(task, task.metric, targets, answers))


def _of_what_is_asked(task: Task, targets: np.ndarray, asked: np.ndarray) -> float:
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
    share = DOUBT / (np.bincount(_each_once(targets, apart), minlength=classes) + DOUBT)
    for rows in resamples:
        truth, said = targets[rows], decided[rows].copy()
        luck = generator.random((2, len(rows) if groups is None else len(apart)))
        luck = luck if groups is None else luck[:, apart[rows]]
        imagined, wrong = luck < [share[truth], np.full(len(rows), 0.5)]
        others = (truth + generator.integers(1, classes, len(rows))) % classes
        said[imagined] = np.where(wrong, others, truth)[imagined]
        yield truth, said


def _each_once(classes: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """The class of each group, once for every class that it has; both ``[rows] int64``."""
    pairs: np.ndarray = np.unique(np.stack([classes, apart]), axis=1)[0]
    return pairs


def _mistrusted(
    mistaken: np.ndarray,
    task: Task,
    targets: np.ndarray,
    asked: np.ndarray,
    groups: np.ndarray | None,
    resamples: Iterable[np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Resamples of targets and answers, in which as many rows of each stratum have `mistaken` targets as in `_doubted`.

    Of several labels one on average. For what ranks rows, or decides each label, where no answer could be put in the
    place of another.
    """
    generator = np.random.default_rng(1)
    apart = np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1]
    stratum = np.unique(task.rules.strata(targets), return_inverse=True)[1]
    share = 0.5 * DOUBT / (np.bincount(_each_once(stratum, apart)) + DOUBT)
    for rows in resamples:
        luck = generator.random(int(apart.max()) + 1)[apart] if groups is not None else generator.random(len(apart))
        truth, wrong = targets[rows], (luck < share[stratum])[rows]
        if truth.ndim > 1:
            wrong = wrong[:, None] & (generator.random(truth.shape) < 1 / truth.shape[1])
        truth[wrong] = mistaken[rows][wrong]
        yield truth, asked[rows]


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
    if (groups := several(groups)) is not None:
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

    It doubts what few rows say of a class or a label: resamples of five rows without an error have none either.
    """
    asked = _asked(task, task.metric, targets, answers, decided)
    if task.metric == "accuracy":
        right = (asked == targets).astype(np.float64)
        rows = _rows_worth(right, groups)
        return wilson(right.mean() * rows, rows)
    rounds = [_rounds(task, targets, asked, groups)]
    if task.rules.exclusive and task.rules.known_metric(task.metric).of_decisions:
        rounds.append(_rounds(task, targets, asked, groups, doubt=_doubted))
    elif task.metric in _OF_RANKS and task.metric in task.rules.metrics:
        mistaken = task.rules.mistaken(targets, answers)
        rounds.append(_rounds(task, targets, asked, groups, doubt=functools.partial(_mistrusted, mistaken)))
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
