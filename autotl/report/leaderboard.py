"""The leaderboard of a run, read from its events."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotl.escaping import for_csv
from autotl.events import HEAD_STRATEGY, Event
from autotl.files import write_durably
from autotl.runs.folder import LEADERBOARD_FILE

_OF_A_TRIAL = {"progress", "trial_ended", "trial_continued", "incumbent"}


@dataclass
class Row:
    """One model: a trial, a head that screening left, or the mean of some of them."""

    name: str  #: the trial's number, "head", or "mean"
    backbone: str = ""
    strategy: str = ""
    state: str = "running"  #: running, complete, paused, dropped, failed, cut
    score: float | None = None  #: of the weights that it left: the saved ones, or else its last
    seconds: float = 0.0
    settings: dict[str, float | str] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)  #: (permille, score)
    reason: str = ""
    best: bool = False  #: whether its weights are in the bundle
    share: float = 0.0  #: of the bundle's answer


def leaderboard(events: Sequence[Event]) -> list[Row]:
    """The rows of a run, best first; trials without a score last."""
    rows: dict[int | str, Row] = {}
    before: dict[int | str, float] = {}  #: shares of the last answer
    for event in events:
        data = event.data
        if event.kind in _OF_A_TRIAL and data["trial"] not in rows:
            continue  # a kill kept its start out of the log
        if event.kind == "trial_started":
            settings = {name: data[name] for name in data["units"]}
            rows[data["trial"]] = Row(str(data["trial"]), data["backbone"], data["strategy"], settings=settings)
        elif event.kind == "head":
            rows[data["trial"]] = Row("head", data["backbone"], HEAD_STRATEGY, "complete", data["score"])
        elif event.kind == "progress":
            row = rows[data["trial"]]
            row.curve.append((data["permille"], data["score"]))
            if not row.best or data["permille"] >= 1000:  # else the saved weights are older
                row.score = data["score"]
        elif event.kind == "trial_ended":
            row = rows[data["trial"]]
            row.state, row.seconds, row.reason = data["state"], data["seconds"], data["reason"]
        elif event.kind == "trial_continued":
            rows[data["trial"]].state = "running"
        elif event.kind == "incumbent":
            rows[data["trial"]].score = data["score"]
        elif event.kind == "answer":
            rows.pop("mean", None)
            if len(data["members"]) > 1:
                rows["mean"] = Row("mean", f"{len(data['members'])} models", "mean", "complete", data["score"])
            shares = {member["trial"]: member["share"] for member in data["members"]} | {"mean": 1.0}
            for key in before.keys() | shares.keys():
                if key in rows:
                    share = shares.get(key, 0.0)
                    rows[key].share, rows[key].best = share, share > 0
            before = shares
    return sorted(rows.values(), key=lambda row: (row.score is None, -(row.score or 0.0)))


def write_leaderboard(folder: Path, events: Sequence[Event]) -> None:
    """Writes ``leaderboard.csv``: one row a model, settings as columns of their own."""
    rows = leaderboard(events)
    names = sorted({name for row in rows for name in row.settings})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["trial", "best", "share", "score", "backbone", "strategy", "state", "seconds", "reason"]
    writer.writerow([*columns, *map(for_csv, names)])
    for row in rows:
        score = "" if row.score is None else f"{row.score:.6f}"
        share = f"{row.share:.4f}" if row.best else ""
        fixed = [row.name, "yes" if row.best else "", share, score, row.backbone, row.strategy, row.state]
        settings = [row.settings.get(name, "") for name in names]
        writer.writerow(map(for_csv, [*fixed, f"{row.seconds:.1f}", row.reason, *settings]))
    write_durably(folder / LEADERBOARD_FILE, text.getvalue())


def last_test(events: Sequence[Event]) -> dict[str, Any] | None:
    """What test rows said of the last answer, as ``tested`` has it; None where they said nothing of that one."""
    test: dict[str, Any] | None = None
    answer: tuple[Any, ...] = ()
    for event in events:
        if event.kind == "tested":
            test = event.data
        elif event.kind == "refit":
            test = None
        elif event.kind == "answer":  # a run that goes on tells the one that it has once more
            before, answer = answer, (event.data["members"], event.data["score"])
            test = test if answer == before else None
    return test


def forecast_error(events: Sequence[Event]) -> float | None:
    """Median of ``|seconds / forecast - 1|`` over the trials that ran to their end; None when there is none."""
    planned: dict[int, float] = {}
    errors = []
    for event in events:
        if event.kind == "trial_started":
            planned[event.data["trial"]] = event.data["planned_seconds"]
        elif event.kind == "trial_ended" and event.data["state"] == "complete" and planned.get(event.data["trial"]):
            errors.append(abs(event.data["seconds"] / planned[event.data["trial"]] - 1.0))
    return statistics.median(errors) if errors else None
