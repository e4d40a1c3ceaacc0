"""What a run tells the outside: one kind of event, appended to a file as it happens.

The live view and listeners see nothing else; the report and resume read the run's other files too. The file is JSON
Lines, one event a line:
``{"at": seconds since the run began, "kind": "...", ...}``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotl.errors import RunError
from autotl.escaping import as_json
from autotl.files import append, ends_torn
from autotl.untrusted import LARGEST_LOG, parse_json, read_lines, size_of

# By its number events and the shelf know whose a model is: trials count from 0, heads on backbones from -1 downwards.

#: What heads go by where trials have a strategy.
HEAD_STRATEGY = "probe"

#: The trial that runs the published recipe.
DEFAULT_TRIAL = 0

#: The training that makes a teacher, which is no trial: it cannot be the answer.
TUTOR = -2_000_000

#: The bag of words.
BAG_OF_WORDS_NUMBER = -1_000_000


def is_head(number: int) -> bool:
    """Whether it is neither a trial's nor the tutor's; the bag of words is a head, too."""
    return number < 0 and number != TUTOR


@dataclass(frozen=True)
class Event:
    """Something that happened `at` seconds into the run.

    Kinds: ``phase`` (name), ``role`` (column, role, evidence), ``task`` (task, target, input, modality, classes,
    asks, metric, rows), ``audit`` (rows, class_counts, input, repeats, near_repeats, texts_compared,
    test_rows_learned, set_aside, shortcut, split, seconds), ``note`` (text), ``screened`` (backbone, score, metric,
    rows, precision, parameters, licence, opinions, features, bytes_a_row, latency, memory, seconds), ``head`` (trial,
    score, backbone, latency), ``floor`` (majority, words; each may be None), ``shape`` (full_trials, rungs),
    ``trial_started`` (trial, backbone, strategy, each setting by its name, units, whose keys are these names,
    planned_seconds, why), ``trial_continued`` (trial, permille, planned_seconds, why), ``progress`` (trial,
    permille, score, and what the strategy tells besides, such as steps and loss), ``trial_ended`` (trial, state,
    score, seconds, reason, reason_kind), ``incumbent`` (trial, permille, score), ``answer`` (members, score,
    optimism, lead, error, models, latency, single_score, single_latency), ``transfer`` (difference, low, high,
    pretrained, control), ``compared`` (strategy, twin, backbone, difference, low, high, trial, other),
    ``cross_validated`` (trials, folds, rows, score), ``refit`` (trial, rows, taken), ``tested`` (metric, score,
    interval, rows, unlearned, left_out, learned), ``finished`` (score, interval, optimism, models, metric, seconds,
    forecast_error), ``failed`` (reason).
    """

    at: float
    kind: str
    data: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        return as_json({"at": round(self.at, 3), "kind": self.kind, **self.data})


Listener = Callable[[Event], None]


class EventLog:
    """Appends events to a file and hands them to whoever listens."""

    def __init__(
        self,
        path: Path,
        elapsed: Callable[[], float],
        listeners: list[Listener],
        keep: Callable[[Callable[[], None]], None] = lambda write: write(),
    ) -> None:
        """keep: has a line written, and knows what to do where there is no room for it."""
        self._file = path.open("ab", buffering=0)
        if ends_torn(path):
            append(self._file, b"\n")
        self._elapsed = elapsed
        self._listeners = listeners
        self._keep = keep

    def emit(self, kind: str, **data: Any) -> None:
        event = Event(self._elapsed(), kind, data)
        line = (event.line() + "\n").encode()
        self._keep(lambda: append(self._file, line))
        for listener in self._listeners:
            listener(event)

    def listen(self, listener: Listener) -> None:
        """Hands `listener` every event from now on."""
        self._listeners.append(listener)

    def close(self) -> None:
        self._file.close()


def read_events(path: Path) -> list[Event]:
    """The events of a run; a last line that a kill left torn is passed over. Raises `RunError` for a file too large."""
    try:
        return _events(read_lines(path) if path.exists() else [])
    except ValueError as error:
        raise RunError(f"{path} cannot be read ({error})") from error


class EventTail:
    """The events of a file that grows, and that may not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0  #: bytes

    def new(self) -> list[Event]:
        """Those that were added since the last call, whole lines only. Raises `RunError` for a file too large."""
        try:
            size_of(self._path, largest=LARGEST_LOG)
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._read:  # another run's file, in the place of the one before
                    self._read = 0
                file.seek(self._read)
                added = file.read(LARGEST_LOG)
        except FileNotFoundError:
            return []
        except ValueError as error:
            raise RunError(f"{self._path} cannot be read ({error})") from error
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        return _events(whole.decode("utf-8", "replace").split("\n"))


def _events(lines: Iterable[str]) -> list[Event]:
    events = []
    for line in lines:
        try:
            data = parse_json(line)
            events.append(Event(data.pop("at"), data.pop("kind"), data))
        except (ValueError, AttributeError, KeyError, TypeError):
            continue
    return events
