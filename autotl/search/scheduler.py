"""Which unit of work comes next: a new trial, or one that was paused at a rung and may go on.

A trial runs to its next rung. The best third of those that got as far may go on (asynchronous successive halving, Li et
al. 2020), and among them and a new trial the next is the one that promises the most per second: the expected
improvement over the best finished model, by what trials gained from that rung to their end so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist, fmean

#: From so many full trials on that the budget affords, poor ones are dropped: with fewer, each is worth more finished
#: than compared (i-Epoch, Egele et al. 2024, for the one rung; successive halving wants some twenty).
ONE_RUNG, ALL_RUNGS = 4.0, 20.0

#: In permille of a trial's own length: a third goes on at each.
FIRST_RUNG, SECOND_RUNG = 111, 333
REDUCTION = 3

#: Of the time left, a part so small that what takes less costs alike: it would hardly be missed.
SMALL_PART = 0.05

#: Paused trials whose checkpoints are kept; the next best has never come back from behind three in our searches.
KEPT_PAUSED = 3


def rungs_for(full_trials: float) -> tuple[int, ...]:
    """Where trials are compared, by how many full ones there is time for: the shape of the search."""
    if full_trials < ONE_RUNG:
        return ()
    return (FIRST_RUNG,) if full_trials < ALL_RUNGS else (FIRST_RUNG, SECOND_RUNG)


class Scheduler:
    """What is known of every trial's curve."""

    def __init__(self, noise: float, floor: float) -> None:
        """noise: the standard error of a score on the validation rows. floor: the score of the best head."""
        self._noise = noise
        self._curves: dict[int, dict[int, float]] = {}
        self._apart: set[int] = set()
        self._best = floor  #: score of a finished model
        self._growths: dict[int, tuple[float, float]] = {}  #: as `_growth` has them, by permille, until a trial ends

    def set_apart(self, trial: int) -> None:
        """A trial that says nothing of what others come to: one that begins at new weights, has no curve, or failed.

        At twenty full trials a few of them had new trials promise three times as much as good ones that were paused.
        """
        self._apart.add(trial)
        self._growths.clear()

    def record(self, trial: int, permille: int, score: float) -> None:
        """A trial was judged; 1000 permille is its end."""
        self._curves.setdefault(trial, {})[permille] = score
        if permille == 1000:
            self._best = max(self._best, score)
            self._growths.clear()

    def forecast(self, trial: int) -> float:
        """The score that a trial should end with."""
        permille = max(self._curves[trial])
        return self._curves[trial][permille] + self._growth(permille)[0]

    def may_go_on(self, trial: int) -> bool:
        """Whether a trial is in the best third of those that were judged at the rung where it stands."""
        permille = max(self._curves[trial])
        there = sorted((curve[permille] for curve in self._curves.values() if permille in curve), reverse=True)
        return self._curves[trial][permille] >= there[math.ceil(len(there) / REDUCTION) - 1]

    def promise(self, trial: int) -> float:
        """Expected improvement of the best finished score when a paused trial runs to its end."""
        return self._improvement(self.forecast(trial), self._growth(max(self._curves[trial]))[1])

    def promise_of_new(self) -> float:
        """The same for a trial that is yet to be proposed, by how those so far are spread."""
        forecasts = [self.forecast(trial) for trial in self._curves if trial not in self._apart]
        if not forecasts:
            return math.inf
        mean = fmean(forecasts)
        spread = math.sqrt(fmean((forecast - mean) ** 2 for forecast in forecasts))
        return self._improvement(mean, math.hypot(spread, self._noise))

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
