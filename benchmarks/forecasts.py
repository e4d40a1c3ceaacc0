"""How long trials were forecast to take, and how long they took."""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from contest import apart
from material import Table

#: Rows of the tables that are searched: thirty trials on whole ones would take hours.
ROWS = 500


def forecast_errors(table: Table, models: Path, *, trials: int) -> dict[str, Any]:
    """Median of ``|seconds / forecast - 1|`` over the trials of a search that ran to their end."""
    with tempfile.TemporaryDirectory() as folder:
        run, part = Path(folder) / "run", Path(folder) / "part.csv"
        few = table.first(ROWS)
        cells = [str(Path(cell).absolute()) if table.modality == "image" else cell for cell in few.cells]
        with part.open("w", encoding="utf-8", newline="") as file:
            labels = (f"class {label}" for label in few.labels)
            csv.writer(file).writerows([(table.modality, "label"), *zip(cells, labels, strict=True)])
        command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", part, "--models", models]
        command += ["--trials", str(trials), "--quiet", "--out", run]
        subprocess.run(command, env=apart(Path(folder) / "cache"), check=True)
        events = [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    planned = {event["trial"]: event["planned_seconds"] for event in events if event["kind"] == "trial_started"}
    taken = {event["trial"]: event["seconds"] for event in events if event.get("state") == "complete"}
    errors = [abs(seconds / planned[trial] - 1) for trial, seconds in taken.items()]
    return {
        "table": table.name,
        "trials to their end": len(errors),
        "median error": statistics.median(errors),
        "largest error": max(errors),
        "forecast": {str(trial): round(planned[trial], 2) for trial in taken},
        "taken": {str(trial): round(seconds, 2) for trial, seconds in taken.items()},
    }
