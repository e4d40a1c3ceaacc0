"""An imagined search: its trials take what they are forecast to, and become as good as trials do.

Which of them begin and go on is decided by `Pace` and the scheduler, as in a search. Failures, kills, and strategies in
closed form that the sampler proposes are not imagined.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from autotl.budget import Clock
from autotl.events import DEFAULT_TRIAL
from autotl.search.pace import Length, Pace
from autotl.search.scheduler import Scheduler, leave_out_the_late, next_in_time, rungs_for, surplus
from autotl.search.space import Space, TrialConfig

#: Seconds that Optuna, events and the leaderboard take for each trial.
BETWEEN_TRIALS = 0.05

#: By what trials take longer than forecast: a part of the whole to begin, and of what they come to. MiniLM on trec6
#: took 1.00 to 1.04 of it to its end, and 0.08 to 0.16 to the rung at 0.111.
BEGINNING, LONGER = 0.02, 1.02

#: How good a training becomes, in standard errors of a score beside the published recipe: the best of many by so much
#: better, the others behind it by an exponential distribution of this mean. And what one gains from its beginning to
#: its end, from half as much to half as much again. As 23 trainings of MiniLM did on trec6, the sampler's among them.
BEST, BEHIND, GAIN = 1.0, 4.0, 1.7

#: By which part of all one of them differs from the next, in each: so any number of them in a row is spread evenly, and
#: what is good gains no more than others (Roberts' sequence in two dimensions).
STEPS = 0.754878, 0.569840

#: By how much the published recipe is better than the best head, in standard errors: so it was on trec6.
LEAD = 4.0

#: Trainings that have a share in an answer, if there are so many.
SHARERS = 3


class ImaginedClock(Clock):
    """Shows what it is told."""

    def __init__(self, seconds: float, now: float) -> None:
        super().__init__(seconds, start=0.0)
        self.now = now

    @property
    def elapsed(self) -> float:
        return self.now


@dataclass
class Training:
    """A trial that passes rows."""

    number: int  #: of the trial
    backbone: str
    seconds: float  #: to its end
    fills: bool  #: the time that it has, whatever it is forecast to take
    model: int  #: bytes
    checkpoint: int  #: bytes
    permille: int = 0
    used: float = 0.0  #: seconds so far

    @property
    def left(self) -> float:
        """Seconds to its end."""
        return (1 - self.permille / 1000) * self.seconds

    @property
    def score(self) -> float:
        """Where it stands now, in standard errors beside the published recipe's end."""
        good, gaining = (1 - step * self.number % 1 for step in STEPS)  # above 0
        end = BEST + BEHIND * math.log(good) if self.number != DEFAULT_TRIAL else 0.0
        return end - (0.5 + gaining) * GAIN * (1 - self.permille / 1000)


class Course:
    """An imagined search, and how far it has come."""

    def __init__(self, space: Space, pace: Pace, clock: ImaginedClock, *, head_wins: bool) -> None:
        """head_wins: whether trainings hardly have a share in the answer."""
        self.space, self.pace, self.clock = space, pace, clock
        self._began = clock.now
        self._sharers = 0 if head_wins else SHARERS
        self._scheduler = Scheduler(noise=1.0, floor=0.0 if head_wins else -LEAD)
        self.full_trials = 0.0
        self.rungs: tuple[int, ...] | None = None  #: not known before the first training
        self.trials = 0
        self.finished = 0
        self.paused: dict[int, Training] = {}
        self.ended: list[Training] = []
        self.states: dict[tuple[str, float, float], float] = {}  #: bytes by what they are states of
        self._usual = 0.0  #: seconds of a full training, by the last forecast

    def next(self) -> Training | None:
        """The one that was put down and whose turn it is; None for a new trial."""
        number = next_in_time(self._scheduler, self.paused, self.pace, self.space.candidates, self._usual)
        return None if number is None else self.paused[number]

    @property
    def goes_on(self) -> bool:
        """Whether there is time for a trial; of backbones that are too slow for it none is proposed."""
        late = [key for key in self.space.candidates if not self.pace.time_to_judge(key)]
        return self.pace.time_for_a_trial() and leave_out_the_late(
            self.space, self.pace, late, slow_ones=self.trials > 0
        )

    def fit_in_closed_form(self, seconds: float) -> None:
        """A trial that passes no rows."""
        self.clock.now += seconds + BETWEEN_TRIALS
        self.trials += 1
        self.finished += 1

    def begin(self, config: TrialConfig, length: Length, *, model: int, checkpoint: int) -> Training:
        """A trial that passes rows; it has taken no time yet."""
        if self.rungs is None:
            self.full_trials = self.pace.seconds_to_the_end() / length.planned
            self.rungs = rungs_for(self.full_trials)
        self._usual = length.planned
        seconds = min(length.planned, length.seconds)
        self.trials += 1
        return Training(self.trials - 1, config.backbone, seconds, length.fill, model, checkpoint)

    def go_on(self, training: Training) -> None:
        """To its end, or to a rung where another has its turn."""
        self.paused.pop(training.number, None)
        longer = 1.0 if training.fills else LONGER
        if not training.permille:
            self._take(BETWEEN_TRIALS + (0.0 if training.fills else BEGINNING * training.seconds), training)
        for rung in (*(self.rungs or ()), 1000):
            if rung <= training.permille:
                continue
            seconds = longer * (rung - training.permille) / 1000 * training.seconds
            self._take(min(seconds, self.pace.seconds_of_training(training.backbone)), training)
            training.permille = rung
            self._scheduler.record(training.number, rung, training.score)
            if rung < 1000 and training.number != DEFAULT_TRIAL:
                self.paused[training.number] = training
                if self.next() is not training:
                    break
                del self.paused[training.number]
        if training.permille == 1000:
            self._finish(training)
        for number in surplus(self._scheduler, self.paused):
            del self.paused[number]

    def _take(self, seconds: float, training: Training) -> None:
        self.clock.now += seconds
        training.used += seconds

    def repeat(self) -> None:
        """All that has been imagined, until the end."""
        more = 1 + (left := self.pace.seconds_to_the_end()) / (self.clock.now - self._began)
        self.trials, self.finished = round(more * self.trials), round(more * self.finished)
        self.clock.now += left

    def _finish(self, training: Training) -> None:
        self.finished += 1
        self.ended.append(training)
        self.pace.durations.learn_trial(training.number, training.used)
        best = sorted(self.ended, key=lambda ended: ended.score, reverse=True)[: self._sharers]
        if best:
            members, trials = [ended.backbone for ended in best], {ended.number for ended in best}
            self.pace.learn_answer(dataclasses.replace(self.pace.answer, members=members, trials=trials))
