"""The engine: spends a budget on one table. It schedules, asks Optuna, judges, and never touches torch.

The phases are prepare, screen, trials, finish. Each can be cut at any moment: what is on disk is whole, the worker
is killed when it does not answer in time, and the end comes with the best model so far.
"""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import shutil
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState

from autotl.budget import Clock
from autotl.config import SearchRequest, create_run_folder
from autotl.errors import DataError, RunError, TrialError, ZooError
from autotl.events import EventLog, Listener, read_events
from autotl.plugins.contracts import Candidate, Value
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import BundleCard, Member, find_bundle, read_card
from autotl.predictor.combination import Decision
from autotl.report.leaderboard import forecast_error, write_leaderboard
from autotl.search.incumbent import DEFAULT_TRIAL, Incumbent, Judged
from autotl.search.line import EngineEnd, Message, WorkerGone
from autotl.search.pace import Length, Pace
from autotl.search.preparation import prepare
from autotl.search.run_file import EVENTS_FILE, RunFile, fingerprint, read_run_file, versions
from autotl.search.shelf import Model, Shelf
from autotl.search.space import Space, TrialConfig
from autotl.search.study import book_interrupted, open_study

if TYPE_CHECKING:
    import pandas as pd

#: Backbones that go on from screening: never one, because proxies rank near equals by luck (Renggli et al. 2022).
SURVIVORS = 3

#: The same failure this often in a row is not the trials' fault.
SAME_FAILURES = 5

#: Unreadable rows that are named one by one; beyond that a count is easier to read.
NAMED = 5

SET_UP = "set up"

LOG_FILE = "worker.log"


class _OutOfTime(Exception):
    """The worker did not answer before the time was up."""


