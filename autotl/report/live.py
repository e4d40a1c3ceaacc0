"""What people see while a search runs: a live screen, plain lines, JSON lines, or nothing.

Each view is a listener: it gets every event and reads nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autotl.budget import Clock, describe_seconds
from autotl.data.wording import counted, kind_of_input, rows_of_test
from autotl.escaping import for_terminal
from autotl.events import BAG_OF_WORDS_NUMBER, Event, is_head
from autotl.report.leaderboard import Row, leaderboard
from autotl.report.plain import plain

_BARS = "▁▂▃▄▅▆▇█"

#: Lines of news that there are at least; the leaderboard has two thirds of the room where that is more.
_NEWS = 5

#: Points of a trial's curve that a line has room for.
_CURVE = 12


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

    def __init__(self, *, stops_unread: bool = False) -> None:
        """stops_unread: whether a reader that is gone ends the command, as `watch` has nothing else to do."""
        self._stops_unread = stops_unread

    def __call__(self, event: Event) -> None:
        try:
            print(event.line(), flush=True)
        except (OSError, ValueError):  # nobody listens any more, and a search goes on
            if self._stops_unread:
                raise


class PlainView(QuietView):
    """One sentence a line on standard error, for logs and pipes."""

    def __call__(self, event: Event) -> None:
        if sentence := describe(event):
            with suppress(OSError, ValueError):  # nobody listens any more, and the search goes on
                print(f"[{describe_seconds(event.at):>7}] {for_terminal(sentence)}", file=sys.stderr, flush=True)


def view_for_people(clock: Clock) -> View:
    """One screen where standard error is a terminal that can draw, lines otherwise."""
    # a log is no terminal, whatever FORCE_COLOR says
    drawn = sys.stderr is not None and sys.stderr.isatty() and Console(stderr=True).is_interactive
    return LiveView(clock) if drawn else PlainView()


class LiveView:
    """One screen: phase and time left, the best so far and how it came, what is tried now and why, the last news.

    It is drawn whole four times a second, to the size that the terminal has then, on the terminal's other screen: what
    stood there before comes back at the end.
    """

    def __init__(self, clock: Clock, console: Console | None = None) -> None:
        """console: standard error by default."""
        self._clock = clock
        self._console = console or Console(stderr=True)
        self._events: list[Event] = []
        self._rows: list[Row] = []
        self._changed = False  #: whether there are events that they lack
        self._phase = "starting"
        self._task = self._answer = self._now = self._why = ""
        self._best: list[tuple[float, float]] = []  #: (seconds, score that the answer is expected to have on new rows)
        self._news: list[str] = []
        self._live = Live(get_renderable=self.render, console=self._console, refresh_per_second=4, screen=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        with suppress(OSError, ValueError):  # the terminal may be gone
            self._live.stop()

    def __call__(self, event: Event) -> None:
        self._events.append(event)
        match event.kind:
            case "phase":
                self._phase, self._now = event.data["name"], ""
            case "answer":
                self._answer = event.data["models"]
                self._best.append((event.at, event.data["score"]))
            case "trial_started" | "trial_continued":
                self._now, self._why = describe(event), why(event)
            case "trial_ended":
                self._now = ""
        if event.kind in {"answer", "head", "incumbent", "progress", "trial_started", "trial_continued", "trial_ended"}:
            self._changed = True
        if event.kind == "task":
            self._task = describe(event)
        elif sentence := describe(event):
            self._news.append(f"{describe_seconds(event.at):>7}  {sentence}")

    def render(self) -> RenderableType:
        """The screen at this moment."""
        width, height = self._console.size
        if self._changed:
            self._changed = False  # before: on another thread there may be more at any moment
            self._rows = leaderboard(self._events)
        rows = self._rows
        lines = [self._head(width), _line(self._task, "dim")]
        if self._best:
            lines += [_line(f"best {self._best[-1][1]:.4f}  {self._answer}", "green"), self._trend(width)]
        if self._now:
            lines += [_line(f"now  {self._now}"), _line(f"     {self._why}", "dim")]
        parts: list[RenderableType] = [*lines, ""]
        room = height - len(parts) - 2  # the table's head, and a line between it and the news
        models = min(len(rows), max(room - max(room // 3, _NEWS), 0))
        if models:
            parts += [leaderboard_table(rows[:models], width), ""]
        news = self._news[-max(room - models, 1) :]
        return Group(*parts, *(_line(line, "dim") for line in news))

    def _head(self, width: int) -> Text:
        head = Text(f"AutoTL  {self._phase}", style="bold", no_wrap=True)
        if self._clock.seconds == float("inf"):
            return head.append(f"   {describe_seconds(self._clock.elapsed)}", style="bold cyan")
        left = max(self._clock.remaining, 0.0)
        room = max(min(width - 40, 60), 0)
        done = round(room * min(1 - left / self._clock.seconds, 1.0))
        head.append(f"   {'━' * done}", style="cyan").append("━" * (room - done), style="dim")
        return head.append(f"  {describe_seconds(left)} left", style="bold cyan")

    def _trend(self, width: int) -> Text:
        """The best score over time, from the start until now."""
        room, now = max(min(width - 25, 60), 1), max(self._clock.elapsed, self._best[-1][0])
        known = [[score for at, score in self._best if at <= now * (step + 1) / room] for step in range(room)]
        scores = [each[-1] for each in known if each]
        line = _line(" " * 5 + " " * (room - len(scores)), "green").append(sparkline(scores))
        return line.append(f"  {self._best[0][1]:.4f} → {self._best[-1][1]:.4f}")


def _line(text: str, style: str = "") -> Text:
    """A line that is cut where the screen ends."""
    return Text(for_terminal(text), style, overflow="ellipsis", no_wrap=True)


#: The columns of the leaderboard, with how they stand; of the backbone there is as much as there is room for, and the
#: curve makes way for it.
_COLUMNS: dict[str, Literal["left", "right"]] = {
    "trial": "right", "score": "right", "backbone": "left", "strategy": "left", "state": "left", "time": "right",
    "curve": "left",
}  # fmt: skip


def leaderboard_table(rows: list[Row], width: int) -> Table:
    """The leaderboard as people read it, a line a row. width: columns of the screen."""
    columns = {name: [name, *cells] for name, *cells in zip(_COLUMNS, *map(_cells, rows), strict=True)}
    names = columns["backbone"][1:]
    room = _room_beside(columns, width)
    if max(map(len, names), default=0) > room:
        names = _without_families(names)
    if max(map(len, names), default=0) > room:
        del columns["curve"]
        room = _room_beside(columns, width)
    columns["backbone"][1:] = [_cut(name, room) for name in names]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, cells in columns.items():
        table.add_column(
            name, justify=_COLUMNS[name], overflow="ellipsis", no_wrap=True, max_width=max(map(len, cells))
        )
    for row, line in zip(rows, zip(*(cells[1:] for cells in columns.values()), strict=True), strict=True):
        table.add_row(*map(plain, line), style="bold green" if row.best else ("red" if row.state == "failed" else ""))
    return table


def _room_beside(columns: dict[str, list[str]], width: int) -> int:
    """How wide the backbones may be."""
    others = [max(map(len, cells)) for name, cells in columns.items() if name != "backbone"]
    return max(width - sum(others) - 2 * len(others), len("backbone"))


def _without_families(names: list[str]) -> list[str]:
    """Backbones by their own names, where these tell them apart."""
    own = [name.partition("/")[2] or name for name in names]
    return own if len(set(own)) == len(set(names)) else names


def _cut(name: str, room: int) -> str:
    """With its beginning and its end, where sizes and versions stand."""
    if len(name) <= room:
        return name
    end = 2 * room // 3
    return f"{name[: room - end - 1]}…{name[len(name) - end :]}"


def _cells(row: Row) -> list[str]:
    score = "" if row.score is None else f"{row.score:.4f}"
    curve = sparkline([score for _, score in row.curve][-_CURVE:])
    seconds = "" if row.state == "running" and not row.seconds else describe_seconds(row.seconds)
    return [row.name, score, row.backbone, row.strategy, row.state, seconds, curve]


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


def why(event: Event) -> str:
    """Why a trial's turn is now, from ``trial_started`` or ``trial_continued``; earlier versions did not tell."""
    return _REASONS.get(event.data.get("why", ""), "")


