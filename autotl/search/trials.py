"""The trials: asks Optuna for configurations, has them fitted, and puts down and takes up again what is paused."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from autotl.errors import FailureKind, TrialError
from autotl.events import DEFAULT_TRIAL
from autotl.plugins.contracts import RESERVED_NAMES, Work
from autotl.plugins.manager import plugins
from autotl.runs.checkpoints import Checkpoints
from autotl.search.dialogue import OutOfTime
from autotl.search.failures import Failures
from autotl.search.incumbent import Judged
from autotl.search.judging import Subject
from autotl.search.line import Message, WorkerGone
from autotl.search.pace import Length
from autotl.search.ranking import PART_OF_A_RECIPE
from autotl.search.scheduler import (
    TO_A_VERDICT,
    Scheduler,
    leave_out_the_late,
    most_promising,
    next_in_time,
    rungs_for,
    surplus,
)
from autotl.search.session import Session
from autotl.search.space import Space, TrialConfig
from autotl.search.study import unfinished

#: A trial that did not come on, and in which the whole search was killed, so often is not begun again: it may be what
#: kills it, as a container does that has no memory left.
MOST_STARTS = 3

#: A strategy in closed form is tried so often on a backbone: its settings change next to nothing, and where a head
#: is the best model the sampler would propose nothing else, and a thousand of them would take the places of all others.
MOST_CLOSED_FORMS = 3

#: Kinds of failure that the settings decide about: the sampler learns to stay away from settings like these.
BY_SETTINGS: Set[FailureKind] = {"memory", "numbers", "time"}


#: Why a trial's turn is now: the published recipe of the best backbone, another that is known to work, or a proposal of
#: the sampler; of those that have begun, what the end of an earlier process cut, or what promises most.
Why: TypeAlias = Literal["published", "portfolio", "sampler", "cut", "promise"]


@dataclass
class Running:
    """A trial that has begun and not ended."""

    optuna_trial: optuna.Trial
    config: TrialConfig
    why: Why
    planned: float = 0.0  #: seconds from its start to its end
    used: float = 0.0  #: seconds so far
    permille: int = 0
    score: float | None = None
    reported: int = 0  #: permille, to Optuna, which hears of each once: one whose checkpoint made way begins anew

    @property
    def number(self) -> int:
        return self.optuna_trial.number

    @property
    def backbone(self) -> str:
        return self.config.backbone

    @property
    def left(self) -> float:
        """Seconds to its end, by forecast."""
        return self.planned * (1 - self.permille / 1000)


class Trials:
    """Runs trials until the time is up or their number is reached."""

    def __init__(
        self,
        session: Session,
        space: Space,
        study: optuna.Study,
        scheduler: Scheduler,
        checkpoints: Checkpoints,
        *,
        announced: Iterable[int] = (),
    ) -> None:
        """announced: numbers of the trials that an earlier process told of."""
        self._checkpoints, self._announced = checkpoints, set(announced)
        self._space, self._study, self._scheduler = space, study, scheduler
        self._dialogue, self._judge = session.dialogue, session.judge
        self._pace, self._events = session.pace, session.events
        self._paused: dict[int, Running] = {}
        self._at_work: int | None = None  #: the number of the trial that is being fitted
        self._rungs: tuple[int, ...] | None = None  #: not known before the first forecast
        self._usual = 0.0  #: seconds that a full trial takes, by the last forecast
        self._count = math.inf
        self._control: int | None = None  #: the number of the first trial that has nothing of what is pretrained
        self._failures = Failures(space, session.events)
        self._closed_forms: Counter[tuple[str, str]] = Counter()  #: finished trials, by backbone and strategy

    def run(self, portfolio: Iterable[TrialConfig], count: float, *, urgent: bool = False) -> None:
        """portfolio: configurations that go first, but for those that the study has had. count: of trials.

        urgent: whether the first of them goes before trials that are paused. Raises `OutOfTime` when the worker has to
        be cut.
        """
        self._count = count
        past = self._study.get_trials(deepcopy=False)
        self._pace.compared = max(self._pace.compared - sum(trial.state.is_finished() for trial in past), 1)
        queue = deque(config for config in portfolio if not any(map(config.was_that_of, past)))
        for running in self._take_over(past):
            self._run(running)
        while self._pace.time_for_a_trial() and not self._failures.hopeless and self._leave_out_the_late():
            if urgent and queue and self._started < count:
                urgent = False
                self._start(queue, in_turn=True)
            elif (next_one := self._next()) is not None:
                running = self._paused.pop(next_one)
                running.why = "promise"
                self._run(running)
            elif self._started < count:
                self._start(queue)
            else:
                break
        self._space.do_without(())  # time that is kept for something else may be free the next time

    def let_go(self) -> None:
        """Removes what was kept for refits, when these have been; what there was no time for may still be refitted."""
        self._checkpoints.keep_late(self._judge.answer_trials | self._paused.keys())

    def give_way(self) -> None:
        """Removes the checkpoints that the search can do without: paused trials begin anew."""
        self._checkpoints.give_way(self._at_work, self._judge.answer_trials)

    def _take_over(self, past: Sequence[FrozenTrial]) -> list[Running]:
        """Curves and paused trials of an earlier process; returns the trials that its end, or a kill, cut."""
        self._remember(past)
        self._leave_out_changed(past)
        return self._sort_unfinished()

    def _remember(self, past: Sequence[FrozenTrial]) -> None:
        """What the trials until now have had and said."""
        self._closed_forms.clear()
        for frozen in past:
            for name, distribution in frozen.distributions.items():
                if isinstance(distribution, CategoricalDistribution):
                    self._space.keep_options(name, list(map(str, distribution.choices)))
            known = frozen.user_attrs
            config = TrialConfig(known.get("backbone", ""), known.get("strategy", ""), known.get("settings", {}))
            if self._control is None and self._space.knows(config) and not self._space.begins_pretrained(config):
                self._control = frozen.number
            if frozen.state.is_finished():  # a failure that nobody booked does not say what it took
                self._pace.durations.learn_trial(frozen.number, known.get("seconds", known.get("planned_seconds", 0.0)))
            for permille, score in frozen.intermediate_values.items():
                self._scheduler.record(frozen.number, permille, score)
            if known.get("apart"):
                self._scheduler.set_apart(frozen.number)
            if frozen.state == TrialState.COMPLETE and self._is_closed_form(config):
                self._count_closed_form(config)

    def _leave_out_changed(self, past: Sequence[FrozenTrial]) -> None:
        """Strategies of which a parameter was words and is a number now, or the other way round."""
        had_words = {
            name: isinstance(distribution, CategoricalDistribution)
            for frozen in past
            for name, distribution in frozen.distributions.items()
        }
        for strategy in self._space.leave_out_changed(had_words):
            text = f"strategy {strategy!r} is left out: a parameter of it has become another kind since this run began"
            self._events.emit("note", text=text)

    def _sort_unfinished(self) -> list[Running]:
        """Ends the trials that cannot go on, and keeps the paused ones; returns those that were cut."""
        cut = []
        for frozen, trial in unfinished(self._study):
            running = Running(trial, self._space.suggest(trial), "cut")
            running.permille, running.score = max(frozen.intermediate_values.items(), default=(0, None))
            running.reported = running.permille
            running.planned = frozen.user_attrs.get("planned_seconds", 0.0)
            running.used = frozen.user_attrs.get("seconds", running.planned if running.permille >= 1000 else 0.0)
            if running.permille >= 1000:  # the end came between its last word and ours
                self._end(running, TrialState.COMPLETE, "complete")
            elif self._starts_in_vain(running) >= MOST_STARTS:
                if running.number not in self._announced:
                    self._announce(running, 0.0)
                text = f"the search was killed {MOST_STARTS} times in the midst of it"
                self._fail(running, TrialError(text, kind="memory"))
            elif not self._space.knows(config := running.config):
                reason = f"{config.strategy} of {config.backbone}: the strategy or the backbone is not here any more"
                self._end(running, TrialState.FAIL, "failed", reason=reason, reason_kind="plugin")
            elif frozen.user_attrs.get("paused"):
                self._paused[trial.number] = running
            else:
                cut.append(running)
        return cut

    def _starts_in_vain(self, running: Running) -> int:
        """How often a trial has begun, or gone on, without its coming on; a checkpoint says that it did."""
        trial, known = running.optuna_trial, running.optuna_trial.user_attrs
        if self._checkpoints.reached(running.number) > known.get("reached", [0.0, 0.0]):
            trial.set_user_attr("starts", 0)
        return int(trial.user_attrs.get("starts", 0))

    def _leave_out_the_late(self) -> bool:
        """Proposes no backbone, for now, that could not be judged in time. Returns whether any is left."""
        late = [key for key in self._space.candidates if not self._pace.time_to_judge(key)]
        if late and not self._started:
            self._events.emit("note", text=f"judging them would take the time that is left: {', '.join(late)}")
        return leave_out_the_late(self._space, self._pace, late, slow_ones=self._started > 0)

    def _has_its_part(self, config: TrialConfig) -> bool:
        """Whether a training could make enough of its passes in the time that is left; first about, by forward passes.

        A step may take half as long again as these say: one of 63 s, said to be a third, was 65 of 300 steps.
        """
        if not (self._pace.limited and self._space.still_fits(config)):
            return True
        work, context = self._space.work(config), self._space.context(config.backbone)
        trained = work.passes * (1 - work.frozen_fraction)
        if not trained:
            return True
        if self._pace.passes(config.backbone, context.rows) < PART_OF_A_RECIPE * trained:
            return False
        try:
            seconds = self._seconds_of(config, work)
        except TrialError:  # which it meets in its turn
            return True
        return self._pace.seconds_of_training(config.backbone) >= PART_OF_A_RECIPE * seconds

    @property
    def _started(self) -> int:
        return len(self._study.get_trials(deepcopy=False))

    def _next(self) -> int | None:
        """The number of the paused trial whose turn it is, None for a new one."""
        more = self._started < self._count
        if self._pace.limited:
            usual = self._usual if more else None
            return next_in_time(self._scheduler, self._paused, self._pace, self._space.candidates, usual)
        # nothing may depend on time
        left = {number: 1 - running.permille / 1000 for number, running in self._paused.items()}
        if not more:
            left = {number: part for number, part in left.items() if self._scheduler.may_go_on(number)}
        return most_promising(self._scheduler, left, TO_A_VERDICT if more else None)

    def _start(self, queue: deque[TrialConfig], *, in_turn: bool = False) -> None:
        """The first of the queue that is not cut short, or else the first, or what the sampler proposes.

        in_turn: whether it has to be the first.
        """
        if not self._started and not self._judge.views_agree:
            text = "other views of the rows, such as mirrored, mean something else here: the head is far worse on them"
            self._events.emit("note", text=f"{text}, so trainings leave them out")
        why: Why = "sampler"
        offered = [config for config in queue if self._space.offers(config)]
        compared = in_turn or self._started == 0 or self._pace.others_wait  # however short it is cut
        long = (config for config in offered if compared or self._has_its_part(config))
        if config := next(long, None) or next(iter(offered), None):
            queue.remove(config)
            self._study.enqueue_trial(self._space.units(config))
            why = "portfolio"
        trial = self._study.ask()
        if trial.number == DEFAULT_TRIAL:
            why = "published"
        self._run(Running(trial, self._space.suggest(trial), why))

    def _run(self, running: Running) -> None:
        """Has a trial fitted to its next rung or its end."""
        self._at_work = running.number
        length = self._begin(running)
        if length is None:
            return
        self._settle_rungs()
        self._announce(running, length.planned)
        if not self._space.begins_pretrained(running.config) or self._is_closed_form(running.config):
            self._set_apart(running)
        if not self._fit(running, length):
            return
        if running.permille >= 1000:
            if self._is_closed_form(config := running.config):
                self._pace.durations.learn_closed_form(config.backbone, config.strategy, running.used)
                self._count_closed_form(config)
            self._end(running, TrialState.COMPLETE, "complete")
        else:
            self._put_down(running)

    def _begin(self, running: Running) -> Length | None:
        """How long it will be; None where that cannot be told, and it failed."""
        trial, began = running.optuna_trial, self._pace.clock.elapsed
        trial.set_user_attr("paused", False)
        trial.set_user_attr("starts", trial.user_attrs.get("starts", 0) + 1)
        furthest = trial.user_attrs.get("reached", [0.0, 0.0])  # of a trial that begins anew too
        trial.set_user_attr("reached", max(furthest, self._checkpoints.reached(running.number)))
        try:
            return self._forecast(running)
        except TrialError as error:
            self._announce(running, 0.0)
            self._book(running, running.used, began)
            self._fail(running, error)
            return None
        except (OutOfTime, KeyboardInterrupt):  # before anybody heard of it
            trial.set_user_attr("starts", 0)
            raise

    def _fit(self, running: Running, length: Length) -> bool:
        """Whether it came to its end, or to a rung where another has its turn."""
        number, config, trial = running.number, running.config, running.optuna_trial
        began, before = self._pace.clock.elapsed, running.used
        try:
            reply = self._dialogue.trial(
                f"{config.strategy} of {plugins().origin(config.strategy, 'strategy')}",
                self._space.candidates[config.backbone],
                config,
                number=number,
                name=f"{number:04d}",
                views_agree=self._judge.views_agree,
                seconds=length.seconds,
                fill_time=length.fill,
                judged_on_the_way=length.judged,
                share=length.share,
                checkpoint=self._checkpoints.of(number),
                late_checkpoint=self._checkpoints.late(number),
                hearer=lambda offer: self._hear(offer, running),
                silence=self._silence(config.backbone, length),
            )
        except TrialError as error:
            self._book(running, before, began)
            self._fail(running, error)
            return False
        except (OutOfTime, KeyboardInterrupt):  # its checkpoint stays, for a search that is resumed
            self._book(running, before, began)
            trial.set_user_attr("starts", 0)
            self._tell_end(running, "cut", "the time was up")
            raise
        self._failures.success(config)
        # a process that was killed in the middle of this trial had booked nothing, and its checkpoint knows
        self._book(running, max(before, reply["seconds"] - (self._pace.clock.elapsed - began)), began)
        running.permille = reply["permille"]
        return True

    def _put_down(self, running: Running) -> None:
        """Keeps it for later, and drops those for which there is no place."""
        running.optuna_trial.set_user_attr("starts", 0)
        running.optuna_trial.set_user_attr("paused", True)
        self._tell_end(running, "paused")
        self._paused[running.number] = running
        self._drop(surplus(self._scheduler, self._paused))

    def _silence(self, backbone: str, length: Length) -> float:
        """Seconds that a trial may go on without being judged; screening saw a part of the rows only."""
        rows = self._space.context(backbone).rows
        return self._pace.silence(length.planned, looking=rows * self._pace.durations.forward(backbone))

    def _announce(self, running: Running, planned: float) -> None:
        """Tells that a trial goes on, or, where nobody has heard of it, that it begins."""
        config, drawn = running.config, running.optuna_trial.params
        known: dict[str, Any]
        if running.number in self._announced:
            event, known = "trial_continued", {"permille": running.permille}
        else:
            today = self._space.units(config)
            units = {name: today.get(name, drawn[name]) for name in config.settings}
            event, known = "trial_started", {**config.flat, "units": units}
            self._announced.add(running.number)
        self._events.emit(event, trial=running.number, **known, planned_seconds=planned, why=running.why)

    def _book(self, running: Running, before: float, began: float) -> None:
        """What a trial has used by now: `before`, and since it `began`."""
        running.used = before + self._pace.clock.elapsed - began
        running.optuna_trial.set_user_attr("seconds", running.used)

    def _set_apart(self, running: Running) -> None:
        self._scheduler.set_apart(running.number)
        running.optuna_trial.set_user_attr("apart", True)

    def _is_closed_form(self, config: TrialConfig) -> bool:
        return self._space.still_fits(config) and self._space.work(config).closed_form

    def _count_closed_form(self, config: TrialConfig) -> None:
        """Of finished trials; the strategy is tried no more on the backbone when there are enough."""
        self._closed_forms[config.backbone, config.strategy] += 1
        if self._closed_forms[config.backbone, config.strategy] == MOST_CLOSED_FORMS:
            self._space.leave_out(strategy=config.strategy, backbone=config.backbone)

    def _fail(self, running: Running, error: TrialError) -> None:
        self._set_apart(running)
        by_settings = error.kind in BY_SETTINGS and not isinstance(error, WorkerGone)  # whom anybody can kill
        state = TrialState.PRUNED if by_settings else TrialState.FAIL
        self._end(running, state, "failed", reason=str(error), reason_kind=error.kind)
        self._failures.failure(running.config, error)

    def _hear(self, offer: Message, running: Running) -> Message:
        subject = Subject(running.number, self._space.candidates[running.config.backbone], running.config)

        def goes_on(judged: Judged) -> bool:
            running.permille, running.score = judged.permille, judged.score
            told = {name: value for name, value in offer["details"].items() if name not in RESERVED_NAMES}
            told |= {"trial": running.number, "permille": judged.permille, "score": judged.score}
            self._events.emit("progress", **told)
            if judged.permille > running.reported:
                running.optuna_trial.report(judged.score, judged.permille)
                running.reported = judged.permille
            running.optuna_trial.set_user_attr("starts", 1)
            self._scheduler.record(running.number, judged.permille, judged.score)
            compared = judged.permille in (self._rungs or ())
            if not compared or running.number in (DEFAULT_TRIAL, self._control):
                return True
            self._paused[running.number] = running
            next_one = self._next()  # when its turn would be next, it need not be put down
            del self._paused[running.number]
            return next_one == running.number

        return self._judge.hear(offer, subject, goes_on)

    def _forecast(self, running: Running) -> Length:
        """How long a trial will be: the worker knows how fast each pass is, and what it need not compute again."""
        config = running.config
        if running.permille and running.planned:
            return self._pace.rest_of_trial(config.backbone, running.left)
        work, seconds = self._space.work(config), 0.0
        if self._control is None and not self._space.begins_pretrained(config):
            self._control = running.number  # to its end: weights that begin at random are far behind on their way
        if not work.closed_form:
            seconds = self._seconds_of(config, work)
        length = self._pace.begin_trial(config.backbone, config.strategy, seconds)
        running.planned = length.planned
        running.optuna_trial.set_user_attr("planned_seconds", length.planned)
        if not work.closed_form:
            self._usual = length.planned
        return length

    def _seconds_of(self, config: TrialConfig, work: Work) -> float:
        """That its training takes, judging left out. Raises `TrialError` where it cannot be measured."""
        candidate, views_agree = self._space.candidates[config.backbone], self._judge.views_agree
        seconds: float = self._dialogue.forecast(config.strategy, candidate, work, views_agree=views_agree)["seconds"]
        return seconds

    def _settle_rungs(self) -> None:
        """How many full trials there will be decides where they are compared; once, by the first forecast."""
        if self._rungs is None and self._usual:
            full_trials = self._count
            if self._pace.limited:
                full_trials = min(full_trials, self._pace.seconds_to_the_end() / self._usual)
            self._rungs = rungs_for(full_trials)
            self._events.emit("shape", full_trials=full_trials, rungs=self._rungs)

    def _end(self, running: Running, state: TrialState, word: str, *, reason: str = "", reason_kind: str = "") -> None:
        score = running.score if state == TrialState.COMPLETE else None
        self._study.tell(running.optuna_trial, score, state)
        self._checkpoints.of(running.number).unlink(missing_ok=True)
        self._checkpoints.keep_late(self._judge.usable | self._judge.answer_trials | self._paused.keys())
        self._pace.durations.learn_trial(running.number, running.used)
        self._tell_end(running, word, reason, reason_kind)

    def _tell_end(self, running: Running, word: str, reason: str = "", reason_kind: str = "") -> None:
        self._events.emit(
            "trial_ended", trial=running.number, state=word, score=running.score, seconds=running.used, reason=reason,
            reason_kind=reason_kind,
        )  # fmt: skip

    def _drop(self, numbers: Iterable[int]) -> None:
        """Ends paused trials for good; the sampler learns how far they came."""
        for number in numbers:
            self._end(self._paused.pop(number), TrialState.PRUNED, "dropped")
