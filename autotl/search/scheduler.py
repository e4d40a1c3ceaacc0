"""Which unit of work comes next: a new trial, or one that was paused at a rung and may go on.

A trial runs to its next rung. The best third of those that got as far may go on (asynchronous successive halving, Li et
al. 2020), and among them and a new trial the next is the one that promises the most per second: the expected
improvement over the best finished model, by what trials gained from that rung to their end so far.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Collection, Iterable, Mapping
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING, Protocol

from autotl.search.ranking import slow
from autotl.training.rungs import END, FIRST, SECOND

if TYPE_CHECKING:
    from autotl.search.pace import Pace
    from autotl.search.space import Space

#: From so many full trials on that the budget affords, poor ones are dropped: with fewer, each is worth more finished
#: than compared (i-Epoch, Egele et al. 2024, for the one rung; successive halving wants some twenty).
ONE_RUNG, ALL_RUNGS = 4.0, 20.0

#: One in so many goes on at a rung.
REDUCTION = 3

#: Of the time left, a part so small that what takes less costs alike: it would hardly be missed.
SMALL_PART = 0.05

#: What a new trial costs in the mean as a share of a full one: all run to the first rung, a third beyond.
TO_A_VERDICT = (FIRST / END * (REDUCTION - 1) + 1) / REDUCTION

#: Paused trials whose checkpoints are kept; the next best has never come back from behind three in our searches.
KEPT_PAUSED = 3


def rungs_for(full_trials: float) -> tuple[int, ...]:
    """Where trials are compared, by how many full ones there is time for: the shape of the search."""
    if full_trials < ONE_RUNG:
        return ()
    return (FIRST,) if full_trials < ALL_RUNGS else (FIRST, SECOND)


class Scheduler:
    """What is known of every trial's curve."""

    def __init__(self, noise: float, floor: float) -> None:
        """noise: the standard error of a score on the validation rows. floor: the score of the best head."""
        self._noise = noise
        self._curves: dict[int, dict[int, float]] = {}
        self._there: dict[int, list[float]] = {}  #: scores at each permille, from low to high
        self._apart: set[int] = set()
        self._best = floor  #: score of a finished model
        self._growths: dict[int, tuple[float, float]] = {}  #: as `_growth` has them, by permille, until a trial ends
        self._shown: dict[int, float] = {}  #: what one as good as each trial would improve, until a trial ends

    def set_apart(self, trial: int) -> None:
        """A trial that says nothing of what others come to: one that begins at new weights, has no curve, or failed.

        What begins at new weights gains far more on its way than others.
        """
        self._apart.add(trial)
        self._forget()

    def record(self, trial: int, permille: int, score: float) -> None:
        """A trial was judged; 1000 permille is its end."""
        curve, there = self._curves.setdefault(trial, {}), self._there.setdefault(permille, [])
        if permille in curve:  # it began anew
            there.remove(curve[permille])
        insort(there, score)
        curve[permille] = score
        self._shown.pop(trial, None)
        if permille == 1000:
            self._best = max(self._best, score)
        if 1000 in curve:
            self._forget()

    def _forget(self) -> None:
        self._growths.clear()
        self._shown.clear()

    def forecast(self, trial: int) -> float:
        """The score that a trial should end with."""
        permille = max(self._curves[trial])
        return self._curves[trial][permille] + self._growth(permille)[0]

    def may_go_on(self, trial: int) -> bool:
        """Whether a trial is in the best third of those that were judged at the rung where it stands."""
        permille = max(self._curves[trial])
        there = self._there[permille]
        return self._curves[trial][permille] >= there[-math.ceil(len(there) / REDUCTION)]

    def promise(self, trial: int) -> float:
        """Expected improvement of the best finished score when a paused trial runs to its end."""
        return self._improvement(self.forecast(trial), self._growth(max(self._curves[trial]))[1])

    def promise_of_new(self) -> float:
        """The same for a trial that is yet to be proposed: as good as any so far, but for noise.

        Their mean and deviation instead say more than was ever reached where some are far behind: after one collapsed
        at 0.02, others having 0.93, twelve were begun in a row before one that led went on.
        """
        for trial in self._curves.keys() - self._apart - self._shown.keys():
            self._shown[trial] = self._improvement(self.forecast(trial), self._noise)
        return fmean(self._shown.values()) if self._shown else math.inf

    def _growth(self, permille: int) -> tuple[float, float]:
        """Mean and deviation of what finished trials gained after a rung; noise stands for one more of them."""
        if permille not in self._growths:
            self._growths[permille] = self._measure_growth(permille)
        return self._growths[permille]

    def _measure_growth(self, permille: int) -> tuple[float, float]:
        curves = [curve for trial, curve in self._curves.items() if trial not in self._apart and 1000 in curve]
        gains = [curve[1000] - curve[permille] for curve in curves if permille in curve]
        if not gains or permille == 1000:
            return 0.0, self._noise
        mean = fmean(gains)
        return mean, math.sqrt((self._noise**2 + sum((gain - mean) ** 2 for gain in gains)) / len(gains))

    def _improvement(self, mean: float, deviation: float) -> float:
        normal, z = NormalDist(), (mean - self._best) / deviation
        return max(deviation * (z * normal.cdf(z) + normal.pdf(z)), 0.0)  # far below, rounding is all that is left


