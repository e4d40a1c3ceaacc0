"""What was it worth, transfer or what a strategy adds: whether it is measured, and what the measurement says."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from autotl.kinds.kind import in_halves
from autotl.search.incumbent import Judged
from autotl.search.scheduler import ALL_RUNGS, ONE_RUNG
from autotl.search.shelf import Model
from autotl.search.space import Space
from autotl.zoo.words import BAG_OF_WORDS

#: A head on pretrained features that wins less than this share of what the largest class leaves open says so little
#: that the features may be the wrong ones. Pretrained networks on the tasks that they suit win more than half.
WEAK = 0.2


def is_doubtful(score: float, guess: float, full_trials: float | None) -> bool:
    """Whether a control without pretrained weights is run.

    score: of a head on the best backbone's features; guess: of what knows nothing. Where there is time for so many full
    trials that one more costs a twentieth, it is run in any case; where there is time for few, it would take the place
    of what a hard table needs most. None where trials are counted.
    """
    weak = bool(score - guess < WEAK * (1 - guess))
    return weak if full_trials is None else full_trials >= (ONE_RUNG if weak else ALL_RUNGS)


#: Of fewer rows, or groups, in halves all may be right, and a lead of one have no error: nothing is said by them.
FEWEST_COMPARED = 20

#: What metrics raise where rows have no score.
_WITHOUT_A_SCORE = (ZeroDivisionError, FloatingPointError, ValueError)

#: By how much the first leads the second, and the standard error of that (`Incumbent.lead`).
Lead: TypeAlias = Callable[[Judged, Judged], tuple[float, float]]


@dataclass(frozen=True)
class Verdict:
    """By how much the best model with pretrained weights beats the best without them, with its 95 % interval."""

    difference: float
    low: float
    high: float
    pretrained: int  #: trial; negative for a head
    control: int


def verdict(
    models: list[Model], space: Space, lead: Lead, score: Callable[[Judged], float], groups: np.ndarray | None = None
) -> Verdict | None:
    """Compares finished models on the validation rows that all answered; None where there was no control, or too few.

    A model whose backbone or strategy is gone since an earlier process takes no part. On either side the best of each
    half of the rows answers for it on the other half, as the luckiest of twenty would win against any control. groups
    ``[table rows] int64``: rows of one are alike, and in the same half.
    """
    sides: dict[bool, list[Judged]] = {}
    for model in models:
        member, finished = model.member, model.finished and not model.is_view
        head = model.judged.is_head
        if member.backbone == BAG_OF_WORDS.key or not (head or space.knows(model.config)):  # the first is no network
            continue
        starts_pretrained = head or space.begins_pretrained(model.config)
        if finished:
            sides.setdefault(starts_pretrained, []).append(model.judged)
    if len(sides) < 2:
        return None
    rows = functools.reduce(np.intersect1d, [judged.valid for side in sides.values() for judged in side])
    _, apart = np.unique(rows if groups is None else groups[rows], return_inverse=True)
    if len(rows) == 0 or (count := int(apart.max()) + 1) < FEWEST_COMPARED:
        return None
    halves = [[np.flatnonzero(np.isin(apart, half)) for half in both] for both in in_halves(count)]
    try:
        found = [_on_a_half(sides, rows, half, others, lead, score) for half, others in halves]
    except _WITHOUT_A_SCORE:  # a half without one of the classes
        return None
    leads, errors = zip(*found, strict=True)
    if not math.isfinite(sum(leads)):
        return None
    ours, theirs = (max(sides[start], key=lambda judged: judged.score) for start in (True, False))
    error = math.hypot(*errors) / 2
    return Verdict(*_interval(sum(leads) / 2, error), ours.trial, theirs.trial)


def _on_a_half(
    sides: Mapping[bool, list[Judged]], rows: np.ndarray, half: np.ndarray, others: np.ndarray, lead: Lead,
    score: Callable[[Judged], float],
) -> tuple[float, float]:  # fmt: skip
    """The lead on a half of `rows` of the pretrained model that is best on the other half, and its standard error."""
    here, there = np.sort(rows[half]), np.sort(rows[others])
    ours, theirs = (max(sides[start], key=lambda judged: _score_of(judged.on(there), score)) for start in (True, False))
    return lead(ours.on(here), theirs.on(here))


def _score_of(judged: Judged, score: Callable[[Judged], float]) -> float:
    """The least where there is none."""
    try:
        return score(judged)
    except _WITHOUT_A_SCORE:
        return -math.inf


@dataclass(frozen=True)
class Comparison:
    """By how much a trial beats its twin, which differs in nothing but what its strategy adds; 95 % interval."""

    strategy: str
    twin: str
    backbone: str
    difference: float
    low: float
    high: float
    trial: int
    other: int  #: the twin's trial


def comparisons(models: list[Model], space: Space, lead: Lead) -> list[Comparison]:
    """One for each strategy that names a twin: its first finished trial that has one.

    The first, not the best: the better of several would have luck on its side.
    """
    trained = [model for model in models if model.finished and not model.is_view]
    trained = [model for model in trained if not model.judged.is_head and space.still_fits(model.config)]
    trained.sort(key=lambda model: model.judged.trial)
    found: dict[str, Comparison] = {}
    for model in trained:
        ours = model.member
        twin = space.work(model.config).twin
        for other in trained:
            theirs = other.member
            alike = theirs.backbone == ours.backbone and theirs.settings.items() <= ours.settings.items()
            if theirs.strategy == twin and alike and ours.strategy not in found:
                measured = _interval(*lead(model.judged, other.judged))
                trials = model.judged.trial, other.judged.trial
                found[ours.strategy] = Comparison(ours.strategy, twin, ours.backbone, *measured, *trials)
    return list(found.values())


def _interval(lead: float, error: float) -> tuple[float, float, float]:
    """It, and the ends of its 95 % interval."""
    return lead, lead - 1.96 * error, lead + 1.96 * error
