"""``autotl portfolio``: learns from past runs what to try first."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "learn from past runs what a search should try first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUNS", help="a folder of runs, such as runs")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="where to write it, for 'autotl search --portfolio FILE'"
    )
    parser.add_argument("--size", type=int, default=8, metavar="N", help="configurations at most (default: 8)")


def run(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from autotl.data.wording import counted
    from autotl.portfolio import build
    from autotl.report.plain import plain

    out = Path(options.out).expanduser()
    portfolio = build(Path(options.folder).expanduser(), options.size)
    portfolio.save(out)
    table = Table("", "strategy", "settings", box=None, header_style="dim")
    table.add_column("mean regret", justify="right")
    for place, entry in enumerate(portfolio.entries, start=1):
        settings = ", ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in entry.settings.items()
        )
        table.add_row(str(place), plain(entry.strategy), plain(settings), f"{entry.mean_regret:.3f}")
    console = Console(highlight=False)
    console.print(table)
    sources = portfolio.sources
    trials, runs, tasks = (
        counted(sources.trials, "trial"), counted(sources.runs, "run"), counted(sources.tasks, "task")
    )  # fmt: skip
    made_from = f"\nfrom {trials} of {runs} on {tasks}"
    if sources.skipped:
        made_from += f"; {counted(sources.skipped, 'line')} of another format passed over"
    console.print(made_from, style="dim")
    console.print(f"\nNext:\n  autotl search --data data.csv --portfolio {options.out}", markup=False, style="dim")
    return 0