_REASONS = {
    "published": "because it is the published recipe of the best backbone",
    "portfolio": "because recipes like it are known to work",
    "sampler": "because the sampler proposes it, by what came of the trials before",
    "cut": "because the end of the search cut it",
    "promise": "because of all that wait it promises most for its time",
}


def transfer_sentence(data: dict[str, Any]) -> str:
    """Whether pretrained weights were worth having, from a ``transfer`` event."""
    against = "the best model with pretrained weights against the best with new ones"
    return _worth(data, "transfer", against, instead="new weights do")


def twin_sentence(data: dict[str, Any]) -> str:
    """Whether what a strategy adds to another was worth having, from a ``compared`` event."""
    against = f"against {data['twin']} of {data['backbone']} with the same settings"
    return _worth(data, data["strategy"], against, instead=f"{data['twin']} does")


def _worth(data: dict[str, Any], what: str, against: str, *, instead: str) -> str:
    interval = f"{data['difference']:+.4f} (95 %: {data['low']:+.4f} to {data['high']:+.4f})"
    if data["low"] > 0:
        verdict = f"{what} was worth it"
    elif data["high"] < 0:
        verdict = f"{what} was not worth it: {instead} better"
    else:
        verdict = f"it cannot be told whether {what} was worth it"
    return f"{verdict}; {against}: {interval}"


