"""A rehearsal: a search that stops before its first trial, and says what searches with other budgets would come to.

Reading, loading, screening and the forecasts of trials are the search's own, on this machine and these rows, for a
minute at most. From there on the search is imagined (`imagined`), once for each budget. What is computed on the way
stays in the cache, so a search that follows starts with it.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna

import autotl
from autotl.config import BYTES_A_PARAMETER, SearchRequest
from autotl.errors import RunError, TrialError
from autotl.events import Event, Listener
from autotl.features.store import default_max_disk
from autotl.plugins.contracts import Candidate, Work
from autotl.plugins.hookspecs import EventContext
from autotl.runs.folder import TRIALS_FOLDER
from autotl.search.dialogue import OutOfTime
from autotl.search.engine import Search
from autotl.search.imagined import Course, ImaginedClock, Training
from autotl.search.listening import Listening
from autotl.search.pace import STEP_COST, Pace
from autotl.search.ranking import SURVIVORS
from autotl.search.screening import FIRST_LOOK
from autotl.search.shelf import KEPT
from autotl.search.space import Space, TrialConfig
from autotl.usage import folder_bytes, peak_memory
from autotl.zoo.inventory import largest_download

#: Seconds that may pass before the answer.
CALIBRATION = 60.0

OVER = "the minute is over: what some trials would take is guessed, by others on the same backbone or by forward passes"

#: Proposals of the sampler are of the kind of so many that it draws before it knows anything.
DRAWN = 12

#: Trials that are imagined at most; further ones are like these.
MOST_IMAGINED = 2000

#: Where the best head makes so few errors, in standard errors of its score, trainings can hardly have a share in the
#: answer, and what is kept for their refits goes to further ones.
HARDLY = 3.0

#: A checkpoint holds weights, their mean, and two moments.
COPIES_IN_A_CHECKPOINT = 4

#: Of its network, what a training has in memory besides what measuring its steps has, up to its end and its refit: the
#: mean, a checkpoint on its way to the disk, what is read again from there. MiniLM on trec6: 670 MB, of 90.
COPIES_IN_MEMORY = 7

#: Of a number that is kept in the store or in a checkpoint.
BYTES = 4


@dataclass(frozen=True)
class Outlook:
    """What a search should come to."""

    budget: float  #: seconds
    full_trials: float  #: that there is time for
    rungs: tuple[int, ...]  #: permille of a trial's length where trials are compared
    trials: int  #: that begin
    finished: int  #: of them
    memory: int  #: bytes, of both processes together at most
    run_folder: int  #: bytes at the end
    cache: int  #: bytes that the cache holds of this table at the end
    fits: bool  #: whether the run and the cache find room in what they may take of the disk
    download: int  #: bytes of backbones that are not here yet


@dataclass(frozen=True)
class _Cost:
    """A trial's, as `autotl.training.forecast` has it."""

    seconds: float = 0.0
    states: float = 0.0
    trained: int = 0
    rows: int = 0  #: that a budget of a minute trains on

    def within(self, budget: float, rows: int) -> _Cost:
        """The same for a budget of so many seconds, which may reach more of the table's rows."""
        if not 0 < self.rows < rows:  # all of them
            return self
        more = min(self.rows * budget / CALIBRATION, rows) / self.rows
        return dataclasses.replace(self, seconds=more * self.seconds, states=more * self.states)


