"""How long trials were forecast to take, and how long they took."""

from __future__ import annotations

import csv
import os
import signal
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

#: Long enough for more trials than are wanted; a search without a budget races no precisions, and has no rungs.
BUDGET = "20m"

#: What follows the trials, where these come to their end before.
_AFTERWARDS = {"cross-validating", "refitting", "finishing"}


def forecast_errors(table: Table, models: Path, *, trials: int) -> dict[str, Any]:
    """``|seconds / forecast - 1|`` of a search's first trials, each as far as it came: most are paused on their way."""
    with tempfile.TemporaryDirectory() as folder:
        run, part = Path(folder) / "run", Path(folder) / "part.csv"
        few = table.first(ROWS)
        cells = [str(Path(cell).absolute()) if table.modality == "image" else cell for cell in few.cells]
        with part.open("w", encoding="utf-8", newline="") as file:
            labels = (f"class {label}" for label in few.labels)
            csv.writer(file).writerows([(table.modality, "label"), *zip(cells, labels, strict=True)])
        command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", part, "--models", models]
        command += ["--budget", BUDGET, "--quiet", "--out", run]
        events = _until_trials_ended(command, run, trials, apart(Path(folder) / "cache"))
    planned = {event.data["trial"]: event.data["planned_seconds"] for event in events if event.kind == "trial_started"}
    came = {event.data["trial"]: event.data["permille"] for event in events if event.kind == "progress"}
    taken = {event.data["trial"]: event.data["seconds"] for event in events if event.kind == "trial_ended"}
    forecast = {trial: planned[trial] * came[trial] / 1000 for trial in taken if trial in came}
    errors = [abs(taken[trial] / seconds - 1) for trial, seconds in forecast.items()]
    return {
        "table": table.name,
        "trials": len(errors),
        "to their end": sum(came[trial] == 1000 for trial in forecast),
        "errors": errors,
        "forecast": {str(trial): round(seconds, 2) for trial, seconds in forecast.items()},
        "taken": {str(trial): round(taken[trial], 2) for trial in forecast},
    }


def _until_trials_ended(command: Sequence[object], run: Path, trials: int, environment: dict[str, str]) -> list[Event]:
    """The events of a search, which is killed when so many of its trials have ended or paused."""
    process = subprocess.Popen([str(part) for part in command], env=environment, start_new_session=True)
    try:
        while process.poll() is None:
            events = read_events(run / "events.jsonl")
            over = any(event.kind == "phase" and event.data["name"] in _AFTERWARDS for event in events)
            if over or len({event.data["trial"] for event in events if event.kind == "trial_ended"}) >= trials:
                break
            time.sleep(0.5)
    finally:
        with suppress(ProcessLookupError):  # its worker too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return read_events(run / "events.jsonl")
