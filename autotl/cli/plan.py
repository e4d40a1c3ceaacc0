"""``autotl plan``: what a search would come to with each of several budgets, before it is started."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from autotl.cli.options import add_output, add_search, asked
from autotl.cli.started import PROCESS_START
from autotl.escaping import as_json

if TYPE_CHECKING:
    from autotl.search.rehearsal import Outlook

HELP = "forecast what searches with other budgets would come to; looks at the data for a minute at most"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_search(parser)
    parser.add_argument(
        "--what-if", default="5m,30m,2h", metavar="TIMES", help="budgets, with commas between (default: 5m,30m,2h)"
    )
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    from autotl.budget import Clock, parse_budget
    from autotl.cli.screen import choose_view, ending_gently
    from autotl.config import make_request
    from autotl.report.live import QuietView
    from autotl.search.rehearsal import CALIBRATION, Rehearsal

    budgets = [parse_budget(text) for text in options.what_if.split(",")]
    view = QuietView() if options.json else choose_view(options, Clock(CALIBRATION, start=PROCESS_START))
    with view, ending_gently():
        rehearsal = Rehearsal(make_request(**asked(options)), budgets, listeners=[view], start=PROCESS_START)
        outlooks = rehearsal.outlooks()
    if options.json:
        print(as_json([dataclasses.asdict(outlook) for outlook in outlooks]))
    elif not options.quiet:
        _show(outlooks)
    return 0


def _show(outlooks: list[Outlook]) -> None:
    from rich.console import Console
    from rich.table import Table

    from autotl.budget import describe_seconds

    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("budget", "trials", "finished", "compared at", "memory", "run", "cache", "download"):
        table.add_column(name, justify="right", no_wrap=True)
    for outlook in outlooks:
        rungs = " and ".join(f"{permille / 10:.0f} %" for permille in outlook.rungs) or "their end"
        sizes = (outlook.memory, outlook.run_folder, outlook.cache, outlook.download)
        counts = (str(outlook.trials), str(outlook.finished))
        table.add_row(describe_seconds(outlook.budget), *counts, rungs, *(f"{size / 1e6:.0f} MB" for size in sizes))
    console = Console(highlight=False)
    console.print(table)
    for outlook in outlooks:
        if not outlook.fits:
            console.print(
                f"{describe_seconds(outlook.budget)}: run and cache do not fit into what they may take of this disk; "
                "what does not is computed again and again. Free some, or raise --max-disk"
            )
