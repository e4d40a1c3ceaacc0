"""How long trials were forecast to take, and how long they took."""

from __future__ import annotations

import csv
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from contest import apart
from material import Table

from autotl.events import Event, read_events

#: Rows of the tables that are searched: thirty trials on whole ones would take hours.
ROWS = 500

#: What follows the trials, which is as long as some of them together, and forecast by what they took.
_AFTERWARDS = {"cross-validating", "refitting", "finishing"}


def forecast_errors(table: Table, models: Path, *, trials: int) -> dict[str, Any]:
    """``|seconds / forecast - 1|`` of a search's trials, each as far as it came: most are given up on their way."""
    with tempfile.TemporaryDirectory() as folder:
        run, part = Path(folder) / "run", Path(folder) / "part.csv"
        few = table.first(ROWS)
        cells = [str(Path(cell).absolute()) if table.modality == "image" else cell for cell in few.cells]
        with part.open("w", encoding="utf-8", newline="") as file:
            labels = (f"class {label}" for label in few.labels)
            csv.writer(file).writerows([(table.modality, "label"), *zip(cells, labels, strict=True)])
        command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", part, "--models", models]
        command += ["--trials", str(trials), "--quiet", "--out", run]
        events = _until_trials_ended(command, run, apart(Path(folder) / "cache"))
    planned = {event.data["trial"]: event.data["planned_seconds"] for event in events if event.kind == "trial_started"}
    came = {event.data["trial"]: event.data["permille"] for event in events if event.kind == "progress"}
    taken = {event.data["trial"]: event.data["seconds"] for event in events if event.kind == "trial_ended"}
    forecast = {trial: planned[trial] * came[trial] / 1000 for trial in taken if trial in came}
    errors = [abs(taken[trial] / seconds - 1) for trial, seconds in forecast.items()]
    return {
        "table": table.name,
        "trials": len(errors),
        "to their end": sum(came[trial] == 1000 for trial in forecast),
        "median error": statistics.median(errors),
        "largest error": max(errors),
        "forecast": {str(trial): round(seconds, 2) for trial, seconds in forecast.items()},
        "taken": {str(trial): round(taken[trial], 2) for trial in forecast},
    }


def _until_trials_ended(command: Sequence[object], run: Path, environment: dict[str, str]) -> list[Event]:
    """The events of a search, which is killed when the last of its trials has ended."""
    process = subprocess.Popen([str(part) for part in command], env=environment, start_new_session=True)
    try:
        while process.poll() is None:
            events = read_events(run / "events.jsonl")
            if any(event.kind == "phase" and event.data["name"] in _AFTERWARDS for event in events):
                break
            time.sleep(0.5)
    finally:
        with suppress(ProcessLookupError):  # its worker too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return read_events(run / "events.jsonl")
