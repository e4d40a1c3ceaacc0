"""What was it worth, transfer or what a strategy adds: whether it is measured, and what the measurement says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from autotl.search.incumbent import Judged
from autotl.search.scheduler import ALL_RUNGS
from autotl.search.shelf import Model
from autotl.search.space import Space
from autotl.zoo.words import BAG_OF_WORDS

#: A head on pretrained features that wins less than this share of what the largest class leaves open says so little
#: that the features may be the wrong ones. Pretrained networks on the tasks that they suit win more than half.
WEAK = 0.2


def is_doubtful(score: float, guess: float, full_trials: float) -> bool:
    """Whether a control without pretrained weights is run.

    score: of a head on the best backbone's features; guess: of one answer for all. Where there is time for so many full
    trials that one more costs a twentieth, it is run in any case.
    """
    return bool(score - guess < WEAK * (1 - guess) or full_trials >= ALL_RUNGS)


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


def verdict(models: list[Model], space: Space, lead: Lead) -> Verdict | None:
    """Compares finished models on the validation rows that both answered; None where there was no control.

    A model whose backbone or strategy is gone since an earlier process takes no part.
    """
    best: dict[bool, Model] = {}
    for model in models:
        member, finished = model.member, model.finished and model.name == model.trial_folder
        head = model.judged.trial < 0
        if member.backbone == BAG_OF_WORDS.key or not (head or space.knows(model.config)):  # the first is no network
            continue
        starts_pretrained = head or space.begins_pretrained(model.config)
        holder = best.get(starts_pretrained)
        if finished and (holder is None or model.judged.score > holder.judged.score):
            best[starts_pretrained] = model
    if len(best) < 2:
        return None
    ours, theirs = best[True].judged, best[False].judged
    return Verdict(*_interval(*lead(ours, theirs)), ours.trial, theirs.trial)


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
    trained = [model for model in models if model.finished and model.name == model.trial_folder]
    trained = [model for model in trained if model.judged.trial >= 0 and space.knows(model.config)]
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
