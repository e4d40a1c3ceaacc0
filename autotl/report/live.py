"""What people see while a search runs: a live screen, plain lines, JSON lines, or nothing.

Each view is a listener: it gets every event and reads nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autotl.budget import Clock, describe_seconds
from autotl.escaping import for_terminal
from autotl.events import Event
from autotl.report.leaderboard import NOT_SETTINGS, Row, leaderboard
from autotl.report.plain import plain

_BARS = "▁▂▃▄▅▆▇█"

#: Rows of the leaderboard and lines of news that fit a terminal of 24 lines.
_MODELS, _NEWS = 7, 5


class View(Protocol):
    """Shows a run; entered before it starts and left when it has ended."""

    def __enter__(self) -> View: ...
    def __exit__(self, *details: Any) -> None: ...
    def __call__(self, event: Event) -> None: ...


class QuietView:
    """Shows nothing."""

    def __enter__(self) -> QuietView:
        return self

    def __exit__(self, *details: Any) -> None:
        return None

    def __call__(self, event: Event) -> None:
        return None


class JsonView(QuietView):
    """One event a line on standard output."""

    def __call__(self, event: Event) -> None:
        print(event.line(), flush=True)


class PlainView(QuietView):
    """One sentence a line on standard error, for logs and pipes."""

    def __call__(self, event: Event) -> None:
        if sentence := describe(event):
            print(f"[{describe_seconds(event.at):>7}] {for_terminal(sentence)}", file=sys.stderr, flush=True)


class LiveView:
    """One screen: phase and time left, the best so far, the leaderboard, the last news."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: list[Event] = []
        self._rows: list[Row] = []
        self._phase = "starting"
        self._task = self._answer = ""
        self._news: list[str] = []
        self._live = Live(
            get_renderable=self._screen, console=Console(stderr=True), refresh_per_second=4, transient=True
        )

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        self._events.append(event)
        if event.kind == "phase":
            self._phase = event.data["name"]
        if event.kind == "answer":
            self._answer = f"{event.data['models']} ({event.data['score']:.4f} expected on new rows)"
        if event.kind in {"answer", "head", "incumbent", "progress", "trial_started", "trial_continued", "trial_ended"}:
            self._rows = leaderboard(self._events)
        if event.kind == "task":
            self._task = describe(event)
        elif sentence := describe(event):
            self._news.append(f"{describe_seconds(event.at):>7}  {sentence}")

    def _screen(self) -> RenderableType:
        head = Text(f"AutoTL  {self._phase}", style="bold")
        if self._clock.seconds != float("inf"):
            left = max(self._clock.remaining, 0.0)
            done = round(30 * min(1 - left / self._clock.seconds, 1.0))
            head.append(f"   {'━' * done}", style="cyan").append("━" * (30 - done), style="dim")
            head.append(f"  {describe_seconds(left)} left", style="bold cyan")
        else:
            head.append(f"   {describe_seconds(self._clock.elapsed)}", style="bold cyan")
        parts: list[RenderableType] = [head, _line(self._task, "dim")]
        if best := next((row for row in self._rows if row.best), None):
            parts.append(_line(f"best {best.score:.4f}  {self._answer or best.backbone}", "green"))
        if self._rows:
            parts.append(leaderboard_table(self._rows[:_MODELS]))
        parts += [_line(line, "dim") for line in self._news[-_NEWS:]]
        return Group(*parts)


def _line(text: str, style: str) -> Text:
    """One line that is cut where the screen ends."""
    return Text(for_terminal(text), style, overflow="ellipsis", no_wrap=True)


