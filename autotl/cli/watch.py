"""``autotl watch``: follows a run from another terminal."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autotl.budget import Clock
    from autotl.events import Event
    from autotl.report.live import View

HELP = "follow a run from another terminal; Ctrl-C leaves the run alone"

#: Seconds between two looks at the file: the screen is drawn as often.
BETWEEN_LOOKS = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="a run's folder, which may not be there yet")
    parser.add_argument("--json", action="store_true", help="the run's events on standard output, one a line")
    parser.set_defaults(quiet=False)


def run(options: argparse.Namespace) -> int:
    from autotl.budget import Clock
    from autotl.cli.screen import choose_view

    folder = Path(options.folder)
    _check(folder)
    clock = Clock()
    try:
        with choose_view(options, clock, stops_unread=True) as view:
            _follow(folder, view, clock)
    except KeyboardInterrupt:
        print("autotl: not watched any more; the run itself goes on", file=sys.stderr)
        return 130
    return _show_end(folder, options)


def _check(folder: Path) -> None:
    """Raises `RunError` for a folder that holds something else than a run; an empty one may become one."""
    from autotl.errors import RunError
    from autotl.runs.folder import EVENTS_FILE, LOCK_FILE

    if folder.is_dir() and any((folder / name).exists() for name in (EVENTS_FILE, LOCK_FILE)):
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RunError(f"{folder}: no run here; name the folder of one, such as runs/flowers")
    print(f"autotl: no search has begun in {folder}; waiting for one, Ctrl-C ends", file=sys.stderr)


def _follow(folder: Path, view: View, clock: Clock) -> None:
    """Shows what there is and what comes, until no process works in the folder any more."""
    from autotl.events import EventTail
    from autotl.runs.folder import EVENTS_FILE
    from autotl.search.lock import is_held

    tail, begun = EventTail(folder / EVENTS_FILE), False
    while True:
        held = is_held(folder)  # asked first: what is written between this and its end is read below, or next time
        events = tail.new()
        if events:
            begun = True
            _set(clock, events, folder, held=held)
        for event in events:
            view(event)
        if begun and not held and not events:
            return
        time.sleep(BETWEEN_LOOKS)


def _set(clock: Clock, events: Sequence[Event], folder: Path, *, held: bool) -> None:
    """Lets the clock show what the run's own does."""
    from autotl.runs.folder import EVENTS_FILE, RUN_FILE
    from autotl.runs.run_file import read_run_file

    since = time.time() - (folder / EVENTS_FILE).stat().st_mtime if held else 0.0
    clock.start = time.monotonic() - events[-1].at - max(since, 0.0)
    if any(event.kind == "task" for event in events) and (folder / RUN_FILE).exists():  # a search begins, or goes on
        clock.seconds = read_run_file(folder).request.budget_seconds or float("inf")


def _show_end(folder: Path, options: argparse.Namespace) -> int:
    """The last screen of the search, or what became of it where it has none."""
    from autotl.cli.screen import show_outcome
    from autotl.runs.folder import RUN_FILE
    from autotl.runs.run_file import read_run_file
    from autotl.search.engine import Outcome

    state = read_run_file(folder).state if (folder / RUN_FILE).exists() else "gone"
    if state == "running":
        print(f"autotl: the search was killed; go on with: autotl resume {folder}", file=sys.stderr)
    elif state == "gone":
        print(f"autotl: the search in {folder} ended without a model", file=sys.stderr)
    else:
        show_outcome(Outcome(folder, state == "interrupted"), options)
    return 0
