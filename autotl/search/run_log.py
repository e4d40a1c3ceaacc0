"""``trials.jsonl``: what became of each configuration, one line a trial, in a format that later versions read too.

It holds no cell, no label, no path and no name of a person or machine, so that it can be shared. A backbone goes by the
name that its family gives it, which for one from a folder may be the folder's own name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from autotl.errors import RunError
from autotl.events import Event, read_events
from autotl.files import append_line
from autotl.plugins.contracts import Modality, Value
from autotl.runs.folder import EVENTS_FILE, RUN_LOG_FILE
from autotl.runs.run_file import RunFile
from autotl.untrusted import parse_json, read_lines
from autotl.usage import cores


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class TaskFacts(_Facts):
    """What is known of a task without its data."""

    data: str  #: a digest of inputs and labels: equal for equal data
    modality: Modality
    kind: str
    metric: str
    rows: int  #: of the training part
    classes: int  #: or labels, or numbers
    largest_class: float  #: share of the training rows; of other kinds the largest stratum
    log10_budget: float | None  #: of the seconds; None where trials were counted


class MachineFacts(_Facts):
    """What decides how much fits into a budget."""

    cores: int
    device: str  #: "cpu" or "cuda"


class BackboneFacts(_Facts):
    """The backbone of a trial."""

    key: str
    parameters: int
    licence: str


class TrialLine(_Facts):
    """One trial; the later of two lines with the same run and trial is the one that counts."""

    format: Literal[1] = 1
    run: str  #: drawn by chance
    trial: int
    task: TaskFacts
    machine: MachineFacts
    backbone: BackboneFacts
    strategy: str
    settings: dict[str, Value]
    units: dict[str, Value]  #: the same as the sampler knows them: numbers from 0 to 1, and words
    curve: tuple[tuple[int, float, float], ...]  #: (permille, seconds of the trial until then, score)
    score: float | None  #: the last one, higher is better
    state: Literal["complete", "dropped", "failed", "cut", "paused"]  #: paused: when the search ended
    reason_kind: str  #: an `errors.FailureKind` where the trial failed, else empty
    seconds: float
    planned_seconds: float
    floor: float  #: score of the best head on frozen features, or of a bag of words
    noise: float  #: standard error of a score on the validation rows


@dataclass
class _Known:
    """What the events have told of a trial so far."""

    backbone: str
    strategy: str
    settings: dict[str, Value]
    units: dict[str, Value]
    planned: float
    began: float  #: of this stretch, in seconds of the run
    before: float = 0.0  #: seconds of earlier stretches
    seconds: float = 0.0
    curve: dict[int, tuple[float, float]] = field(default_factory=dict)  #: permille to seconds, score
    ended: Mapping[str, Any] = field(default_factory=dict)  #: the last ``trial_ended``


class RunLog:
    """Listens to a run's events and writes a line for every trial that ends.

    It begins with the events of the past, so that a search which is resumed knows the trials that it takes up, and
    writes what a kill kept from being written. Nothing is written twice.
    """

    def __init__(self, folder: Path, run: RunFile, targets: np.ndarray, *, device: str, noise: float) -> None:
        """folder: of the run. targets: of the training rows. noise: standard error of a score."""
        self._path = folder / RUN_LOG_FILE
        self._run, self._noise = run.id, noise
        budget = run.request.budget_seconds
        self._task = TaskFacts(
            data=run.data_fingerprint,
            modality=run.task.modality,
            kind=run.task.kind,
            metric=run.task.metric,
            rows=len(targets),
            classes=len(run.task.outputs),
            largest_class=round(np.bincount(run.task.rules.strata(targets)).max() / len(targets), 4),
            log10_budget=None if budget is None else round(math.log10(budget), 4),
        )
        self._machine = MachineFacts(cores=cores(), device=device.partition(":")[0])
        self._floor = -math.inf
        self._backbones: dict[str, BackboneFacts] = {}
        self._trials: dict[int, _Known] = {}
        written, _ = _read(self._path)
        self._written = {(line.trial, line.state, line.seconds) for line in written}
        for event in read_events(folder / EVENTS_FILE):
            self(event)

    def __call__(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "head":
                self._floor = max(self._floor, data["score"])
            case "screened":
                self._backbones[data["backbone"]] = BackboneFacts(
                    key=data["backbone"], parameters=data["parameters"], licence=data["licence"]
                )
            case "trial_started":
                settings = {name: data[name] for name in data["units"]}
                self._trials[data["trial"]] = _Known(
                    data["backbone"], data["strategy"], settings, data["units"], data["planned_seconds"], event.at
                )
            case "trial_continued" | "progress" | "trial_ended" if data["trial"] in self._trials:
                self._hear(data["trial"], event)
            case "finished":
                for number, known in self._trials.items():
                    if known.ended.get("state") == "paused":
                        self._write(number, known)

    def _hear(self, number: int, event: Event) -> None:
        """What happens to a trial that was seen to start; one that failed before leaves nothing to learn from."""
        known, data = self._trials[number], event.data
        match event.kind:
            case "trial_continued":
                known.began, known.before, known.ended = event.at, known.seconds, {}
            case "progress":
                known.seconds = known.before + event.at - known.began
                known.curve[data["permille"]] = (round(known.seconds, 3), data["score"])
            case "trial_ended":
                known.seconds, known.ended = data["seconds"], data
                if data["state"] != "paused":
                    self._write(number, known)

    def _write(self, number: int, known: _Known) -> None:
        state, seconds = known.ended["state"], round(known.seconds, 3)
        if (number, state, seconds) in self._written:
            return
        line = TrialLine(
            run=self._run,
            trial=number,
            task=self._task,
            machine=self._machine,
            backbone=self._backbones[known.backbone],
            strategy=known.strategy,
            settings=known.settings,
            units=known.units,
            curve=tuple((permille, *point) for permille, point in sorted(known.curve.items())),
            score=known.ended["score"],
            state=state,
            reason_kind=known.ended["reason_kind"],
            seconds=seconds,
            planned_seconds=round(known.planned, 3),
            floor=self._floor,
            noise=self._noise,
        )
        append_line(self._path, line.model_dump_json())
        self._written.add((number, state, seconds))


@dataclass(frozen=True)
class RunLogs:
    """The trials of many runs, each once."""

    trials: tuple[TrialLine, ...]
    skipped: int  #: lines of another format


def read_run_logs(folder: Path) -> RunLogs:
    """The trials of every ``trials.jsonl`` in `folder` and below it. Raises `RunError` when there is none."""
    paths = sorted(folder.rglob(RUN_LOG_FILE))
    if not paths:
        raise RunError(f"{folder}: no {RUN_LOG_FILE} here or below; every search writes one into its run's folder")
    latest: dict[tuple[str, int], TrialLine] = {}
    skipped = 0
    for path in paths:
        lines, others = _read(path)
        latest |= {(line.run, line.trial): line for line in lines}
        skipped += others
    return RunLogs(tuple(latest.values()), skipped)


def _read(path: Path) -> tuple[list[TrialLine], int]:
    """The lines of a file in order, and how many there are of another format; torn ones are passed over.

    Raises `RunError` for a file too large.
    """
    try:
        texts = read_lines(path) if path.exists() else []
    except ValueError as error:
        raise RunError(f"{path} cannot be read ({error})") from error
    lines, others = [], 0
    for text in texts:
        try:
            data = parse_json(text)
        except ValueError:  # a kill came while it was written
            continue
        try:
            lines.append(TrialLine.model_validate(data))
        except ValidationError:
            others += 1
    return lines, others
