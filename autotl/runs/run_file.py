"""``run.json``: what was asked, what was found, what it ran on. Enough to continue the run."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from autotl.config import SearchRequest
from autotl.data.inspection import Inspection
from autotl.data.task import Task
from autotl.errors import RunError
from autotl.events import Event, read_events
from autotl.files import write_durably
from autotl.runs.checkpoints import Checkpoints
from autotl.runs.folder import EVENTS_FILE, RUN_FILE
from autotl.untrusted import read_object
from autotl.zoo.origin import Origin


class RunFile(BaseModel):
    """The contents of ``run.json``."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    id: str  #: drawn by chance, so that logs of many runs can be told apart
    state: Literal["running", "finished", "interrupted"]
    request: SearchRequest
    task: Task
    data_fingerprint: str
    rows: dict[str, int]  #: training, validation, set aside
    audit_seconds: float  #: what the audit was given at the start; with more it could come to another split
    heads: tuple[str, ...] = ()  #: backbones in the order that heads on them are numbered in
    survivors: tuple[str, ...] = ()  #: backbones that the search chooses from, best first
    origins: tuple[Origin, ...] = ()  #: of these
    seconds: float = 0.0  #: used so far, without the time between an end and a resume
    ledger: dict[str, float] = {}  #: seconds by account
    memory: int = 0  #: bytes that the engine and the worker had resident at most, both together; at the end
    versions: dict[str, str]
    machine: str

    def write(self, folder: Path) -> None:
        write_durably(folder / RUN_FILE, self.model_dump_json(indent=1))


def read_run_file(folder: Path) -> RunFile:
    """Raises `RunError` when there is no run in `folder`, or it is from another version.

    The seconds of a run that was killed are those of its last event, and of what a training wrote down after it.
    """
    path = folder / RUN_FILE
    if not path.is_file() and (folder / EVENTS_FILE).is_file():
        raise RunError(
            f"{folder}: this search has not read its table yet; if it was killed, begin it again as it was begun"
        )
    if not path.is_file():
        raise RunError(f"{folder}: no run here (no {RUN_FILE}); see 'autotl search --help' to start one")
    try:
        run = RunFile.model_validate(read_object(path))
    except (ValueError, OSError) as error:  # pydantic's is one of these
        raise RunError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
    last = max((event.at for event in _of_use(read_events(folder / EVENTS_FILE))), default=0.0)
    if run.state == "running":
        last += Checkpoints(folder).seconds_after(folder / EVENTS_FILE)
    return run.model_copy(update={"seconds": max(run.seconds, last)})


def _of_use(events: Sequence[Event]) -> Sequence[Event]:
    """Without resumes at the end that were refused while they read: they have used nothing of the budget."""
    while events and events[-1].kind == "failed":
        began = max((i for i, event in enumerate(events) if event.kind == "phase"), default=0)
        if events[began].data.get("name") != "reading":
            break
        events = events[:began]
    return events


def fingerprint(inspection: Inspection) -> str:
    """Changes with any input, target or weight, and with what has to stay together. Images go by their paths in it."""
    digest = hashlib.sha256()
    cells = list(zip(*map(inspection.table.column, inspection.task.columns), strict=True))
    for row, target in zip(inspection.kept.tolist(), inspection.targets.tolist(), strict=True):
        digest.update("".join(f"{value}\0" for value in (target, *cells[row])).encode("utf-8", "surrogatepass"))
    digest.update(inspection.groups.astype("<i8").tobytes())
    if inspection.weights is not None:
        digest.update(inspection.weights.astype("<f4").tobytes())
    return digest.hexdigest()[:32]


def refuse_another(known: RunFile, now: RunFile) -> None:
    """Raises `RunError` where a run that is resumed would go on with other rows, or by another measure."""
    way_out = "start a new search with --out"
    if known.data_fingerprint != now.data_fingerprint:
        beside = f", or what {now.request.test} has of it," if now.request.test else ""
        raise RunError(f"{now.request.data}{beside} has changed since this run began; {way_out}")
    if (known.task.metric, known.task.costs) != (now.task.metric, now.task.costs):
        costs = "" if known.task.costs == now.task.costs else " and other costs"
        raise RunError(f"{now.request.data}: this run went by {known.task.metric}{costs}; {way_out}")


def versions() -> dict[str, str]:
    """Of Python and of the packages that decide results; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in ("autotl", "torch", "optuna", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