@dataclass(frozen=True)
class Outcome:
    """How a search ended."""

    folder: Path
    interrupted: bool
    test: Message | None


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
        resumed: RunFile | None = None,
    ) -> None:
        """start: when the process began, on the monotonic clock. frame: the data when it is not a file.

        resumed: what the run folder knew; without it the folder is new. Nothing is read or written yet.
        """
        self._request = request
        self._folder = folder
        self._frame = frame
        self._resumed = resumed
        used = resumed.seconds if resumed else 0.0
        began = (time.monotonic() if start is None else start) - used
        self._pace = Pace(Clock(request.budget_seconds or math.inf, start=began))
        self._listeners = list(listeners)
        self._test_result: Message | None = None
        self._failures: list[str] = []
        self._unreadable: set[str] = set()
        self._last_score = 0.0
        self._passes_of_answer = 1
        self._default: dict[str, Value] = {}
        self._phase_name, self._phase_began = "", 0.0

    def run(self) -> Outcome:
        """Searches until the budget is spent; Ctrl-C ends it early, with the best model so far.

        Raises `AutoTLError` for input that cannot be used, before anything is written.
        """
        new_folders = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        if self._resumed is None:
            create_run_folder(self._folder)
        self._worker = EngineEnd(self._folder / LOG_FILE)
        self._events = EventLog(self._folder / EVENTS_FILE, lambda: self._pace.clock.elapsed, self._listeners)
        interrupted = False
        try:
            self._prepare()
            with suppress(_OutOfTime):
                try:
                    self._screen()
                    self._run_trials()
                except KeyboardInterrupt:
                    interrupted = True
                    self._worker.close()
            self._finish(interrupted)
        except BaseException:  # Ctrl-C before there is a model too: nothing must lie in the next run's way
            self._leave_nothing(new_folders)
            raise
        finally:
            self._worker.close()
            self._events.close()
        return Outcome(self._folder, interrupted, self._test_result)

    # ---------------------------------------------------------------- prepare

    def _prepare(self) -> None:
        self._phase("reading")
        request = self._request
        self._given = given = prepare(request, self._frame)
        inspection = given.inspection
        self._run_file = RunFile(
            state="running",
            request=request,
            task=inspection.task,
            data_fingerprint=fingerprint(inspection),
            rows={"training": len(given.train), "validation": len(given.valid), "set aside": len(inspection.set_aside)},
            survivors=self._resumed.survivors if self._resumed else (),
            ledger=self._resumed.ledger if self._resumed else {},
            versions=versions(),
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        )
        if self._resumed and self._resumed.data_fingerprint != self._run_file.data_fingerprint:
            raise RunError(f"{request.data} has changed since this run began; start a new search with --out")
        self._run_file.write(self._folder)
        self._study = open_study(self._folder, seed=request.seed)
        self._incumbent = Incumbent(inspection.task.metric, inspection.labels, training_rows=len(given.train))
        self._shelf = Shelf(self._folder, inspection.task, inspection.labels, self._run_file.versions)
        self._announce()
        self._worker.tell(do="set_up", **given.for_worker(request, self._folder))

    def _announce(self) -> None:
        inspection, rows = self._given.inspection, self._run_file.rows
        task = inspection.task
        for role in inspection.roles:
            self._events.emit("role", column=role.name, role=role.role, evidence=role.evidence)
        self._events.emit(
            "task", task=task.kind, target=task.target, input=task.input.name, modality=task.modality,
            classes=list(task.classes), metric=task.metric, rows=rows,
        )  # fmt: skip
        for note in inspection.notes:
            self._events.emit("note", text=note)
        if self._given.hub_missed:
            self._events.emit("note", text="the model hub is not reachable: searching what is on this machine")

    def _leave_nothing(self, new_folders: Sequence[Path]) -> None:
        """A new run that ends without a model leaves no folder behind, to be in the way of the next one."""
        self._worker.close()
        self._events.close()
        if self._resumed is None and not (self._folder / "best").exists():
            for path in self._folder.iterdir():  # all made by this run, which refuses a folder with contents
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for folder in new_folders:
                folder.rmdir()

    # ---------------------------------------------------------------- screen

    def _screen(self) -> None:
        self._phase("screening")
        self._converse(None, SET_UP)
        known = self._run_file.survivors
        candidates = [c for c in self._given.candidates if c.key in known or not known]
        if self._resumed:
            self._restore_models()
        scores: dict[str, float] = {}
        refused: list[str] = []
        for position, candidate in enumerate(candidates):
            seconds = self._pace.screening_seconds(len(candidates) - position, needed=not scores or bool(known))
            if seconds is not None and seconds <= 0:
                self._events.emit("note", text=f"{candidate.key} was not screened: no time for it in this budget")
                continue
            try:
                scores[candidate.key] = self._screen_one(candidate, seconds)
            except TrialError as error:
                refused.append(str(error))
                self._events.emit("note", text=f"{candidate.key} cannot be used: {error}")
        if not scores:
            raise ZooError("no backbone could be used: " + "; ".join(refused))
        survivors = known or tuple(sorted(scores, key=lambda key: -scores[key])[:SURVIVORS])
        chosen = {candidate.key: candidate for candidate in candidates if candidate.key in scores}
        self._survivors = [chosen[key] for key in survivors if key in chosen]
        self._update(survivors=survivors)
        if not known:
            for candidate in self._survivors:
                if candidate is self._survivors[0] or self._pace.time_for_a_head(candidate.key, self._test_seconds()):
                    with suppress(TrialError):  # the first one stands
                        self._offer_head(candidate, quick=False)

    def _screen_one(self, candidate: Candidate, seconds: float | None) -> float:
        """Screening score: leave-one-out accuracy, with the static prior deciding between near equals."""
        began = self._pace.clock.elapsed
        self._tell(do="screen", candidate=dataclasses.asdict(candidate), seconds=seconds)
        answer = self._converse(None, candidate.key)
        accuracy, rows = answer["ridge_accuracy"], answer["rows"]
        self._pace.learn_forward(candidate.key, answer["seconds_a_row"])
        self._note_unreadable(answer["unreadable"])
        if self._incumbent.held_by is None:
            self._offer_head(candidate, quick=True)
        self._events.emit(
            "screened", backbone=candidate.key, score=accuracy, rows=rows, precision=answer["precision"],
            parameters=candidate.parameters, seconds=self._pace.clock.elapsed - began,
        )  # fmt: skip
        noise = math.sqrt(accuracy * (1 - accuracy) / rows)
        return float(accuracy + noise * candidate.prior)

    def _offer_head(self, candidate: Candidate, *, quick: bool) -> None:
        """A head on what screening saw of a backbone, as a model of its own: the first bundle, or a better one."""
        number = -1 - self._given.candidates.index(candidate)
        name = f"head{number}-quick" if quick else f"head{number}"  # the better one may be the quick one, by luck
        self._tell(do="head", candidate=dataclasses.asdict(candidate), name=name, quick=quick)
        self._converse(number, candidate.key, TrialConfig(candidate.key, "probe", {}))

    def _note_unreadable(self, rows: list[str]) -> None:
        """Names rows that are left out because they cannot be read, once."""
        fresh = [row for row in rows if row not in self._unreadable]
        for row in fresh[:NAMED]:
            self._events.emit("note", text=f"left out: {row}")
        if len(fresh) > NAMED:
            self._events.emit("note", text=f"left out: {len(fresh) - NAMED} more rows that cannot be read")
        self._unreadable |= set(rows)

    def _restore_models(self) -> None:
        """What an earlier process left; the same rule on the same models makes the same one the incumbent."""
        for judged in self._shelf.restore():
            if self._incumbent.yields_to(judged):
                self._incumbent.replace(judged)

    # ---------------------------------------------------------------- trials

    def _run_trials(self) -> None:
        self._phase("searching")
        self._space = Space(
            self._survivors,
            plugins().strategies,
            rows=len(self._given.train),
            classes=len(self._given.inspection.task.classes),
            augments={candidate.key: self._given.augments[candidate.family] for candidate in self._survivors},
            passes={
                candidate.key: self._pace.passes(candidate.key, len(self._given.train), self._test_seconds())
                for candidate in self._survivors
            },
        )
        past = self._study.get_trials(deepcopy=False)
        if past:
            self._default = dict(past[0].params)
        ended = read_events(self._folder / EVENTS_FILE) if self._resumed else []
        cut = {event.data["trial"] for event in ended if event.data.get("state") == "cut"}
        queue = deque(book_interrupted(self._study, cut))
        queue += [config for config in self._space.portfolio() if config.flat not in [trial.params for trial in past]]
        done = sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))
        while self._pace.time_for_a_trial(self._test_seconds()) and (self._request.trials or math.inf) > done:
            if queue:
                self._study.enqueue_trial(queue.popleft().flat)
            self._run_trial(self._study.ask())
            done += 1
            if len(self._failures) >= SAME_FAILURES and len(set(self._failures[-SAME_FAILURES:])) == 1:
                self._events.emit("note", text=f"the last {SAME_FAILURES} trials failed alike: {self._failures[-1]}")
                break

    def _run_trial(self, trial: optuna.Trial) -> None:
        config = self._space.suggest(trial)
        if trial.number == 0:
            self._default = config.flat
        began = self._pace.clock.elapsed
        try:
            length = self._forecast(config)
            self._events.emit("trial_started", trial=trial.number, **config.flat, planned_seconds=length.planned)
            began = self._pace.clock.elapsed
            self._tell(
                do="trial",
                number=trial.number,
                name=f"{trial.number:04d}",
                candidate=dataclasses.asdict(self._space.candidates[config.backbone]),
                strategy=config.strategy,
                settings=dict(config.settings),
                seconds=length.seconds,
                fill_time=length.fill,
            )
            answer = self._converse(trial.number, config.strategy, config, trial)
        except TrialError as error:
            self._study.tell(trial, state=TrialState.FAIL)
            self._failures.append(str(error))
            self._end_trial(trial.number, "failed", None, began, reason=str(error))
            return
        except (_OutOfTime, KeyboardInterrupt):
            self._study.tell(trial, state=TrialState.FAIL)
            self._end_trial(trial.number, "cut", None, began, reason="the time was up")
            raise
        finished = answer["permille"] >= 1000
        self._failures.clear()
        self._study.tell(
            trial, self._last_score if finished else None, TrialState.COMPLETE if finished else TrialState.PRUNED
        )
        if finished and not self._space.work(config).passes:
            self._pace.learn_untrained(config.backbone, config.strategy, self._pace.clock.elapsed - began)
        self._end_trial(trial.number, "complete" if finished else "dropped", self._last_score, began)

    def _forecast(self, config: TrialConfig) -> Length:
        """How long the trial will be: the worker knows how fast each pass is, and what it need not compute again."""
        work, seconds = self._space.work(config), 0.0
        if work.passes:
            candidate = dataclasses.asdict(self._space.candidates[config.backbone])
            self._tell(do="forecast", candidate=candidate, work=dataclasses.asdict(work))
            seconds = self._converse(None, f"forecast of {config.strategy}")["seconds"]
        return self._pace.trial_length(config.backbone, config.strategy, seconds, self._test_seconds())

    def _end_trial(self, number: int, state: str, score: float | None, began: float, *, reason: str = "") -> None:
        seconds = self._pace.clock.elapsed - began
        self._events.emit("trial_ended", trial=number, state=state, score=score, seconds=seconds, reason=reason)
        write_leaderboard(self._folder, read_events(self._folder / EVENTS_FILE))

    # ---------------------------------------------------------------- talking to the worker

    def _converse(
        self,
        number: int | None,
        what: str,
        config: TrialConfig | None = None,
        trial: optuna.Trial | None = None,
    ) -> Message:
        """Hears the worker out on one request, judging what it offers on the way.

        Raises `TrialError` when the request failed, `AutoTLError` when the data is at fault, and `_OutOfTime`.
        """
        while True:
            try:
                reserved = 0.0 if what == "test" else self._test_seconds()
                message = self._worker.hear(self._pace.patience(reserved))
            except TimeoutError:
                self._worker.close()
                raise _OutOfTime from None
            except WorkerGone as error:
                if what == SET_UP:  # a new one would end as this did
                    raise RunError(f"nothing can be trained: {error}") from error
                self._start_again()
                raise
            match message["say"]:
                case "done":
                    return message
                case "failed" if message["fatal"]:
                    raise DataError(message["message"])
                case "failed":
                    raise TrialError(f"{what}: {message['error']}: {message['message']}")
                case "judged" if config is not None and number is not None:
                    self._worker.tell(**self._answer(message, number, config, trial))
                case "saved" if config is not None and number is not None:
                    self._shelve(self._judged(message, number, config), message, number, config)

    def _judged(self, message: Message, number: int, config: TrialConfig) -> Judged:
        default = number >= 0 and config.flat == self._default  # also when it runs again after a kill
        return Judged(
            trial=DEFAULT_TRIAL if default else number,
            permille=message["permille"],
            score=message["score"],
            valid=np.array(message["valid"], np.int64),
            probabilities=np.array(message["probabilities"], np.float32),
        )

    def _answer(self, message: Message, number: int, config: TrialConfig, trial: optuna.Trial | None) -> Message:
        judged = self._judged(message, number, config)
        finished = judged.permille >= 1000
        self._last_score = judged.score
        self._pace.learn_judging(config.backbone, message["seconds"], views=len(message["views"]) if finished else None)
        go_on = True
        if trial is not None:
            self._events.emit(
                "progress", trial=number, permille=judged.permille, score=judged.score, **message["details"]
            )
            trial.report(judged.score, judged.permille)
            go_on = judged.trial == DEFAULT_TRIAL or finished or not trial.should_prune()
        else:
            self._events.emit("head", trial=number, score=judged.score, backbone=config.backbone)
        keep = self._incumbent.yields_to(judged)
        if finished:
            self._shelve(judged, message, number, config)
        left = self._pace.seconds_of_training(config.backbone, self._test_seconds()) if self._pace.limited else None
        return {"do": "answer", "keep": keep, "go_on": go_on, "seconds_left": left}

    def _shelve(self, judged: Judged, message: Message, number: int, config: TrialConfig) -> None:
        """Takes a saved model into account: it may be the incumbent, and it may change the answer."""
        candidate = next(c for c in self._given.candidates if c.key == config.backbone)
        name = message["name"]
        member = Member(
            folder=name,
            family=candidate.family,
            backbone=candidate.key,
            licence=candidate.licence,
            strategy=config.strategy,
            settings=dict(config.settings),
            trial=str(number) if number >= 0 else "head",
        )
        place, rows = self._folder / "trials" / name, message["training_rows"]
        self._shelf.put(Model(name, judged, member, place / message["weights"], rows))
        for view_number, view in enumerate(message["views"], start=1):
            entry = f"{name}-view{view_number}"
            seen = dataclasses.replace(judged, probabilities=np.array(view["probabilities"], np.float32))
            as_seen = member.model_copy(update={"folder": entry})
            self._shelf.put(Model(entry, seen, as_seen, place / view["weights"], rows))
        if self._incumbent.yields_to(judged):
            self._incumbent.replace(judged)
            self._events.emit("incumbent", trial=number, permille=judged.permille, score=judged.score)
        if self._incumbent.held_by is not None:
            self._announce_answer(*self._shelf.answer(self._incumbent.held_by))

    def _announce_answer(self, card: BundleCard, decision: Decision) -> None:
        self._passes_of_answer = len(card.members)
        shares: dict[str, float] = {}
        for member in card.members:
            name = member.folder.partition("-view")[0].removesuffix("-quick")
            shares[name] = shares.get(name, 0.0) + member.share
        self._events.emit(
            "answer", members=[{"trial": name, "share": share} for name, share in shares.items()],
            score=card.score, optimism=decision.optimism, lead=decision.lead, error=decision.error,
            models=card.describe(),
            seconds_a_row=sum(self._pace.forward_seconds(member.backbone) for member in card.members),
        )  # fmt: skip

    def _tell(self, **request: Any) -> None:
        """Asks the worker, or a new one when it died since its last answer, which costs nothing."""
        try:
            self._worker.tell(**request)
        except WorkerGone:
            self._start_again()
            self._worker.tell(**request)

    def _start_again(self) -> None:
        """A new worker for the one that died; it knows the data, and looks through backbones when they are needed."""
        self._worker.close()
        self._worker = EngineEnd(self._folder / LOG_FILE)
        self._worker.tell(do="set_up", **self._given.for_worker(self._request, self._folder))
        self._converse(None, SET_UP)

    # ---------------------------------------------------------------- finish

    def _test_seconds(self) -> float:
        return self._pace.test_seconds(self._given.test_rows * self._passes_of_answer)

    def _finish(self, interrupted: bool) -> None:
        self._phase("finishing")
        if self._incumbent.held_by is None:
            words = (self._folder / LOG_FILE).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            last = f" (the worker's last words: {words[-1]})" if words else ""
            raise RunError(f"no model was ready when the time was up{last}; give more of it: --budget 1m")
        if self._given.test_rows and not interrupted:
            try:
                self._tell(do="test", data=self._request.test)
                self._test_result = self._converse(None, "test")
                self._events.emit("tested", **{k: v for k, v in self._test_result.items() if k != "say"})
            except (_OutOfTime, TrialError) as error:
                reason = str(error) or "no time was left"
                self._events.emit("note", text=f"the test rows were not scored ({reason}): use 'autotl evaluate'")
        card = read_card(find_bundle(self._folder))
        self._events.emit(
            "finished", score=card.score, interval=card.interval, optimism=card.optimism, models=card.describe(),
            metric=card.task.metric, seconds=self._pace.clock.elapsed,
            forecast_error=forecast_error(read_events(self._folder / EVENTS_FILE)),
        )  # fmt: skip
        self._phase("")
        write_leaderboard(self._folder, read_events(self._folder / EVENTS_FILE))
        self._update(state="interrupted" if interrupted else "finished", seconds=self._pace.clock.elapsed)

    def _phase(self, name: str) -> None:
        """Books the seconds of the phase that ends, and announces the next."""
        now = self._pace.clock.elapsed
        if self._phase_name:
            spent = self._run_file.ledger.get(self._phase_name, 0.0) + now - self._phase_began
            self._update(ledger=self._run_file.ledger | {self._phase_name: round(spent, 3)})
        self._phase_name, self._phase_began = name, now
        if name:
            self._events.emit("phase", name=name)

    def _update(self, **changes: Any) -> None:
        self._run_file = self._run_file.model_copy(update=changes)
        self._run_file.write(self._folder)


def resume(
    folder: Path,
    *,
    budget_seconds: float | None = None,
    more_seconds: float = 0.0,
    more_trials: int = 0,
    listeners: Sequence[Listener] = (),
    start: float | None = None,
) -> Outcome:
    """Continues a run: with what is left of its budget, a new total, or so much more.

    Raises `RunError` when there is no run, or no budget left.
    """
    known = read_run_file(folder)
    if known.request.data == "DataFrame":
        raise RunError(f"{folder} was made from a DataFrame, which is gone; save it as a file and search that")
    if more_seconds:
        total: float | None = known.seconds + more_seconds
    else:
        total = budget_seconds or known.request.budget_seconds
    if total is not None and total - known.seconds < 5:
        raise RunError(f"{folder}: its budget of {total:.0f} s is spent; add some, such as --budget +10m")
    counted = known.request.trials
    if more_trials and counted is None:
        raise RunError(f"{folder} has a budget of time and counts no trials; add time, such as --budget +10m")
    # time that is added to a run of so many trials is there to be used
    trials = None if counted is None or more_seconds else counted + more_trials
    request = known.request.model_copy(update={"budget_seconds": total, "trials": trials})
    return Search(request, folder, listeners=listeners, start=start, resumed=known).run()
