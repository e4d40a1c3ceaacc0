"""What a search shows while it runs, and its last screen."""

from __future__ import annotations

import argparse
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from autotl.budget import Clock
    from autotl.events import Event
    from autotl.predictor.bundle import BundleCard
    from autotl.report.live import View
    from autotl.search.engine import Outcome


def choose_view(options: argparse.Namespace, clock: Clock, *, stops_unread: bool = False) -> View:
    """The view that the options and the terminal ask for. stops_unread: as `JsonView` takes it."""
    from autotl.report.live import JsonView, QuietView, view_for_people

    if options.quiet:
        return QuietView()
    if options.json:
        return JsonView(stops_unread=stops_unread)
    return view_for_people(clock)


def _end_once(number: int, frame: FrameType | None) -> None:
    """A shell that dies with its terminal says it twice, and the second time would end the ending."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def ending_gently() -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill, ends a search as Ctrl-C does: with the best model so far.

    So does SIGHUP, of a terminal that was closed, unless whoever began the search has had it ignored (nohup).
    """
    ends = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {end: signal.getsignal(end) for end in ends}
    for end, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(end, _end_once)
    try:
        yield
    finally:
        for end, handler in before.items():
            signal.signal(end, handler)


def watched(search: Callable[[View], Outcome], options: argparse.Namespace, clock: Clock) -> Outcome:
    """What comes of a search that tells the view what happens, and that SIGTERM ends gently."""
    with choose_view(options, clock) as view, ending_gently():
        return search(view)


def show_outcome(outcome: Outcome, options: argparse.Namespace) -> int:
    """The last screen: the leaderboard, the score, and what to type next."""
    if options.quiet or options.json:
        return 130 if outcome.interrupted else 0
    from rich.console import Console
    from rich.markup import escape

    from autotl.data.wording import counted, for_shell, rows_of_test
    from autotl.escaping import for_terminal
    from autotl.events import read_events
    from autotl.failures import REMEDIES
    from autotl.predictor.bundle import find_bundle, read_card
    from autotl.report.leaderboard import forecast_error, last_test, leaderboard
    from autotl.report.live import describe, leaderboard_table
    from autotl.report.plain import plain
    from autotl.report.words import doubt_sentence, uncounted_sentence
    from autotl.runs.folder import EVENTS_FILE, REPORT_FILE

    card = read_card(find_bundle(outcome.folder))
    events = read_events(outcome.folder / EVENTS_FILE)
    rows, error = leaderboard(events), forecast_error(events)
    console = Console(highlight=False)
    console.print(leaderboard_table(rows[:10], console.width))
    low, high = card.interval
    metric = escape(for_terminal(card.task.metric))
    console.print(f"\nBest: [bold]{metric} {card.score:.4f}[/] (95 %: {low:.3f} to {high:.3f}) expected on new rows")
    console.print(plain(f"      {card.describe()}"))
    judges = f"{card.validation_rows} validation rows" + (f" in {card.folds} parts" if card.folds > 1 else "")
    console.print(
        f"      from {judges}, less {card.optimism:.4f} for choosing among {counted(card.chosen_among, 'model')}"
    )
    console.print(f"      {1000 * card.latency:.3g} ms for a row by itself on this machine{_alone(events, card)}")
    audits = [event.data for event in events if event.kind == "audit"]
    if audits and (beside := uncounted_sentence(audits[-1])):
        console.print(f"      {beside}")
    floor = next((event for event in reversed(events) if event.kind == "floor"), None)
    for event in events:
        if event is floor:
            console.print(plain(f"      {describe(event)}{_below(events, card)}"))
            if doubt := doubt_sentence(card, event.data):
                console.print(f"      {doubt}", style="bold red")
        if event.kind in {"transfer", "compared"}:
            console.print(plain(f"      {describe(event)}"))
    if test := last_test(events):
        low, high = test["interval"]
        metric = escape(for_terminal(test["metric"]))
        console.print(
            f"Test: [bold]{metric} {test['score']:.4f}[/] (95 %: {low:.3f} to {high:.3f}) on {rows_of_test(test)}"
        )
    failed = Counter(event.data["reason_kind"] for event in events if event.data.get("state") == "failed")
    for kind, count in failed.items():
        console.print(plain(f"{count} failed of {kind}: {REMEDIES.get(kind, 'see the leaderboard')}", "dim"))
    if error is not None:
        console.print(f"Trials were off their forecast by {error:.0%} (median)", style="dim")
    console.print("\nNext:", style="dim")
    lines, folder = [], for_shell(str(outcome.folder))
    if (report := outcome.folder / REPORT_FILE).is_file():
        lines.append(f"  a browser shows all of it: {report}")
    lines.append(f"  autotl predict {folder} --data new.csv --out predictions.csv")
    lines.append(f"  autotl evaluate {folder} --data test.csv")
    lines.append(f"  autotl resume {folder} --budget +10m")
    for line in lines:  # whole, to be pasted
        console.print(plain(line), soft_wrap=True)
    return 130 if outcome.interrupted else 0


def _below(events: Sequence[Event], card: BundleCard) -> str:
    """A word of warning where the answer has no network."""
    from autotl.zoo.words import BAG_OF_WORDS

    if any(member.backbone != BAG_OF_WORDS.key for member in card.members):
        return ""
    networks = any(event.kind == "head" and event.data["backbone"] != BAG_OF_WORDS.key for event in events)
    return f", which is the answer: no pretrained model {'did better' if networks else 'came to an answer'}"


def _alone(events: Sequence[Event], card: BundleCard) -> str:
    """What the best single model would give and cost, where the answer is a mixture."""
    last = next(event.data for event in reversed(events) if event.kind == "answer")
    if len(card.members) == 1:
        return ""
    return f"; the best model alone: {last['single_score']:.4f}, {1000 * last['single_latency']:.3g} ms"
