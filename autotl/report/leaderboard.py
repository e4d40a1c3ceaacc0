"""The leaderboard of a run, read from its events."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autotl.events import Event
from autotl.files import write_durably

LEADERBOARD_FILE = "leaderboard.csv"

_NOT_SETTINGS = {"trial", "backbone", "strategy", "planned_seconds"}


@dataclass
class Row:
    """One model: a trial, or the head that screening left (trial -1)."""

    trial: int
    backbone: str = ""
    strategy: str = ""
    state: str = "running"  #: running, complete, dropped, failed, cut
    score: float | None = None  #: of the weights that it left: the saved ones, or else its last
    seconds: float = 0.0
    settings: dict[str, float | str] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)  #: (permille, score)
    reason: str = ""
    best: bool = False  #: whether its weights are in the bundle

    @property
    def name(self) -> str:
        return "screening" if self.trial < 0 else str(self.trial)


def leaderboard(events: Sequence[Event]) -> list[Row]:
    """The rows of a run, best first; trials without a score last."""
    rows: dict[int, Row] = {}
    for event in events:
        data = event.data
        if event.kind == "trial_started":
            settings = {name: value for name, value in data.items() if name not in _NOT_SETTINGS}
            rows[data["trial"]] = Row(data["trial"], data["backbone"], data["strategy"], settings=settings)
        elif event.kind == "progress":
            row = rows[data["trial"]]
            row.curve.append((data["permille"], data["score"]))
            if not row.best or row.score is None or data["score"] > row.score:  # else the saved weights are older
                row.score = data["score"]
        elif event.kind == "trial_ended":
            row = rows[data["trial"]]
            row.state, row.seconds, row.reason = data["state"], data["seconds"], data["reason"]
        elif event.kind == "incumbent":
            for row in rows.values():
                row.best = False
            if data["trial"] < 0:  # a later head may be another backbone's
                rows[data["trial"]] = Row(data["trial"], data["backbone"], data["strategy"], "complete")
            row = rows[data["trial"]]
            row.best, row.score = True, data["score"]
    return sorted(rows.values(), key=lambda row: (row.score is None, -(row.score or 0.0), row.trial))


def write_leaderboard(folder: Path, events: Sequence[Event]) -> None:
    """Writes ``leaderboard.csv``: one row a model, settings as columns of their own."""
    rows = leaderboard(events)
    names = sorted({name for row in rows for name in row.settings})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "best", "score", "backbone", "strategy", "state", "seconds", "reason", *names])
    for row in rows:
        score = "" if row.score is None else f"{row.score:.6f}"
        fixed = [row.name, "yes" if row.best else "", score, row.backbone, row.strategy, row.state]
        writer.writerow([*fixed, f"{row.seconds:.1f}", row.reason, *(row.settings.get(name, "") for name in names)])
    write_durably(folder / LEADERBOARD_FILE, text.getvalue())


def forecast_error(events: Sequence[Event]) -> float | None:
    """Median of ``|seconds / forecast - 1|`` over the trials that ran to their end; None when there is none."""
    planned: dict[int, float] = {}
    errors = []
    for event in events:
        if event.kind == "trial_started":
            planned[event.data["trial"]] = event.data["planned_seconds"]
        elif event.kind == "trial_ended" and event.data["state"] == "complete":
            errors.append(abs(event.data["seconds"] / planned[event.data["trial"]] - 1.0))
    return statistics.median(errors) if errors else None
