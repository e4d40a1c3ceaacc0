"""What a run's folder says of a run, whether it has ended, is at work, or was killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from autotl.errors import BundleError, RunError
from autotl.events import Event, read_events
from autotl.predictor.bundle import BundleCard, find_bundle, read_card
from autotl.report.leaderboard import Row, leaderboard
from autotl.runs.folder import EVENTS_FILE, SPLIT_FILE
from autotl.runs.run_file import RunFile, read_run_file
from autotl.untrusted import LARGEST_LOG, read_text


@dataclass(frozen=True)
class Record:
    """A run as its files have it."""

    folder: Path
    run: RunFile
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
        if self.run.state != "running":
            return self.run.ledger
        phases = [(event.at, event.data["name"]) for event in self.of("phase")]
        spent: dict[str, float] = {}
        for (at, name), (end, _) in pairwise([*phases, (self.run.seconds, "")]):
            spent[name] = spent.get(name, 0.0) + end - at
        return spent

    @property
    def latency(self) -> dict[str, float]:
        """Seconds from one row to its answer, by backbone, as screening measured them."""
        return {e.data["backbone"]: e.data["latency"] for e in self.of("screened")}


def read_record(folder: Path) -> Record:
    """Raises `RunError` when there is no run in `folder`, or it is from another version."""
    run, events, split = read_run_file(folder), read_events(folder / EVENTS_FILE), folder / SPLIT_FILE
    try:
        board, drawn = leaderboard(events), read_text(split, largest=LARGEST_LOG) if split.is_file() else ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}: this run cannot be read ({str(error).splitlines()[0]})") from error
    return Record(folder, run, drawn, events, board, _card(folder))


def _card(folder: Path) -> BundleCard | None:
    try:
        return read_card(find_bundle(folder))
    except BundleError:  # there is none yet
        return None
