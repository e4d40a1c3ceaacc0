"""The engine: spends a budget on one table. It schedules, asks Optuna, judges, and never touches torch.

The phases are reading, screening, searching, cross-validating, refitting and finishing. Each can be cut at any moment:
what is on disk is whole, the worker is killed when it does not answer in time, and the end comes with the best model so
far.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import shutil
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import autotl
from autotl.budget import Clock
from autotl.config import SearchRequest
from autotl.data.set_aside import SET_ASIDE_FILE, write_set_aside
from autotl.errors import RunError, TrialError
from autotl.events import EventLog, Listener, read_events
from autotl.plugins.contracts import Candidate, StrategyContext
from autotl.plugins.hookspecs import EventContext
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import BUNDLE_FILE, BUNDLE_FOLDER, find_bundle, read_card
from autotl.report.leaderboard import forecast_error
from autotl.runs.checkpoints import Checkpoints
from autotl.runs.folder import EVENTS_FILE, PORTFOLIO_FILE, TEACHER_FOLDER, create_run_folder
from autotl.runs.run_file import RunFile, fingerprint, refuse_another, versions
from autotl.search.again import Again
from autotl.search.control import comparisons, is_doubtful, verdict
from autotl.search.costs import Costs
from autotl.search.cross_validation import CrossValidation
from autotl.search.dialogue import Dialogue, NoWorker, OutOfTime
from autotl.search.disk import Disk
from autotl.search.floor import LAST_SHARE, Floor
from autotl.search.incumbent import Incumbent
from autotl.search.judging import Judge
from autotl.search.leaderboard_file import LeaderboardFile
from autotl.search.ledger import Ledger
from autotl.search.listening import Listening
from autotl.search.lock import RunLock
from autotl.search.pace import Pace
from autotl.search.portfolio_file import kept_portfolio
from autotl.search.preparation import audit_seconds, judging_allowance, prepare
from autotl.search.ranking import slow, trainable_first
from autotl.search.refit import Refit, worth_repeating
from autotl.search.reporting import report_in_time
from autotl.search.run_log import RunLog
from autotl.search.scheduler import Scheduler
from autotl.search.screening import Screening
from autotl.search.session import Session
from autotl.search.shelf import Shelf
from autotl.search.space import Space, TrialConfig
from autotl.search.splitting import Splitting
from autotl.search.study import open_study, quiet_optuna
from autotl.search.teaching import ENOUGH_TRIALS, Teaching
from autotl.search.trials import Trials
from autotl.search.twins import Twins
from autotl.search.vetting import vetted
from autotl.usage import cores, peak_memory
from autotl.zoo.inventory import largest_download
from autotl.zoo.origin import origin_of
from autotl.zoo.words import BAG_OF_WORDS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Outcome:
    """How a search ended."""

    folder: Path
    interrupted: bool


class Search:
    """One search, from the first second to the last."""

    def __init__(
        self,
        request: SearchRequest,
        folder: Path,
        *,
        listeners: Sequence[Listener] = (),
        start: float | None = None,
        frame: pd.DataFrame | None = None,
        test_frame: pd.DataFrame | None = None,
        resumed: RunFile | None = None,
    ) -> None:
        """start: when the process began, on the monotonic clock. frame, test_frame: the table, and the one to test on,
        where they are no files. resumed: what the folder knew, which is new without. Nothing is read or written yet.
        """
        self._request, self._folder, self._resumed = request, folder, resumed
        self._frame, self._test_frame = frame, test_frame
        used = resumed.seconds if resumed else 0.0
        began = (time.monotonic() if start is None else start) - used
        self._pace = Pace(Clock(request.budget_seconds or math.inf, start=began))
        self._pace.used = used
        self._pace.compared = 1 if request.teacher is None else 2  # what the teacher is worth is told by two trainings
        self._ledger = Ledger(lambda: self._pace.clock.elapsed, used, resumed.ledger if resumed else {})
        self._listeners = list(listeners)
        self._longest = request.budget_seconds  #: that decides what may be downloaded
        self._disk = Disk(folder)

    def run(self) -> Outcome:
        """Searches until the budget is spent; Ctrl-C ends it early, with the best model so far.

        Raises `AutoTLError` for input that cannot be used, before anything is written.
        """
        new_folders = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        if self._resumed is None:
            create_run_folder(self._folder)
        lock = RunLock(self._folder)
        try:
            with ExitStack() as ending:
                self._open(ending)
                interrupted = self._search()
        except BaseException:  # Ctrl-C before there is a model too: nothing must lie in the next run's way
            lock.release()  # Windows removes no file that is open
            self._leave_nothing(new_folders)
            raise
        lock.release()
        return Outcome(self._folder, interrupted)

    def _open(self, ending: ExitStack) -> None:
        """Opens what `ending` closes in whatever way the search ends: its worker, and the log of its events."""
        if known := self._resumed:
            self._disk.keep(lambda: known.write(self._folder))  # its seconds, before there are later events
        for left in () if known else (EVENTS_FILE, PORTFOLIO_FILE):  # of one that was killed in its first second
            (self._folder / left).unlink(missing_ok=True)
        self._dialogue = Dialogue(self._folder, self._disk, self._pace, self._ledger, offline=self._request.offline)
        ending.callback(self._dialogue.close)
        events = self._folder / EVENTS_FILE
        self._past = read_events(events)  #: what happened in earlier processes
        self._board = LeaderboardFile(self._folder, self._disk, self._past)
        listeners: list[Listener] = [self._board, *self._listeners]
        self._events = EventLog(events, lambda: self._pace.clock.elapsed, listeners, self._disk.keep)
        ending.callback(self._events.close)

    def _search(self) -> bool:
        """From reading to report. Returns whether it was interrupted."""
        interrupted = False
        self._outside = self._listening()
        self._events.listen(self._outside)
        try:
            with quiet_optuna():
                self._prepare()
                try:
                    if survivors := self._screen():
                        self._run_trials(survivors)
                except NoWorker as error:
                    self._events.emit("note", text=f"the search ends early: {error}")
                except OutOfTime:
                    pass
                except KeyboardInterrupt:
                    interrupted = True
                    self._dialogue.close()
                interrupted = self._finish(interrupted)
        except BaseException as error:
            self._tell_failure(error)
            raise
        self._outside.close(0.0 if interrupted else self._pace.clock.remaining)
        self._update(seconds=self._pace.clock.elapsed)
        return interrupted

    def _listening(self) -> Listening:
        """The plugins that hear events."""
        context = EventContext(autotl.__version__, self._folder.absolute())
        return Listening(plugins().listeners, context, lambda text: self._events.emit("note", text=text))

    def _tell_failure(self, error: BaseException) -> None:
        with suppress(Exception):  # the reason may be that nothing can be written
            self._board.write()
            self._events.emit("failed", reason=f"{type(error).__name__}: {error}")
            self._outside.close(0.0)

    # ---------------------------------------------------------------- prepare

    def _prepare(self) -> None:
        self._phase("reading")
        request = self._request
        self._portfolio = kept_portfolio(request.portfolio, self._folder, resumed=self._resumed is not None)
        with self._ledger.book("reading"):
            seconds = self._resumed.audit_seconds if self._resumed else audit_seconds(request)
            self._given = given = prepare(
                request, self._frame, self._test_frame, seconds=seconds, ledger=self._ledger,
                download=largest_download(self._longest), judging=judging_allowance(self._longest),
            )  # fmt: skip
        inspection = given.inspection
        self._pace.test_rows = 0 if given.test is None else len(given.test.cells)
        self._pace.outputs = len(inspection.task.outputs)
        here = [candidate.key for candidate in given.candidates]
        self._run_file = RunFile(
            id=self._resumed.id if self._resumed else uuid.uuid4().hex,
            state="running",
            request=request,
            task=inspection.task,
            data_fingerprint=fingerprint(inspection),
            rows={
                "training": len(given.split.train),
                "validation": len(given.split.valid),
                "set aside": len(inspection.set_aside),
            },
            audit_seconds=seconds,
            heads=tuple(dict.fromkeys([*(self._resumed.heads if self._resumed else ()), *here])),
            survivors=self._resumed.survivors if self._resumed else (),
            origins=self._resumed.origins if self._resumed else (),
            ledger=self._ledger.seconds,
            memory=self._resumed.memory if self._resumed else 0,
            versions=versions(),
            machine=f"{platform.system()} {platform.machine()}, {cores()} cores",
        )
        if self._resumed:
            refuse_another(self._resumed, self._run_file)
        self._update()
        self._study = open_study(self._folder, self._disk, seed=request.seed)
        incumbent = Incumbent(inspection.task, inspection.targets, training_rows=len(given.split.train))
        costs = Costs(request.limits, [*given.candidates, *given.too_large, BAG_OF_WORDS])
        shelf = Shelf(self._folder, self._disk, inspection.task, inspection.targets, costs, self._run_file.versions)
        judge = Judge(incumbent, shelf, self._pace, self._events, self._ledger)
        self._session = Session(self._dialogue, judge, self._pace, self._events, costs)
        self._announce()
        self._teacher = self._known_teacher()
        self._dialogue.begin(given.for_worker(request, self._folder, self._run_file.data_fingerprint, self._teacher))

    def _known_teacher(self) -> str | None:
        """Whom strategies can learn from at once: what was asked for, or what taught in an earlier process already."""
        made = self._folder / TEACHER_FOLDER
        if self._resumed and (made / BUNDLE_FILE).is_file():
            return str(made)
        return self._request.teacher

    def _announce(self) -> None:
        inspection, rows = self._given.inspection, self._run_file.rows
        task = inspection.task
        for role in inspection.roles:
            self._events.emit("role", column=role.name, role=role.role, evidence=role.evidence)
        self._events.emit(
            "task", task=task.kind, target=task.target, input=task.input_name, modality=task.modality,
            classes=list(task.classes), asks=task.rules.describe(task), metric=task.metric, rows=rows,
        )  # fmt: skip
        self._events.emit("audit", **self._given.audit.facts)
        for note in (*plugins().complaints, *inspection.notes, *self._given.audit.notes):
            self._events.emit("note", text=note)
        if inspection.set_aside and self._resumed is None:  # a person may have edited it since
            self._disk.keep(lambda: write_set_aside(self._folder / SET_ASIDE_FILE, inspection))
            self._events.emit("note", text=f"{SET_ASIDE_FILE} lists the rows set aside; --set-aside takes another list")
        if self._given.hub_missed:
            self._events.emit("note", text="the model hub is not reachable: searching what is on this machine")

    @property
    def _has_answer(self) -> bool:
        """Whether there is a bundle on the disk, be it an earlier process's."""
        return (self._folder / BUNDLE_FOLDER / BUNDLE_FILE).is_file()

    def _leave_nothing(self, new_folders: Sequence[Path]) -> None:
        """A new run that ends without a model leaves no folder behind, to be in the way of the next one."""
        if self._resumed is None and not self._has_answer:
            with suppress(OSError):  # a disk that can only be read by now
                for path in self._folder.iterdir():  # all made by this run, which refuses a folder with contents
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                for folder in new_folders:
                    folder.rmdir()

    # ---------------------------------------------------------------- screen and search

    def _screen(self) -> list[Candidate]:
        self._phase("screening")
        self._device = self._dialogue.ready()
        session, seconds = self._session, self._run_file.audit_seconds if self._pace.limited else math.inf
        splitting = Splitting(session, self._folder, self._disk, seed=self._request.seed)
        self._given = splitting.settle(self._given, seconds, known=self._resumed is not None)
        session.judge.keep_together(self._given.split.groups)
        split = self._given.split
        self._screening = Screening(session, self._given.candidates, self._run_file.heads, rows=len(split.train))
        if self._resumed:
            self._screening.take_up(self._past, self._run_file.survivors)
        if self._teacher is None:
            self._pace.folds = len(split.in_turn)
        self._pace.durations.judges = len(split.valid)
        self._pace.refits_trainings = worth_repeating(split.train, split.valid)
        self._measure_floor()
        self._pace.begin_screening()
        try:
            survivors = self._screening.run(self._run_file.survivors)
        finally:  # whatever ends it
            self._list_unreadable()
        origins = self._run_file.origins or tuple(origin_of(candidate) for candidate in survivors)
        chosen, before = tuple(candidate.key for candidate in survivors), self._run_file.survivors
        # who could not be had this time is tried again next time, unless others were chosen in place of all
        kept = bool(before) and (not chosen or not set(before).isdisjoint(chosen))
        self._update(survivors=before if kept else chosen, origins=origins)
        return survivors

    def _measure_floor(self) -> None:
        """Before anything is looked through: words are counted while networks still load."""
        inspection, split = self._given.inspection, self._given.split
        contends = not self._request.backbones  # whoever names some wants one of these
        self._floor = Floor(
            self._session, inspection.task, inspection.targets, words=self._given.words, contends=contends
        )
        if known := [event for event in self._past if event.kind == "floor"]:
            self._floor.take_up(known[-1], split.train, split.valid)
        else:
            self._floor.measure(split.train, split.valid)

    def _list_unreadable(self) -> None:
        """Adds the rows that cannot be read to those set aside, in the list of these."""
        if self._resumed is not None or not self._screening.unreadable:
            return
        inspection = self._given.inspection
        unreadable, split = self._screening.unreadable, self._given.split
        whole = inspection.without(
            {int(inspection.kept[place]): f"unreadable: {why}" for place, why in unreadable.items()}
        )
        self._disk.keep(lambda: write_set_aside(self._folder / SET_ASIDE_FILE, whole))
        # the rows stay where they are, as models know them by their places
        self._given = dataclasses.replace(
            self._given, inspection=dataclasses.replace(inspection, set_aside=whole.set_aside)
        )
        left = {"training": split.train, "validation": split.valid}
        rows = {part: sum(row not in unreadable for row in indices.tolist()) for part, indices in left.items()}
        self._update(rows=rows | {"set aside": len(whole.set_aside)})
        self._events.emit("note", text=f"{SET_ASIDE_FILE} lists the rows that cannot be read too, with their reasons")

    def _space(self, survivors: Sequence[Candidate], pace: Pace) -> Space:
        given, task = self._given, self._given.inspection.task
        targets = given.inspection.targets[given.split.train]
        parts = {candidate.key: pace.part_of_a_recipe(candidate, len(targets)) for candidate in survivors}
        survivors = trainable_first(survivors, scores := self._screening.scores, slow(parts))
        full_trials = parts[survivors[0].key] if pace.limited else None
        contexts = {
            candidate.key: StrategyContext(
                candidate=candidate,
                rows=len(targets),
                class_rows=tuple(task.rules.counts(task, targets).values()) if task.rules.exclusive else (),
                metric=task.metric,
                augments=given.augments[candidate.family],
                passes=pace.passes(candidate.key, len(targets)),
                doubtful=is_doubtful(max(scores.values()), task.rules.guess(targets, task.balance), full_trials),
                squared=task.rules.squared,
                teacher=self._teacher is not None,
                stages=self._screening.stages[candidate.key],
                costs=bool(task.costs),
            )
            for candidate in survivors
        }
        sound = vetted(plugins().strategies, plugins().regularizers, survivors, contexts)
        for complaint in sound.complaints:
            self._events.emit("note", text=complaint)
        return Space(survivors, sound.strategies, sound.regularizers, contexts)

    def _run_trials(self, survivors: Sequence[Candidate]) -> None:
        self._phase("searching")
        pace, split = self._pace, self._given.split
        self._floor.go_on(survivors, split.train, split.valid)
        space = self._space(survivors, pace)
        trials = self._begin_trials(space)
        portfolio, count = self._what_comes_first(space), self._request.trials or math.inf
        if teaching := self._teaching(space):
            self._teach(teaching, trials, portfolio, count)
        else:
            trials.run(portfolio, count)
        if pace.limited and not self._study.get_trials(deepcopy=False):
            text = "no training fits into the time that sees rows enough to be likely to beat a head"
            self._events.emit("note", text=text)
            self._screening.use_time_left()
            self._floor.go_on(survivors, split.train, split.valid, share=LAST_SHARE)
        pace.settle()
        if not pace.to_repeat:  # heads are fitted again in a moment, so time is left
            trials.run(portfolio, count)
        pace.release("folds")
        again = Again(self._given.candidates, space)
        if pace.folds and not self._cross_validate(again):
            self._phase("searching")  # in the time that was kept for it
            trials.run(portfolio, count)
        self._tell_worth(space)
        pace.release("refit")
        self._phase("refitting")
        Refit(self._session, again, Checkpoints(self._folder)).run()
        trials.let_go()

    def _begin_trials(self, space: Space) -> Trials:
        judge, targets = self._session.judge, self._given.inspection.targets[self._given.split.train]
        if judge.best is None:
            raise RunError("no model came of screening, although a backbone could be used")
        log = RunLog(self._folder, self._run_file, targets, device=self._device, noise=judge.noise)
        self._events.listen(lambda event: self._disk.keep(lambda: log(event)))
        scheduler, checkpoints = Scheduler(max(judge.noise, 1e-6), judge.best.score), Checkpoints(self._folder)
        announced = [event.data["trial"] for event in self._past if event.kind == "trial_started"]
        trials = Trials(self._session, space, self._study, scheduler, checkpoints, announced=announced)
        self._disk.gives_way(trials.give_way)
        self._disk.gives_way(judge.give_way)
        self._pace.begin_trials(tuple(space.candidates))
        return trials

    def _what_comes_first(self, space: Space) -> Sequence[TrialConfig]:
        """Before the sampler is free: recipes, and what past runs say of these backbones."""
        learned, foreign = self._portfolio.adapted_to(space) if self._portfolio else ([], {})
        for strategy, entries in foreign.items():
            text = f"{entries} of the portfolio's entries left out: strategy {strategy!r} is not here or does not apply"
            self._events.emit("note", text=text)
        return list(space.portfolio(learned))

    def _teach(self, teaching: Teaching, trials: Trials, portfolio: Sequence[TrialConfig], count: float) -> None:
        """What was found teaches what keeps the limits, in time that is kept for it."""
        pace = self._pace
        folds, pace.folds = pace.folds, 0  # the teacher will have seen all rows that train
        pace.keep_tail(teaching.share)
        trials.run(portfolio, count - 1)
        pace.release_tail()
        lessons = teaching.run()
        pace.folds = 0 if lessons else folds
        trials.run([*lessons, *portfolio], count, urgent=bool(lessons))

    def _cross_validate(self, again: Again) -> bool:
        """Whether all of the answer's models were judged by the other parts of the table."""
        self._phase("cross-validating")
        rows, outputs = len(self._given.inspection.targets), len(self._run_file.task.outputs)
        return CrossValidation(self._session, again, Twins(self._folder, rows=rows, outputs=outputs)).run()

    def _tell_worth(self, space: Space) -> None:
        """Of transfer, and of what strategies add to it."""
        judge = self._session.judge
        if found := verdict(judge.models, space, judge.lead, judge.score, self._given.split.groups):
            self._events.emit("transfer", **dataclasses.asdict(found))
        for compared in comparisons(judge.models, space, judge.lead):
            self._events.emit("compared", **dataclasses.asdict(compared))

    def _teaching(self, space: Space) -> Teaching | None:
        """Where limits are given, somebody could learn from what breaks them, and there is time for it."""
        given, pace, screening = self._given, self._pace, self._screening
        if not self._request.limits.given or self._teacher is not None or not space.lessons():
            return None
        published = next(space.portfolio())
        if pace.limited and space.context(published.backbone).passes < ENOUGH_TRIALS * space.work(published).passes:
            return None
        barred = [*given.too_large, *screening.too_slow]
        return Teaching(self._session, space, barred, screening)

    # ---------------------------------------------------------------- finish

    def _finish(self, interrupted: bool) -> bool:
        """Returns whether the search was interrupted, be it now."""
        self._phase("finishing")
        if not self._has_answer:
            words = self._dialogue.last_words()
            told = f" (the worker's last words: {words})" if words else ""
            if interrupted or not self._pace.limited:
                raise RunError(f"no model was ready when the search ended{told}")
            minutes = max(round(2 * self._pace.clock.seconds / 60), 1)
            raise RunError(f"no model was ready when the time was up{told}; give more of it: --budget {minutes}m")
        if self._given.test and not interrupted:
            try:
                reply = self._dialogue.test(self._given.test)
                found = {name: value for name, value in reply.items() if name != "say"}
                self._events.emit("tested", **found, learned=self._given.audit.facts["test_rows_learned"])
            except (OutOfTime, TrialError) as error:
                reason = str(error) or "no time was left"
                self._events.emit("note", text=f"the test rows were not scored ({reason}): use 'autotl evaluate'")
            except KeyboardInterrupt:
                interrupted = True
                self._events.emit("note", text="the test rows were not scored: use 'autotl evaluate'")
        card = read_card(find_bundle(self._folder))
        self._events.emit(
            "finished", score=card.score, interval=card.interval, optimism=card.optimism, models=card.describe(),
            metric=card.task.metric, seconds=self._pace.clock.elapsed,
            forecast_error=forecast_error(self._board.events),
        )  # fmt: skip
        self._board.write()
        self._dialogue.close()
        memory = max(peak_memory() + self._dialogue.memory, self._run_file.memory)
        state = "interrupted" if interrupted else "finished"
        self._update(state=state, seconds=self._pace.clock.elapsed, memory=memory)
        with self._ledger.book("reporting"):
            seconds = self._pace.reporting_seconds(interrupted=interrupted)
            if note := report_in_time(self._folder, self._given.inspection, seconds):
                self._events.emit("note", text=note)
        return interrupted

    def _phase(self, name: str) -> None:
        self._events.emit("phase", name=name)

    def _update(self, **changes: Any) -> None:
        self._run_file = self._run_file.model_copy(update={"ledger": self._ledger.seconds, **changes})
        self._disk.keep(lambda: self._run_file.write(self._folder))