def leaderboard_table(rows: list[Row]) -> Table:
    """The leaderboard as people read it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("trial", justify="right", min_width=5)
    table.add_column("score", justify="right", min_width=6)
    table.add_column("backbone", overflow="ellipsis", no_wrap=True)  # the only one that gives way
    table.add_column("strategy", min_width=8)
    table.add_column("state", min_width=8)
    table.add_column("time", justify="right", min_width=5)
    table.add_column("curve", min_width=4)
    for row in rows:
        score = "" if row.score is None else f"{row.score:.4f}"
        curve = sparkline([score for _, score in row.curve])
        style = "bold green" if row.best else ("red" if row.state == "failed" else "")
        cells = [row.name, score, row.backbone, row.strategy, row.state, describe_seconds(row.seconds), curve]
        table.add_row(*map(plain, cells), style=style)
    return table


def sparkline(values: list[float]) -> str:
    """A curve in one line of text."""
    if not values:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in values)


def describe(event: Event) -> str:
    """An event as a sentence; empty for those that say nothing by themselves."""
    write: Callable[[dict[str, Any]], str] | None = _SENTENCES.get(event.kind)
    return write(event.data) if write else ""


def transfer_sentence(data: dict[str, Any]) -> str:
    """Whether pretrained weights were worth having, from a ``transfer`` event."""
    interval = f"{data['difference']:+.4f} (95 %: {data['low']:+.4f} to {data['high']:+.4f})"
    if data["low"] > 0:
        verdict = "transfer was worth it"
    elif data["high"] < 0:
        verdict = "transfer was not worth it: new weights do better"
    else:
        verdict = "it cannot be told whether transfer was worth it"
    return f"{verdict}; the best model with pretrained weights against the same network with new ones: {interval}"


def twin_sentence(data: dict[str, Any]) -> str:
    """Whether what a strategy adds to another was worth having, from a ``compared`` event."""
    interval = f"{data['difference']:+.4f} (95 %: {data['low']:+.4f} to {data['high']:+.4f})"
    if data["low"] > 0:
        verdict = f"{data['strategy']} was worth it"
    elif data["high"] < 0:
        verdict = f"{data['strategy']} was not worth it: {data['twin']} does better"
    else:
        verdict = f"it cannot be told whether {data['strategy']} was worth it"
    return f"{verdict}; against {data['twin']} of {data['backbone']} with the same settings: {interval}"


def _settings(data: dict[str, Any]) -> str:
    """But those that are 0: nothing frozen, not augmented, a regularizer that is off."""
    values = [(name, value) for name, value in data.items() if name not in NOT_SETTINGS and value]
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values)


def _rungs(permille: list[int]) -> str:
    return " and ".join(f"{rung / 10:.0f} %" for rung in permille)


def _trial(data: dict[str, Any]) -> str:
    return "a head on frozen features" if data["trial"] < 0 else f"trial {data['trial']}"


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "role": lambda d: f"column {d['column']!r}: {d['role']} ({d['evidence']})",
    "task": lambda d: (
        f"{d['task']} task: {d['target']!r} ({len(d['classes'])} classes) from {d['modality']} {d['input']!r}; "
        f"{d['rows']['training']} rows to train on, {d['rows']['validation']} to validate, by {d['metric']}"
    ),
    "audit": lambda d: str(d["split"]),
    "note": lambda d: str(d["text"]),
    "screened": lambda d: (
        f"looked through {d['backbone']}: a linear head gets {d['score']:.4f} "
        f"({d['rows']} rows, {d['precision']}, {d['seconds']:.1f} s)"
    ),
    "floor": lambda d: (
        f"the floor to beat: {d['majority']:.4f} by guessing"
        + ("" if d["words"] is None else f", {d['words']:.4f} by a bag of words")
    ),
    "trial_started": lambda d: f"trial {d['trial']}: {d['strategy']} of {d['backbone']} ({_settings(d)})",
    "trial_continued": lambda d: f"trial {d['trial']} goes on from {d['permille'] / 10:.0f} %",
    "shape": lambda d: (
        f"time for about {d['full_trials']:.1f} full trials: "
        + ("each runs to its end" if not d["rungs"] else f"compared at {_rungs(d['rungs'])}, the best third goes on")
    ),
    "progress": lambda d: f"trial {d['trial']} at {d['permille'] / 10:.0f} %: {d['score']:.4f}",
    "trial_ended": lambda d: (
        f"trial {d['trial']} {d['state']}"
        + (f" of {d['reason_kind']}" if d["state"] == "failed" else "")
        + (f": {d['reason']}" if d["reason"] else "")
        + f" after {describe_seconds(d['seconds'])}"
    ),
    "incumbent": lambda d: f"best so far: {d['score']:.4f} by {_trial(d)}, saved",
    "answer": lambda d: (
        f"the answer is a {d['models']}: {d['score']:.4f} expected on new rows, {1000 * d['latency']:.3g} ms each "
        f"(the best alone: {d['single_score']:.4f}, {1000 * d['single_latency']:.3g} ms)"
        if len(d["members"]) > 1
        else ""
    ),
    "transfer": lambda d: transfer_sentence(d),
    "compared": lambda d: twin_sentence(d),
    "refit": lambda d: (
        f"{_trial(d)} was refitted on all {d['rows']} rows"
        + ("" if d["taken"] else ", did worse on rows that it had seen, and keeps its old weights")
    ),
    "tested": lambda d: f"test {d['metric']}: {d['score']:.4f} on {d['rows']} rows never used before",
}
