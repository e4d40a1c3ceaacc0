"""Whether a plugin that hears events can hear those of any run, in time, and leaves the run alone."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import autotl
from autotl.budget import Clock
from autotl.config import SearchRequest
from autotl.data.task import InputColumn, Task
from autotl.events import EventLog
from autotl.plugins.hookspecs import EventContext
from autotl.plugins.manager import plugins
from autotl.runs.folder import EVENTS_FILE
from autotl.runs.run_file import RunFile, versions
from autotl.search.listening import PATIENCE, Listening
from autotl.testing.promises import expect

_CLASSES = {"animal": 30, "plant": 25, "stone": 15}

_TASK: dict[str, Any] = {
    "task": "multiclass", "target": "label", "input": "text", "modality": "text", "classes": list(_CLASSES),
    "asks": "3 classes", "metric": "accuracy", "rows": {"training": 60, "validation": 10, "set aside": 1},
}  # fmt: skip

READING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("phase", {"name": "reading"}),
    ("role", {"column": "text", "role": "text", "evidence": "10.1 words on average"}),
    ("task", _TASK),
    ("audit", {
        "rows": 69, "class_counts": _CLASSES, "input": {"unit": "words", "least": 3, "median": 10.0, "most": 37},
        "repeats": 0, "near_repeats": 0, "texts_compared": 70, "test_rows_learned": 0, "set_aside": {"conflict": 1},
        "shortcut": None, "split": "holdout of 10 of 70 rows", "seconds": 0.1,
    }),
    ("note", {"text": "class 'animal' has 30 rows, 'stone' only 15"}),
)  # fmt: skip


def _answer(trial: int, score: float) -> dict[str, Any]:
    return {
        "members": [{"trial": trial, "share": 1.0}], "score": score, "optimism": 0.0, "lead": 0.0, "error": 0.0,
        "models": "finetune of tiny/one", "latency": 0.001, "single_score": score, "single_latency": 0.001,
    }  # fmt: skip


def _started(trial: int, **settings: float | str) -> tuple[str, dict[str, Any]]:
    units = {name: value if isinstance(value, str) else 0.5 for name, value in settings.items()}
    known = {"trial": trial, "backbone": "tiny/one", "strategy": "finetune", **settings, "units": units}
    return "trial_started", {**known, "planned_seconds": 2.0, "why": "sampler"}


def _progress(trial: int, permille: int, score: float) -> tuple[str, dict[str, Any]]:
    return "progress", {"trial": trial, "permille": permille, "score": score, "steps": 10.0, "loss": 0.7}


def _ended(trial: int, state: str, score: float | None, reason: str = "", kind: str = "") -> tuple[str, dict[str, Any]]:
    known = {"trial": trial, "state": state, "score": score, "seconds": 1.5}
    return "trial_ended", {**known, "reason": reason, "reason_kind": kind}


SCREENING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("phase", {"name": "screening"}),
    ("head", {"trial": -1, "score": 0.6, "backbone": "tiny/one", "latency": 0.001}),
    ("incumbent", {"trial": -1, "permille": 1000, "score": 0.6}),
    ("answer", _answer(-1, 0.6)),
    ("screened", {
        "backbone": "tiny/one", "score": 0.6, "metric": "accuracy", "rows": 60, "precision": "fp32",
        "parameters": 2000, "licence": "mit",
        "opinions": {"evidence": -0.3}, "features": 96, "bytes_a_row": 24.0, "latency": 0.001, "memory": 600_000_000,
        "seconds": 0.5,
    }),
    ("floor", {"majority": 0.4, "words": 0.5}),
    ("phase", {"name": "searching"}),
    ("shape", {"full_trials": 9.0, "rungs": [111]}),
)  # fmt: skip

#: Trials that end in each way that there is.
TRIALS: tuple[tuple[str, dict[str, Any]], ...] = (
    _started(0, learning_rate_multiplier=1.0, schedule="cosine"),
    _progress(0, 111, 0.5), _progress(0, 1000, 0.8),
    ("incumbent", {"trial": 0, "permille": 1000, "score": 0.8}),
    ("answer", _answer(0, 0.79)),
    _ended(0, "complete", 0.8),
    _started(1, learning_rate_multiplier=0.5, schedule="linear"), _progress(1, 111, 0.3), _ended(1, "paused", 0.3),
    _started(2), _ended(2, "failed", None, "finetune of autotl 0.1: MemoryError", "memory"),
    _started(3, depth=0.25), _progress(3, 111, 0.2), _ended(3, "paused", 0.2), _ended(3, "dropped", 0.2),
    _started(4, depth=0.75), _ended(4, "cut", None, "the time was up"),
)  # fmt: skip

END: tuple[tuple[str, dict[str, Any]], ...] = (
    ("transfer", {"difference": 0.2, "low": 0.1, "high": 0.3, "pretrained": 0, "control": 4}),
    ("compared", {
        "strategy": "lora", "twin": "finetune", "backbone": "tiny/one", "difference": 0.0, "low": -0.1, "high": 0.1,
        "trial": 1, "other": 0,
    }),
    ("phase", {"name": "cross-validating"}),
    ("cross_validated", {"trials": [0, -1], "folds": 4, "rows": 80, "score": 0.78}),
    ("phase", {"name": "refitting"}),
    ("refit", {"trial": 0, "rows": 70, "taken": True}),
    ("phase", {"name": "finishing"}),
    ("tested", {
        "metric": "accuracy", "score": 0.75, "interval": [0.5, 0.9], "rows": 20, "unlearned": 0, "left_out": 0,
        "learned": 0,
    }),
    ("finished", {
        "score": 0.79, "interval": [0.6, 0.9], "optimism": 0.01, "models": "finetune of tiny/one", "metric": "accuracy",
        "seconds": 9.0, "forecast_error": 0.1,
    }),
)  # fmt: skip

#: What takes up a trial that waited and one that was cut.
RESUMED: tuple[tuple[str, dict[str, Any]], ...] = (
    *READING,
    ("trial_continued", {"trial": 1, "permille": 111, "planned_seconds": 2.0, "why": "promise"}),
    _progress(1, 1000, 0.7), _ended(1, "complete", 0.7),
    ("trial_continued", {"trial": 4, "permille": 0, "planned_seconds": 2.0, "why": "cut"}),
    _progress(4, 1000, 0.7), _ended(4, "complete", 0.7),
    ("failed", {"reason": "RunError: the disk is full"}),
)  # fmt: skip

#: What a later version may say.
LATER: tuple[tuple[str, dict[str, Any]], ...] = (
    ("weather", {"trial": "?", "score": None}),
    ("phase", {"name": "thinking", "about": ["it"]}),
)


def check_event_listener(name: str) -> None:
    """The plugin that ``autotl plugins`` lists under `name` hears the events of runs as a search tells them.

    It is told of a run in which trials end in each way that there is, of the same run resumed, of one resumed that it
    was not told of before, and of things that nobody knows yet. It raises nothing, hears all in half a minute, prints
    nothing on standard output, where ``--json`` has the events, and leaves the files of the run as they are; new ones
    may come. What it writes elsewhere goes where it always goes, so a test says first where that is. Raises
    `BrokenPromise`.
    """
    thing = f"plugin {name!r}"
    listeners = plugins().listeners
    expect(name in listeners, thing, "is on and has the hook autotl_event", ", ".join(listeners) or "no plugin has it")
    with tempfile.TemporaryDirectory() as given, contextlib.redirect_stdout(io.StringIO()) as printed:
        whole = (*READING, *SCREENING, *TRIALS, *LATER, *END)
        for number, parts in enumerate(((whole, RESUMED), (RESUMED,))):
            folder = Path(given, f"run-{number}")
            folder.mkdir()
            _run_file(number).write(folder)
            files = _contents(folder)
            for events in parts:
                complaints = _tell(name, folder, events)
                expect(not complaints, thing, "hears every event of a run, and in time", "; ".join(complaints))
            changed = sorted(file for file, contents in files.items() if _contents(folder).get(file) != contents)
            expect(not changed, thing, "leaves the files of the run as they are", ", ".join(changed))
    expect(not printed.getvalue(), thing, "prints nothing on standard output", repr(printed.getvalue()[:80]))


def _tell(name: str, folder: Path, events: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """Plays events as a search does, and returns the notes about the plugin."""
    complaints: list[str] = []
    context = EventContext(autotl.__version__, folder)
    listening = Listening({name: plugins().listeners[name]}, context, complaints.append)
    clock = Clock()
    log = EventLog(folder / EVENTS_FILE, lambda: clock.elapsed, [listening])
    for kind, data in events:
        log.emit(kind, **data)
    listening.close(PATIENCE)
    log.close()
    return complaints


def _run_file(number: int) -> RunFile:
    columns = (InputColumn(name="text", modality="text"),)
    task = Task(targets=("label",), kind="multiclass", classes=tuple(_CLASSES), inputs=columns, metric="accuracy")
    return RunFile(
        id=f"{number:032x}",
        state="running",
        request=SearchRequest(data="/data/kinds.csv", budget_seconds=60.0),
        task=task,
        data_fingerprint="0" * 32,
        rows=_TASK["rows"],
        audit_seconds=1.0,
        versions=versions(),
        machine="Linux x86_64, 2 cores",
    )


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != EVENTS_FILE}
