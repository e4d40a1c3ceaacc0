"""How the budget is spent: what things will take, and how long a trial may be."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autotl.budget import Clock
from autotl.plugins.contracts import FEW_ROWS_A_CLASS
from autotl.search.durations import UNKNOWN, Durations
from autotl.training.rungs import END, LATE, RUNGS

if TYPE_CHECKING:
    from autotl.plugins.contracts import Candidate

#: The end of the process: last events, leaderboard, closing the worker. Measured 0.1 to 0.3 s.
CLOSING = 0.4

#: Writing the report: measured 0.9 to 1.8 s of a core, half of it for loading matplotlib, with 1 to 24 trials and 20
#: images or texts.
REPORTING = 2.0

#: With less it is not begun. One that takes longer is given up in time.
FASTEST_REPORT = 1.2

#: A report that would take more of the budget is written only if the time is left over.
REPORTING_SHARE = 0.05

#: A worker may answer so much after the time, as a share of the budget and in seconds at least: less than the 2 %
#: that are promised, and better than losing the trial that was about to end.
GRACE, LEAST_GRACE = 0.01, 1.0

#: Loading a bundle and the family's library for the test rows.
LOADING = 1.0

#: Predictions take so many times the pass in fp32 that screening measured, beside reading their rows. Measured 1.0 on
#: two tables of pictures, the rest is caution: with 1.5, 8 of 60 s and 16 of 120 were left over.
TEST_COST = 1.2

#: The share of the budget that the test rows may keep: of 20 s, 1368 texts to test left 5 to find a model in, for the
#: sake of a test that then took 5. A test that does not fit costs a note.
TEST_SHARE = 0.3

#: Committing a bundle after it was scored.
COMMITTING = 0.2

#: Scoring takes this much longer on a machine that got busy; a trial cut in its last second is lost.
CAUTION = 1.3

#: Screening should not take more than this share of what is left; the rest buys the fine-tuning.
SCREENING_SHARE = 0.2

#: Even a short budget is better spent on looking at a backbone for this long than on a trial without it.
SHORTEST_SCREENING = 2.0

#: Rows that each backbone sees where all can go on, more where there are many classes. Its head sees the others, but
#: where a training has no time for so many passes over all of them: each row looked at costs a quarter of a step.
ENOUGH_ROWS, FEW_PASSES = 4000, 2.0

#: A training step costs about four forward passes (measured 3.3 to 4.5 over six networks, fp32 and bf16).
STEP_COST = 4.0

#: A backbone that is not loaded after this share of what is left, and so many seconds at least, is given up, as it may
#: never be: a family's library takes seconds to import, a download minutes. The longest where nothing limits it.
LOADING_SHARE, LEAST_LOADING, MOST_LOADING = 0.5, 30.0, 900.0

#: One beside others that are there is waited for until screening should end, or for so many seconds: killing a worker
#: that hangs in it costs the next one's start, some four.
LEAST_LOADING_BESIDE = 10.0

#: A worker that has not said a word for so many times what something was to take as a whole, and so many seconds, is
#: stuck: trials are judged several times, and forecasts are off by a third.
TIMES_THE_FORECAST, SECONDS_BESIDE = 3.0, 20.0

#: How often a trial that trains is judged before its end.
JUDGED_ON_THE_WAY = len(RUNGS) - 1

#: A trial that fills the time is compared with none on its way, so it is judged there only where that takes at most
#: this share of it: of 58 s on texts of 128 tokens, before 2000 validation rows, it took some 9 three times.
JUDGED_SHARE = 0.1

#: A head on a backbone beside the best one may take this share of what is left: it adds a point to a mixture at most.
HEAD_SHARE = 0.04

#: Kept free to repeat the last third of the answer's trials with all rows, at most, as a share of the time for trials.
REFIT_SHARE = 0.25

#: Kept free to validate the answer on the other parts of a small table, as a share of the same, if that is enough.
FOLDS_SHARE = 0.33

#: What a head on other rows takes of the time to judge one: it is neither saved nor loaded. Measured 0.15.
HEAD_AGAIN = 0.3

#: A head may take this share of what is left for refits, and what trainings leave that have theirs after it: of a
#: thousand classes one takes as long as a training's.
HEADS_SHARE = 0.2

#: A refit shorter than this learns nothing; loading its checkpoint takes half as long.
SHORTEST_REFIT = 1.0

#: A full trial that takes so many times the time for all trials is short of steps, not of rows: no refit then.
TOO_LONG_TO_REFIT = 2.0

#: A trial shorter than this learns nothing that the probe does not know, and one that sees fewer rows neither: in the
#: last 6 of 20 s MiniLM made 5 steps on sst2, after 3 s for the race of precisions and loading, and was worse than it.
SHORTEST_TRIAL, FEWEST_ROWS = 1.0, 1600

#: The same where the time has no other use: the race takes some ten batches of 32, and a few steps may help a mixture.
FEWEST_ROWS_AT_LAST = 500


@dataclass(frozen=True)
class Length:
    """How long a trial will be, by forecast, and how long it may be."""

    planned: float  #: with judging
    seconds: float  #: of training and of judging on the way
    fill: bool  #: whether it should go on to its limit, however long its settings say
    judged: bool = True  #: on the way, too
    share: float = 1.0  #: of the passes that its settings say, that there is time for


@dataclass(frozen=True)
class AnswerSoFar:
    """What the rest of the time has to be enough for: the models of the answer, and what is done with them already."""

    members: Sequence[str] = ()  #: backbones, each a pass that a row takes
    trials: Collection[int] = ()  #: that have a share in it
    heads: Sequence[str] = ()  #: backbones of those in it that are to be fitted to all rows yet
    folded: Collection[int] = ()  #: trials that other parts of the table have validated, too
    refitted: Collection[int] = ()  #: trials whose ends were repeated
    on_their_way: Set[int] = frozenset()  #: trials that have a share by what they were before their end


class Pace:
    """The clock of a run, and what it has to be enough for. Where nothing is limited, seconds are infinite."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.used = 0.0  #: seconds on the clock that earlier processes had: nobody was promised a share of these
        self.durations = Durations()  #: by which it is reckoned
        self._chosen: Collection[str] = ()  #: backbones that trials have, once they are known
        self.outputs = 1  #: of a model
        self._screening_ends = 0.0  #: when it should, on the clock
        self._for_trials = 0.0  #: seconds from their beginning to the end
        self._kept_for: set[str] = set()  #: what follows the trials: "folds", "refit"
        self._settled = False  #: whether the answer is what it will be, as far as trials decide
        self._full_trial = math.inf  #: seconds, by the last forecast
        self._tail = 0.0  #: seconds
        self.test_rows = 0  #: that the answer will be tested on at the end
        self.answer = AnswerSoFar()  #: as `learn_answer` has it
        #: Full trials that must fit, however little time there is, since they are to be compared with each other.
        self.compared = 1
        self._for_others = 0.0  #: seconds that those have which are compared with the trial at work, and come after it
        self.folds = 0  #: parts of the table that may validate after the first
        self.refits_trainings = True  #: whether their ends are repeated with the rows that judged them

    @property
    def limited(self) -> bool:
        return math.isfinite(self.clock.seconds)

    def under(self, clock: Clock) -> Pace:
        """The same knowledge for a run with another clock."""
        other = copy.deepcopy(self)
        other.clock = clock
        return other

    def learn_answer(self, answer: AnswerSoFar) -> None:
        """What the answer is now, in the place of what it was."""
        self.answer = answer

    def seconds_of_trial(self, number: int) -> float:
        """What it took, or, before its end, what one takes by the last forecast."""
        took = self.durations.of_trial(number)
        return self._full_trial if took is None else took

    def begin_screening(self) -> None:
        """What was read and decoded until now is of use to trials as well, and not booked on screening."""
        self._screening_ends = self.clock.elapsed + SCREENING_SHARE * self.clock.remaining

    @property
    def seconds_left_for_screening(self) -> float:
        """That are left for it."""
        return max(self._screening_ends - self.clock.elapsed, 0.0)

    def seconds_for_a_look(self, candidates_left: int, *, needed: bool) -> float:
        """For the next candidate: an even share of what is left for screening, which may be nothing.

        needed: it must be looked through, however little is left.
        """
        left = self._screening_ends - self.clock.elapsed
        if needed:
            return max(left / candidates_left, SHORTEST_SCREENING)
        return left / candidates_left if left >= SHORTEST_SCREENING else 0.0

    def _test_seconds(self) -> float:
        """What testing the bundle will take: loading it, and a pass over the rows for each member."""
        if not self.test_rows:
            return 0.0
        passes = self.durations.exact(self.answer.members)
        seconds = LOADING + self.test_rows * (self.durations.reading + TEST_COST * passes)
        return min(seconds, TEST_SHARE * self.clock.seconds)

    def begin_trials(self, backbones: Collection[str]) -> None:
        """From now on a part of the time is kept free for what follows them. backbones: that they choose from."""
        self._chosen = backbones
        self._for_trials = self.seconds_to_the_end()
        self._kept_for = {"folds", "refit"}

    def settle(self) -> None:
        """No trial that is still to come is waited for: what follows needs what it needs for the answer as it is."""
        self._settled = True

    def release(self, what: Literal["folds", "refit"]) -> None:
        """What was kept free for it is there to be used."""
        self._kept_for.discard(what)

    def keep_tail(self, share: float) -> None:
        """Keeps a share of the time for trials free, for what is tried at their end."""
        self._tail = share * self.seconds_to_the_end() if self.limited else 0.0

    def release_tail(self) -> None:
        """What was kept free is there to be used."""
        self._tail = 0.0

    def _refit_seconds(self) -> float:
        if "refit" not in self._kept_for:
            return 0.0
        most = REFIT_SHARE * self._for_trials
        heads = [seconds for seconds in map(self._head_refit_seconds, self.answer.heads) if seconds <= most]
        return min(most, sum(heads) + self._seconds_of_thirds())

    @property
    def to_repeat(self) -> Collection[int]:
        """The answer's trials whose ends may be repeated; what was better before its end has none."""
        late = {
            trial for trial in self.answer.on_their_way if self._settled or self.durations.of_trial(trial) is not None
        }
        return {*self.answer.trials} - {*self.answer.refitted} - late

    def _seconds_of_thirds(self) -> float:
        """For the answer's trainings to be repeated in part."""
        trials = self._trial_seconds(but={*self.answer.trials} - {*self.to_repeat})
        last_act = self.judging_seconds(None)
        if not self.refits_trainings or TOO_LONG_TO_REFIT * self._for_trials < max(trials, default=0.0) < math.inf:
            return 0.0
        return sum(max((1 - LATE / END) * seconds, SHORTEST_REFIT) + last_act for seconds in trials)

    def _folds_seconds(self) -> float:
        """For the answer's models to be fitted anew for each further part of the rows; all of it or nothing."""
        if "folds" not in self._kept_for or not self.folds:
            return 0.0
        wanted = self.folds * (sum(self._trial_seconds(but=self.answer.folded)) or self.seconds_of_a_head_again(None))
        return wanted if wanted <= FOLDS_SHARE * self._for_trials else 0.0

    def _head_refit_seconds(self, backbone: str) -> float:
        """For a head on features that are there: fitted, saved, and asked by its file, as when it was judged.

        Or as long as is known where it saw few of the rows then.
        """
        return COMMITTING + CAUTION * self.durations.head(backbone, SHORTEST_REFIT)

    def seconds_of_a_head_again(self, backbone: str | None) -> float:
        """For a head that is fitted to other rows, and asked. backbone: None for the slowest."""
        return HEAD_AGAIN * self.judging_seconds(backbone)

    def _trial_seconds(self, *, but: Collection[int]) -> list[float]:
        """What each trial of the answer took; as long as there are trials to come, one of them may be the answer.

        but: those that an earlier process is done with.
        """
        trials = [self.seconds_of_trial(number) for number in self.answer.trials if number not in but]
        return trials or ([] if self._settled else [self._full_trial])

    def seconds_to_the_end(self) -> float:
        """Until the worker should have answered, for what follows to be done and the process to end in time."""
        kept = self._refit_seconds() + self._folds_seconds() + self._tail if self.limited else 0.0
        return self.clock.remaining - self._closing - self._test_seconds() - kept

    def loading_seconds(self, *, needed: bool = True) -> float:
        """After which a backbone that is not loaded, or not downloaded, is given up.

        needed: whether there is no other so far; while screening lasts, one more is waited for until its end.
        """
        longest = LOADING_SHARE * self.clock.remaining
        if needed:
            return min(max(longest, LEAST_LOADING), MOST_LOADING)
        screening = self._screening_ends - self.clock.elapsed
        return min(longest, max(screening, LEAST_LOADING_BESIDE) if screening > 0 else longest, MOST_LOADING)

    def patience(self, *, testing: bool = False) -> float:
        """Seconds after which a worker that has not answered is given up."""
        left = self.clock.remaining - self._closing
        reserved = 0.0 if testing else min(self._test_seconds(), max(left, 0.0))  # the last word is always waited for
        return left - reserved + self._grace

    @staticmethod
    def silence(seconds: float, *, looking: float = 0.0, times: float = TIMES_THE_FORECAST) -> float:
        """Seconds without a word after which a worker is given up that has something to do for `seconds` by forecast.

        looking: seconds that it may need besides to look at rows, which the forecast leaves out. times: how often the
        forecast may be wrong by itself; 1 where the seconds are a limit.
        """
        return times * seconds + looking + SECONDS_BESIDE

    @property
    def _grace(self) -> float:
        return max(GRACE * (self.clock.seconds - self.used), LEAST_GRACE)

    @property
    def _closing(self) -> float:
        """What the process does when the worker has answered for the last time."""
        return CLOSING + self._kept_for_the_report

    @property
    def _kept_for_the_report(self) -> float:
        return REPORTING if REPORTING_SHARE * self.clock.seconds >= REPORTING else 0.0

    def reporting_seconds(self, *, interrupted: bool) -> float:
        """How long the report may take; 0 where it would not be written in that time.

        interrupted: whether somebody waits for the end. A worker that was late has used the time that was kept free, so
        the report may be late too, but not where it only takes what is left over.
        """
        grace = self._grace if self._kept_for_the_report else 0.0
        seconds = REPORTING if interrupted else self.clock.remaining + grace
        return seconds if seconds >= FASTEST_REPORT else 0.0

    def seconds_of_training(self, backbone: str) -> float:
        """Until a trial must stop to be judged in time."""
        return max(self.seconds_to_the_end() - self.judging_seconds(backbone), 0.5)

    def seconds_of_this_training(self, backbone: str) -> float:
        """The same for the trial at work, which leaves their part to those that it is compared with."""
        return max(self.seconds_of_training(backbone) - self._for_others, 0.5)

    def judging_seconds(self, backbone: str | None) -> float:
        """The last act of a trial, by what it took for this backbone, or else by its speed beside another's.

        backbone: None for the slowest of those that trials have or the answer is made of; of all that were seen, as
        long as nobody knows which these are.
        """
        known = self.durations.judged
        if backbone in known:
            return COMMITTING + CAUTION * self.durations.judging(backbone)
        at_work = known & {*self._chosen, *self.answer.members} if self._chosen else known
        return COMMITTING + CAUTION * max(map(self.durations.judging, at_work), default=UNKNOWN)

    def time_for_a_head(self, backbone: str) -> bool:
        """Whether a head on another backbone is a small part of what is left."""
        return HEAD_SHARE * self.seconds_to_the_end() > self.judging_seconds(backbone)

    @property
    def enough_rows(self) -> int:
        """That tell backbones apart, and that a head is fitted to in a short budget."""
        return max(ENOUGH_ROWS, FEW_ROWS_A_CLASS * self.outputs)

    def rows_of_a_head(self, backbone: str, rows: int) -> int:
        """Of so many training rows, those that one is fitted to before trials begin."""
        short = self.limited and self.passes(backbone, rows) < FEW_PASSES
        return min(rows, self.enough_rows) if short else rows

    def passes(self, backbone: str, rows: int) -> float:
        """Full passes over the training rows, forward and back, that a trial affords which has its part of the time."""
        return self.seconds_of_training(backbone) / (
            self.compared * rows * self.durations.forward(backbone) * STEP_COST
        )

    def part_of_a_recipe(self, candidate: Candidate, rows: int) -> float:
        """Of its passes over so many training rows, that a training could make in its part of the time."""
        return self.passes(candidate.key, rows) / candidate.recipe.passes(rows)

    def begin_trial(self, backbone: str, strategy: str, training_seconds: float) -> Length:
        """How long a trial may be that begins now. training_seconds: forecast for its settings, 0 for a closed form.

        As many trials of this length as fit are planned; when that is one or less, the trial gets all that is left
        and moves along its schedule by time. Where several are to be compared, the same holds of their parts.
        """
        self._for_others = 0.0
        compared = self.compared
        if training_seconds:
            self.compared = max(compared - 1, 1)
        last_act = self.durations.judging(backbone)
        on_the_way = JUDGED_ON_THE_WAY * self.durations.judging_on_the_way(backbone)
        if training_seconds:
            planned = training_seconds + on_the_way + last_act
        else:
            planned = self.durations.closed_form(backbone, strategy)
        if not self.limited:
            return Length(planned, math.inf, False)
        if training_seconds:
            self._full_trial = planned
        left = self.seconds_of_training(backbone)
        if training_seconds > SHORTEST_TRIAL and round(left / planned) <= compared:
            part = (left + last_act) / compared
            self._for_others = part * (compared - 1)
            share = min((part - last_act) / training_seconds, 1.0)
            return Length(part, part - last_act, True, judged=on_the_way <= JUDGED_SHARE * part, share=share)
        return Length(planned, min(left, 2.0 * planned + SHORTEST_TRIAL), False)

    @property
    def others_wait(self) -> bool:
        """Whether time is kept for trials that are compared with the last one."""
        return self._for_others > 0

    def rest_of_trial(self, backbone: str, seconds: float) -> Length:
        """For a trial that goes on, with so many seconds left by its forecast; by time when there are not so many."""
        self._for_others = 0.0
        if not self.limited:
            return Length(seconds, math.inf, False)
        left = self.seconds_of_training(backbone)
        return Length(seconds, min(left, 2.0 * seconds + SHORTEST_TRIAL), left < seconds)

    def time_for_a_refit(self, backbone: str, *, head: bool) -> bool:
        """head: whether it is one on features that are there, as the answer's heads are: they come before trainings."""
        if head and self.limited:
            end = self.seconds_to_the_end()
            trainings = end - self.judging_seconds(None) > SHORTEST_REFIT  # there is time for one
            left = max(HEADS_SHARE * end, end - (self._seconds_of_thirds() if trainings else 0.0))
            return left > self._head_refit_seconds(backbone) / CAUTION
        return self.seconds_of_training(backbone) > SHORTEST_REFIT

    def time_to_judge(self, backbone: str) -> bool:
        """Whether what is trained on it now could still be judged."""
        return self.seconds_to_the_end() > self.judging_seconds(backbone) + SHORTEST_TRIAL

    def time_for_a_trial(self) -> bool:
        """Of the fastest backbone that trials have: one that was merely looked at, or takes longer, stops no other."""
        known = [self.durations.forward(key) for key in self._chosen if self.durations.knows_forward(key)]
        learning = (FEWEST_ROWS_AT_LAST if self._settled else FEWEST_ROWS) * STEP_COST * min(known, default=0.0)
        last_act = min(map(self.judging_seconds, self._chosen))
        return self.seconds_to_the_end() > last_act + max(SHORTEST_TRIAL, learning)