class Rehearsal(Search):
    """Where `Search` would run trials, it imagines them."""

    def __init__(
        self, request: SearchRequest, budgets: Sequence[float], *, listeners: Sequence[Listener], start: float
    ) -> None:
        """request: its budget is of no account. budgets: in seconds."""
        self._place = tempfile.TemporaryDirectory(prefix="autotl-plan-")
        request = request.model_copy(update={"budget_seconds": CALIBRATION, "trials": None})
        super().__init__(request, Path(self._place.name) / "run", listeners=[*listeners, self._notice], start=start)
        self._budgets, self._longest = budgets, max(budgets)
        self._screened: list[Event] = []
        self._known: dict[tuple[str, Work], _Cost] = {}
        self._late = False  #: whether the minute is over
        self._outlooks: list[Outlook] = []

    def outlooks(self) -> list[Outlook]:
        """One for each budget.

        Raises `AutoTLError` for input that cannot be used, and `RunError` where a minute is too short for a look at it.
        """
        with self._place:
            self.run()
        if not self._outlooks:
            raise RunError(
                f"{CALIBRATION:.0f} s are too short to look at this table; a search needs --budget 10m or more"
            )
        return self._outlooks

    def _listening(self) -> Listening:
        """Plugins are told of searches only."""
        return Listening({}, EventContext(autotl.__version__, self._folder), lambda text: None)

    def _notice(self, event: Event) -> None:
        if event.kind == "screened":
            self._screened.append(event)

    def _prepare(self) -> None:
        super()._prepare()
        self._to_test, self._pace.test_rows = self._pace.test_rows, 0  # the minute tests nothing

    def _finish(self, interrupted: bool) -> bool:
        if interrupted:
            raise KeyboardInterrupt
        return False

    def _run_trials(self, survivors: Sequence[Candidate]) -> None:
        self._phase("planning")
        # the worker's memory is the most that it ever had, so what short searches need comes first
        found = {budget: self._imagine(survivors, budget) for budget in sorted(self._budgets)}
        self._outlooks = [found[budget] for budget in self._budgets]

    def _imagine(self, survivors: Sequence[Candidate], budget: float) -> Outlook:
        first = self._screened[0]
        clock = ImaginedClock(budget, first.at - first.data["seconds"])
        pace = self._pace.under(clock)
        pace.test_rows = self._to_test
        features = self._imagine_screening(survivors, clock, pace)
        clock.now += self._floor.seconds_to_go_on(pace, survivors, len(self._given.split.train))
        space = self._space(survivors, pace)
        pace.begin_trials(tuple(space.candidates))
        course = Course(space, pace, clock, head_wins=self._head_wins)
        portfolio = [config for config in space.portfolio() if space.still_fits(config)]
        drawn = self._drawn(space)
        known = {config.backbone for config in drawn}  # others may be all that there is time for
        drawn += [config for config in portfolio if config.backbone not in known]
        queue, again = deque(portfolio), deque(drawn)
        self._play(course, queue, again)
        pace.settle()
        if not pace.to_repeat:
            self._play(course, queue, again)  # in the time that was kept for refits of trainings
        inputs, seen = self._input_bytes(self._rows), self._input_bytes(max(e.data["rows"] for e in self._screened))
        states = list(course.states.values())
        run_folder = round(self._run_folder_bytes(survivors, course))
        cache = round(inputs + features + sum(states))
        # checkpoints of what may be repeated for the answer stay until then
        largest = max((training.model for training in course.ended), default=0)
        on_its_way = sum(sorted(training.checkpoint for training in course.ended)[-KEPT:])
        return Outlook(
            budget=budget,
            full_trials=course.full_trials,
            rungs=course.rungs or (),
            trials=course.trials,
            finished=course.finished,
            memory=round(
                peak_memory()
                + self._dialogue.memory
                + inputs
                - seen
                + max(states, default=0.0)
                + COPIES_IN_MEMORY * largest
            ),
            run_folder=run_folder,
            cache=cache,
            fits=run_folder + on_its_way + cache <= (self._request.max_disk or default_max_disk(Path.cwd())),
            download=sum(size for size in self._downloads if size <= largest_download(budget)),
        )

    @property
    def _head_wins(self) -> bool:
        judge = self._session.judge
        return judge.best is not None and 1 - judge.best.score <= HARDLY * judge.noise

    def _drawn(self, space: Space) -> list[TrialConfig]:
        """What a sampler draws that knows nothing."""
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=self._request.seed))
        drawn = [space.suggest(study.ask()) for _ in range(DRAWN)]
        return [config for config in drawn if space.still_fits(config) and not space.work(config).closed_form]

    def _play(self, course: Course, queue: deque[TrialConfig], drawn: deque[TrialConfig]) -> None:
        """Imagines trials until there is no time for one: those of the queue, and then what is drawn, over and over."""
        while course.goes_on:
            if course.trials >= MOST_IMAGINED:
                course.repeat()
                break
            training = course.next()
            if training is None:
                config = next(filter(course.space.offers, [*queue, *drawn]), None)
                if config is None:  # none of these is of a backbone that there is time for
                    break
                if config in queue:
                    queue.remove(config)
                else:
                    drawn.rotate(-1 - drawn.index(config))
                training = self._begin(course, config)
            if training is not None:
                course.go_on(training)

    def _begin(self, course: Course, config: TrialConfig) -> Training | None:
        """A new trial, which is over by then if it is in closed form."""
        work, candidate = course.space.work(config), course.space.candidates[config.backbone]
        cost = self._cost(candidate, config, work).within(course.clock.seconds, self._to_train_on)
        length = course.pace.begin_trial(config.backbone, config.strategy, cost.seconds)
        if not cost.seconds:
            course.fit_in_closed_form(length.planned)
            return None
        model = BYTES_A_PARAMETER * candidate.parameters
        checkpoint = COPIES_IN_A_CHECKPOINT * BYTES * cost.trained
        training = course.begin(config, length, model=model, checkpoint=checkpoint)
        if length.share < 1:  # states are kept for the passes that there is time for
            cut = dataclasses.replace(work, passes=length.share * work.passes)
            cost = self._cost(candidate, config, cut).within(course.clock.seconds, self._to_train_on)
        course.states[config.backbone, work.frozen_fraction, work.augment] = cost.states
        return training

    @property
    def _downloads(self) -> list[int]:
        """Bytes of each backbone that is not here yet."""
        hub = (candidate for candidate in self._given.candidates if candidate.source == "hub")
        return [BYTES_A_PARAMETER * candidate.parameters for candidate in hub]

    @property
    def _to_train_on(self) -> int:
        """Rows, but for as many as may be unreadable: with fewer a trial has not reached all."""
        return math.ceil((1 - self._request.skip_limit) * len(self._given.split.train))

    @property
    def _rows(self) -> int:
        return len(self._given.split.train) + len(self._given.split.valid)

    def _imagine_screening(self, survivors: Sequence[Candidate], clock: ImaginedClock, pace: Pace) -> float:
        """Moves the clock to the first trial; returns the bytes of the features that are known then."""
        pace.begin_screening()
        count, rows = len(self._screened), len(self._given.split.train)
        first_look = min(FIRST_LOOK if len(self._given.candidates) > SURVIVORS else pace.enough_rows, rows)
        widths = {event.data["backbone"]: event.data["features"] for event in self._screened}
        kept = 0.0
        for position, event in enumerate(self._screened):
            seconds = pace.seconds_for_a_look(count - position, needed=position == 0)
            if not seconds:
                continue
            speed = pace.durations.forward(event.data["backbone"])
            beside = max(event.data["seconds"] - event.data["rows"] * speed, 0.0)  # loading, choosing the precision
            clock.now += min(first_look * speed, seconds) + beside
            kept += BYTES * min(first_look, seconds / speed) * widths[event.data["backbone"]]
        for position, candidate in enumerate(survivors):
            if position == 0 or pace.time_for_a_head(candidate.key):
                seconds = pace.seconds_for_a_look(len(survivors) - position, needed=True)
                speed = pace.durations.forward(candidate.key)
                rest = max(min(pace.rows_of_a_head(candidate.key, rows) - first_look, seconds / speed), 0.0)
                clock.now += rest * speed + pace.judging_seconds(candidate.key)
                kept += BYTES * (rest + len(self._given.split.valid)) * widths[candidate.key]
        return kept

    def _cost(self, candidate: Candidate, config: TrialConfig, work: Work) -> _Cost:
        """What the worker says, which measures speeds that it does not know yet; a guess where the minute is over."""
        key = candidate.key, work
        if key not in self._known:
            if self._late:
                return self._guess(candidate, work)
            try:
                reply = self._dialogue.forecast(config.strategy, candidate, work, views_agree=True, account="planning")
                self._known[key] = _Cost(reply["seconds"], reply["states"], reply["trained"], reply["rows"])
            except TrialError:  # as such a trial would fail
                self._known[key] = _Cost()
            except OutOfTime:
                self._late = True
                self._events.emit("note", text=OVER)
                return self._guess(candidate, work)
        return self._known[key]

    def _guess(self, candidate: Candidate, work: Work) -> _Cost:
        """By what is known of trials on the backbone that begin from the same states; else by its forward passes."""
        if work.closed_form:
            return _Cost()
        known = [(done, cost) for (key, done), cost in self._known.items() if key == candidate.key and cost.seconds]
        states = work.frozen_fraction, work.augment
        if alike := [one for one in known if (one[0].frozen_fraction, one[0].augment) == states]:
            done, cost = min(alike, key=lambda one: abs(math.log(one[0].passes / work.passes)))
            more = work.passes * work.step_cost / (done.passes * done.step_cost)
            return dataclasses.replace(cost, seconds=more * cost.seconds)
        _, near = min(known, key=lambda one: abs(one[0].frozen_fraction - states[0]), default=(work, _Cost()))
        steps = work.passes * (near.rows or len(self._given.split.train)) * (1 - work.frozen_fraction)
        seconds = STEP_COST * work.step_cost * steps * self._pace.durations.forward(candidate.key)
        return dataclasses.replace(near, seconds=seconds)

    def _input_bytes(self, rows: int) -> float:
        """Of decoded images or tokens, which backbones share whose images have the same side."""
        return rows * sum({float(event.data["bytes_a_row"]) for event in self._screened})

    def _run_folder_bytes(self, survivors: Sequence[Candidate], course: Course) -> float:
        """Heads and finished trials, as far as they are kept, and paused checkpoints.

        Models with the same backbone, such as heads and other views of the rows, share its room.
        """
        trials = self._folder / TRIALS_FOLDER
        models = [BYTES_A_PARAMETER * candidate.parameters for candidate in survivors]
        models += [training.model for training in course.ended]
        # of models as many as are kept, and the largest: which they will be nobody knows
        kept = sorted(models)[-KEPT:] + [training.checkpoint for training in course.paused.values()]
        return folder_bytes(self._folder) - folder_bytes(trials) + sum(kept)
