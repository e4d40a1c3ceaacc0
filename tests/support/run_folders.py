"""What tests of whole searches read from a run's folder, and how they watch its processes."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from autotl.events import read_events
from autotl.runs.folder import CHECKPOINTS_FOLDER

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")


def children(parent: int) -> list[int]:
    """Processes that `parent` started and that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, mother = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:  # it ended while we looked
                continue
            if int(mother) == parent and state != "Z":
                found.append(int(entry.name))
    return found


def alive(process: int) -> bool:
    """Whether any of its threads is: the first may have ended while others still do."""
    try:
        threads = [task.read_text() for task in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:
        return False
    return any(thread.rpartition(")")[2].split()[0] != "Z" for thread in threads)


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def trials(folder):
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    return optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage).trials


def states(folder) -> dict[int, TrialState]:
    return {trial.number: trial.state for trial in trials(folder)}


def leaderboard(folder) -> list[dict[str, str]]:
    """Rows of leaderboard.csv without what differs from one run to the next: the seconds."""
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def events(folder, kind):
    return [event.data for event in read_events(folder / "events.jsonl") if event.kind == kind]


def run_file(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def read_until(process, kind):
    """The first event of a kind that a started ``search --json`` prints."""
    for line in process.stdout:
        if (event := json.loads(line))["kind"] == kind:
            return event
    pytest.fail(f"ended without {kind}: {process.stderr.read()}")


def notes(folder):
    return [note["text"] for note in events(folder, "note")]


def write_checkpoint(run, trial, *, step=0, seconds=0.0):
    """One of a trial that came so far, without weights."""
    checkpoint = run / CHECKPOINTS_FOLDER / f"{trial:04d}.safetensors"
    checkpoint.parent.mkdir(exist_ok=True)
    header = json.dumps({"__metadata__": {"progress": json.dumps({"training": 0, "step": step, "seconds": seconds})}})
    checkpoint.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    return checkpoint
