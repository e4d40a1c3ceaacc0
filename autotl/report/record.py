"""What a run's folder says of a run, whether it has ended, is at work, or was killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autotl.config import SearchRequest
from autotl.data.task import Task
from autotl.errors import BundleError, RunError
from autotl.events import Event, read_events
from autotl.predictor.bundle import BundleCard, find_bundle, read_card
from autotl.report.leaderboard import Row, leaderboard
from autotl.untrusted import LARGEST_LOG, read_object, read_text


@dataclass(frozen=True)
class Record:
    """A run as its files have it."""

    folder: Path
    state: str  #: running (which a run that was killed is too), finished or interrupted
    request: SearchRequest
    task: Task
    data_fingerprint: str
    rows: Mapping[str, int]  #: training, validation, set aside
    seconds: float  #: used so far
    ledger: Mapping[str, float]  #: seconds by account
    memory: int  #: bytes at most; 0 before the end
    versions: Mapping[str, str]
    machine: str
    split: str  #: the contents of the split's file; empty before there is one
    events: Sequence[Event]
    board: Sequence[Row]  #: best first
    card: BundleCard | None  #: of the answer so far

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def trials(self) -> list[Row]:
        """Without heads and mixtures, in the order in which they began."""
        return sorted((row for row in self.board if row.name.isdecimal()), key=lambda row: int(row.name))

    def of(self, kind: str) -> list[Event]:
        """The events of a kind, in order."""
        return [event for event in self.events if event.kind == kind]

    def last(self, kind: str) -> dict[str, Any] | None:
        """What the last event of a kind says, None where there is none."""
        return next((event.data for event in reversed(self.events) if event.kind == kind), None)

    @property
    def spent(self) -> Mapping[str, float]:
        """Seconds by account; by phase while the run has not come to an end, which is when accounts are written."""
        if self.state != "running":
            return self.ledger
        phases = [(event.at, event.data["name"]) for event in self.of("phase")]
        spent: dict[str, float] = {}
        for (at, name), (end, _) in pairwise([*phases, (self.seconds, "")]):
            spent[name] = spent.get(name, 0.0) + end - at
        return spent

    @property
    def latency(self) -> dict[str, float]:
        """Seconds from one row to its answer, by backbone, as screening measured them."""
        return {e.data["backbone"]: e.data["latency"] for e in self.of("screened")}


def read_record(folder: Path) -> Record:
    """Raises `RunError` when there is no run in `folder`, or it is from another version."""
    path = folder / "run.json"
    if not path.is_file():
        raise RunError(f"{folder}: no run here (no run.json)")
    events = read_events(folder / "events.jsonl")
    split = folder / "split.json"
    try:
        known = read_object(path)
        return Record(
            folder=folder,
            state=known["state"],
            request=SearchRequest.model_validate(known["request"]),
            task=Task.model_validate(known["task"]),
            data_fingerprint=known["data_fingerprint"],
            rows=known["rows"],
            seconds=max([known["seconds"], *(event.at for event in events)]),
            ledger=known["ledger"],
            memory=known["memory"],
            versions=known["versions"],
            machine=known["machine"],
            split=read_text(split, largest=LARGEST_LOG) if split.is_file() else "",
            events=events,
            board=leaderboard(events),
            card=_card(folder),
        )
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise RunError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error


def _card(folder: Path) -> BundleCard | None:
    try:
        return read_card(find_bundle(folder))
    except BundleError:  # there is none yet
        return None
