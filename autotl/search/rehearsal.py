"""A rehearsal: a search that stops before its first trial, and says what searches with other budgets would come to.

Reading, loading, screening and the forecasts of trials are the search's own, on this machine and these rows, for a
minute at most. From there on the clock is imagined: the portfolio's trials take what they are forecast to, by the rules
of `Pace` and the scheduler, and a third of those that reach a rung go on. What is computed on the way stays in the
cache, so a search that follows starts with it.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import autotl
from autotl.budget import Clock
from autotl.config import BYTES_A_PARAMETER, SearchRequest
from autotl.errors import RunError, TrialError
from autotl.events import Event, Listener
from autotl.features.store import default_together
from autotl.plugins.contracts import Candidate, Work
from autotl.plugins.hookspecs import EventContext
from autotl.search.engine import Search
from autotl.search.listening import Listening
from autotl.search.pace import Pace
from autotl.search.ranking import SURVIVORS
from autotl.search.scheduler import KEPT_PAUSED, REDUCTION, rungs_for
from autotl.search.screening import FIRST_LOOK
from autotl.search.shelf import KEPT
from autotl.search.space import TrialConfig
from autotl.usage import folder_bytes, peak_memory

#: Seconds that may pass before the answer.
CALIBRATION = 60.0

#: Seconds that Optuna, events and the leaderboard take for each trial.
BETWEEN_TRIALS = 0.05

#: A checkpoint holds weights, their mean, and two moments.
COPIES_IN_A_CHECKPOINT = 4

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


class _Imagined(Clock):
    """Shows what it is told."""

    def __init__(self, seconds: float, now: float) -> None:
        super().__init__(seconds, start=0.0)
        self.now = now

    @property
    def elapsed(self) -> float:
        return self.now


@dataclass
class _Course:
    """How far an imagined search has come."""

    trials: int = 0
    finished: int = 0
    paused: list[float] = field(default_factory=list)  #: seconds to the end of each
    states: dict[tuple[str, float, float], float] = field(default_factory=dict)  #: bytes by what they are states of
    trained: int = 0  #: parameters that the largest trial trains


class Rehearsal(Search):
    """Where `Search` would run trials, it imagines them."""

    def __init__(
        self, request: SearchRequest, budgets: Sequence[float], *, listeners: Sequence[Listener], start: float
    ) -> None:
        """request: its budget and its test table are of no account. budgets: in seconds."""
        self._place = tempfile.TemporaryDirectory(prefix="autotl-plan-")
        request = request.model_copy(update={"budget_seconds": CALIBRATION, "trials": None, "test": None})
        super().__init__(request, Path(self._place.name) / "run", listeners=[*listeners, self._notice], start=start)
        self._budgets = budgets
        self._screened: list[Event] = []
        self._known: dict[tuple[str, Work], _Cost] = {}
        self._worker_memory = 0
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

    def _finish(self, interrupted: bool) -> bool:
        if interrupted:
            raise KeyboardInterrupt
        return False

    def _run_trials(self, survivors: Sequence[Candidate]) -> None:
        self._phase("planning")
        self._outlooks = [self._imagine(survivors, budget) for budget in self._budgets]

    def _imagine(self, survivors: Sequence[Candidate], budget: float) -> Outlook:
        first = self._screened[0]
        clock = _Imagined(budget, first.at - first.data["seconds"])
        pace = self._pace.under(clock)
        features = self._imagine_screening(survivors, clock, pace)
        pace.begin_trials([candidate.key for candidate in survivors])
        space, course = self._space(survivors, pace), _Course()
        full_trials, rungs = 0.0, None
        for config in itertools.cycle(list(space.portfolio())):  # what the sampler proposes later is of their kind
            if not pace.time_for_a_trial():
                break
            work = space.work(config)
            cost = self._cost(space.candidates[config.backbone], config, work)
            length = pace.trial_length(config.backbone, config.strategy, cost.seconds)
            if rungs is None and cost.seconds:
                full_trials = pace.seconds_to_the_end() / length.planned
                rungs = rungs_for(full_trials)
            if course.paused and length.planned > (left := pace.seconds_of_training(config.backbone)):
                clock.now += min(course.paused.pop(), left)
                course.finished += 1
                continue
            goes_on = not rungs or not cost.seconds or course.trials % REDUCTION == 0
            planned = length.planned if length.seconds is None else min(length.planned, length.seconds)
            reached = 1.0 if goes_on or not rungs else rungs[0] / 1000
            clock.now += reached * planned + BETWEEN_TRIALS
            course.trials, course.finished = course.trials + 1, course.finished + goes_on
            course.paused += [] if goes_on else [(1 - reached) * planned]
            course.trained = max(course.trained, cost.trained)
            course.states[config.backbone, work.frozen_fraction, work.augment] = cost.states
        states, inputs = sum(course.states.values()), self._input_bytes(self._rows)
        seen = self._input_bytes(max(event.data["rows"] for event in self._screened))
        run_folder, cache = round(self._run_folder_bytes(survivors, course)), round(inputs + features + states)
        return Outlook(
            budget=budget,
            full_trials=full_trials,
            rungs=rungs or (),
            trials=course.trials,
            finished=course.finished,
            memory=round(peak_memory() + self._worker_memory + inputs - seen + states),
            run_folder=run_folder,
            cache=cache,
            fits=run_folder + cache <= (self._request.max_disk or default_together(Path.cwd())),
            download=sum(
                BYTES_A_PARAMETER * candidate.parameters
                for candidate in self._given.candidates
                if candidate.source == "hub"
            ),
        )

    @property
    def _rows(self) -> int:
        return len(self._given.split.train) + len(self._given.split.valid)

    def _imagine_screening(self, survivors: Sequence[Candidate], clock: _Imagined, pace: Pace) -> float:
        """Moves the clock to the first trial; returns the bytes of the features that are known then."""
        pace.begin_screening()
        count, rows = len(self._screened), len(self._given.split.train)
        first_look = min(FIRST_LOOK, rows) if count > SURVIVORS else rows
        widths = {event.data["backbone"]: event.data["features"] for event in self._screened}
        kept = 0.0
        for position, event in enumerate(self._screened):
            seconds = pace.screening_seconds(count - position, needed=position == 0)
            if not seconds:
                continue
            speed = pace.seconds_a_row(event.data["backbone"])
            beside = max(event.data["seconds"] - event.data["rows"] * speed, 0.0)  # loading, choosing the precision
            clock.now += min(first_look * speed, seconds) + beside
            kept += BYTES * first_look * widths[event.data["backbone"]]
        for position, candidate in enumerate(survivors):
            if position == 0 or pace.time_for_a_head(candidate.key):
                seconds = pace.screening_seconds(len(survivors) - position, needed=True) or 0.0
                rest = (rows - first_look) * pace.seconds_a_row(candidate.key)
                clock.now += min(rest, seconds) + pace.judging_seconds(candidate.key)
                kept += BYTES * (self._rows - first_look) * widths[candidate.key]
        return kept

    def _cost(self, candidate: Candidate, config: TrialConfig, work: Work) -> _Cost:
        """What the worker says, which measures the speeds that it does not know yet."""
        key = candidate.key, work
        if key not in self._known:
            try:
                answer = self._dialogue.ask(
                    f"forecast of {config.strategy}",
                    "planning",
                    do="forecast",
                    candidate=dataclasses.asdict(candidate),
                    work=dataclasses.asdict(work),
                    views=True,
                )
                self._worker_memory = max(self._worker_memory, answer["memory"])
                self._known[key] = _Cost(answer["seconds"], answer["states"], answer["trained"])
            except TrialError:  # as such a trial would fail
                self._known[key] = _Cost()
        return self._known[key]

    def _input_bytes(self, rows: int) -> float:
        """Of decoded images or tokens; backbones of one modality share them but for the side of an image."""
        return rows * max(float(event.data["bytes_a_row"]) for event in self._screened)

    def _run_folder_bytes(self, survivors: Sequence[Candidate], course: _Course) -> float:
        """Heads and finished trials, as far as they are kept, and paused checkpoints.

        Models with the same backbone, such as heads and other views of the rows, share its room.
        """
        trials = self._folder / "trials"
        sizes = [BYTES_A_PARAMETER * candidate.parameters for candidate in survivors]
        models = sum(sizes) + course.finished * sizes[0]
        kept = min(1.0, KEPT / (len(sizes) + course.finished + 1))
        paused = min(len(course.paused), KEPT_PAUSED) * COPIES_IN_A_CHECKPOINT * BYTES * course.trained
        return folder_bytes(self._folder) - folder_bytes(trials) + kept * models + paused