def _settings(data: dict[str, Any]) -> str:
    """But those that are 0: nothing frozen, not augmented, a regularizer that is off."""
    values = [(name, data[name]) for name in data["units"] if data[name]]
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in values)


def _rungs(permille: list[int]) -> str:
    return " and ".join(f"{rung / 10:.0f} %" for rung in permille)


def model_named(trial: int) -> str:
    """Whose model it is, by the number that events give it."""
    if trial == BAG_OF_WORDS_NUMBER:
        return "a bag of words"
    return "a head on frozen features" if is_head(trial) else f"trial {trial}"


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "role": lambda d: f"column {d['column']!r}: {d['role']} ({d['evidence']})",
    "task": lambda d: (
        f"{d['task']} task: {d['target']!r} ({d['asks']}) from {kind_of_input(d['modality'])} {d['input']!r}; "
        f"{d['rows']['training']} rows to train on, {d['rows']['validation']} to validate, by {d['metric']}"
    ),
    "audit": lambda d: str(d["split"]),
    "note": lambda d: str(d["text"]),
    "screened": lambda d: (
        f"looked through {d['backbone']}: a linear head gets {d['metric']} {d['score']:.4f} "
        f"({d['rows']} rows, {d['precision']}, {d['seconds']:.1f} s)"
    ),
    "floor": lambda d: (
        "the floor to beat: "
        # 0.0: no "-0.0000"
        + ("no score" if d["majority"] is None else f"{round(d['majority'], 4) + 0.0:.4f}")
        + " by guessing"
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
    "incumbent": lambda d: f"best so far: {d['score']:.4f} by {model_named(d['trial'])}, saved",
    "answer": lambda d: (
        f"the answer is a {d['models']}: {d['score']:.4f} expected on new rows, {1000 * d['latency']:.3g} ms each "
        f"(the best alone: {d['single_score']:.4f}, {1000 * d['single_latency']:.3g} ms)"
        if len(d["members"]) > 1
        else ""
    ),
    "transfer": lambda d: transfer_sentence(d),
    "compared": lambda d: twin_sentence(d),
    "cross_validated": lambda d: (
        f"each of {d['folds']} parts of the table validated {counted(len(d['trials']), 'model')} in its turn: "
        f"{d['score']:.4f} expected on new rows, by {counted(d['rows'], 'row')}"
    ),
    "refit": lambda d: (
        f"{model_named(d['trial'])} was refitted on all {d['rows']} rows"
        + ("" if d["taken"] else ", did worse on rows that it had seen, and keeps its old weights")
    ),
    "tested": lambda d: f"test {d['metric']}: {d['score']:.4f} on {rows_of_test(d)}",
}
