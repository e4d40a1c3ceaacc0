"""What the developers need to understand a run that went wrong, and nothing of the data: ``autotl doctor --bundle``.

Only what is known to be harmless is taken: numbers, the names of things that AutoTL and its plugins bring, and where in
the code something was raised. Cells, labels, columns, paths, and the words of messages stay where they are.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from autotl.errors import RunError
from autotl.events import read_events
from autotl.runs.folder import EVENTS_FILE, LOG_FILE, RUN_FILE, RUN_LOG_FILE
from autotl.untrusted import LARGEST_LOG, parse_json, read_text

#: Of ``run.json``.
_OF_THE_RUN = (
    "format", "state", "rows", "audit_seconds", "survivors", "seconds", "ledger", "memory", "versions", "machine",
)  # fmt: skip
_OF_THE_REQUEST = (
    "metric", "budget_seconds", "trials", "offline", "skip_limit", "max_memory", "limits", "seed",
)  # fmt: skip

#: Words of events that AutoTL or a plugin chose; a phase's name is one too.
_WORDS = {"backbone", "strategy", "state", "reason_kind", "precision", "licence", "metric", "modality", "task"}

_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_RAISED = re.compile(r"^(?P<error>(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|Warning))\b")


def pack_problem(run: Path, machine: Mapping[str, str], out: Path) -> list[str]:
    """Writes a zip file and returns the names of the files in it. machine: what ``autotl doctor`` found.

    Raises `RunError` when there is no run.
    """
    if not (run / RUN_FILE).is_file():
        raise RunError(f"{run}: no run here (no {RUN_FILE})")
    found = {
        "machine.json": json.dumps(machine, indent=1, ensure_ascii=False),
        RUN_FILE: json.dumps(_facts(run / RUN_FILE), indent=1),
        EVENTS_FILE: "".join(f"{json.dumps(event)}\n" for event in _events(run / EVENTS_FILE)),
        RUN_LOG_FILE: _text(run / RUN_LOG_FILE),
        "worker.txt": "".join(f"{line}\n" for line in _traces(_text(run / LOG_FILE))),
    }
    with zipfile.ZipFile(out, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, text in found.items():
            archive.writestr(name, text)
    return list(found)


def _text(path: Path) -> str:
    """What a log says; that it cannot be read, where it cannot."""
    try:
        return read_text(path, largest=LARGEST_LOG, errors="replace") if path.is_file() else ""
    except (OSError, ValueError) as error:
        return f"{path.name} cannot be read ({error})\n"


def _facts(path: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = parse_json(_text(path))
        request, task = known["request"], known["task"]
        return {
            **{name: known.get(name) for name in _OF_THE_RUN},
            "request": {name: request.get(name) for name in _OF_THE_REQUEST},
            "task": {"kind": task["kind"], "metric": task["metric"], "classes": len(task["classes"])},
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # a torn one says something too
        return {"unreadable": type(error).__name__}


def _events(path: Path) -> Iterator[dict[str, Any]]:
    for event in read_events(path):
        words = _WORDS | ({"name"} if event.kind == "phase" else set())
        harmless = {k: v for k, v in event.data.items() if isinstance(v, bool | int | float) or v is None or k in words}
        yield {"at": event.at, "kind": event.kind, **harmless}


def _traces(log: str) -> Iterator[str]:
    """Where exceptions were raised, and their types, in the order of the log."""
    for line in log.splitlines():
        if frame := _FRAME.match(line):
            yield f"  {'/'.join(PurePath(frame['file']).parts[-2:])}:{frame['line']} {frame['function']}"
        elif raised := _RAISED.match(line):
            yield raised["error"]