def most_promising(
    scheduler: Scheduler, paused: Mapping[int, float], new: float | None, *, least: float = 1e-9
) -> int | None:
    """The paused trial to go on with, or None for a new one.

    paused: seconds to the end of each that fits. new: seconds that a new trial takes in the mean, to its first rung and
    beyond; None when there is no time for one, and then the best paused one has its turn whatever its rank. least: what
    takes no longer costs alike; without it a backbone of a tenth of the speed is never trained to its end, be it ever
    so far ahead.
    """
    seconds = {trial: max(left, least) for trial, left in paused.items()}
    eligible = [trial for trial in paused if new is None or scheduler.may_go_on(trial)]
    if not eligible:
        return None
    best = max(eligible, key=lambda trial: scheduler.promise(trial) / seconds[trial])
    if new is None or scheduler.promise(best) / seconds[best] >= scheduler.promise_of_new() / max(new, least):
        return best
    return None


class Waiting(Protocol):
    """A trial that was put down at a rung."""

    @property
    def backbone(self) -> str:
        """Its key."""
        ...

    @property
    def left(self) -> float:
        """Seconds to its end."""
        ...


def next_in_time(
    scheduler: Scheduler, paused: Mapping[int, Waiting], pace: Pace, backbones: Iterable[str], usual: float | None
) -> int | None:
    """`most_promising` by the clock. backbones: of new trials. usual: seconds of a full one; None for no more of them.

    A new one that does not fit whole is worth less than one that has come some way.
    """
    seconds = {number: one.left for number, one in paused.items() if pace.time_to_judge(one.backbone)}
    if usual is not None and usual > max(map(pace.seconds_of_training, backbones)):
        usual = None
    least = max(SMALL_PART * pace.seconds_to_the_end(), 1e-9)
    return most_promising(scheduler, seconds, None if usual is None else TO_A_VERDICT * usual, least=least)


def surplus(scheduler: Scheduler, paused: Iterable[int]) -> list[int]:
    """The paused trials that are not kept, by the score that they should end with."""
    return sorted(paused, key=scheduler.forecast, reverse=True)[KEPT_PAUSED:]


def leave_out_the_late(space: Space, pace: Pace, late: Collection[str], *, slow_ones: bool) -> bool:
    """Has the space propose none of these backbones, nor, if `slow_ones`, any whose training would hardly begin.

    Returns whether any is left.
    """
    contexts = {key: space.context(key) for key in space.candidates if key not in late}
    parts = {key: pace.part_of_a_recipe(one.candidate, one.rows) for key, one in contexts.items()}
    # where the others have nothing left to try, a slow one is better than none
    return (slow_ones and space.do_without([*late, *slow(parts)])) or space.do_without(late)
