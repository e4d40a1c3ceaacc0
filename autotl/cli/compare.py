"""``autotl compare``: runs beside each other."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from autotl.escaping import as_json

if TYPE_CHECKING:
    from autotl.report.comparison import Comparison

HELP = "compare runs: score, what was chosen, and when each was as good as the others"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="a run's folder, such as runs/flowers")
    parser.add_argument("others", metavar="RUN", nargs="+", help="the folders of others")
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(options: argparse.Namespace) -> int:
    from autotl.report.comparison import compare
    from autotl.report.record import read_record

    comparison = compare([read_record(Path(folder)) for folder in (options.folder, *options.others)])
    if options.json:
        print(as_json(dataclasses.asdict(comparison)))
    else:
        _print(comparison)
    return 0


def _print(comparison: Comparison) -> None:
    """A column a run, so that a screen holds what is known of each."""
    from rich.console import Console
    from rich.table import Column, Table

    from autotl.budget import describe_seconds
    from autotl.report.plain import plain

    runs = comparison.runs
    columns = (Column(plain(run.run), overflow="fold") for run in runs)
    table = Table("", *columns, box=None, header_style="bold", pad_edge=False)

    def line(name: str, cells: list[str]) -> None:
        table.add_row(plain(name, "dim"), *map(plain, cells))

    line("data", [run.data_fingerprint[:8] for run in runs])
    line("split", [run.split for run in runs])
    line("budget", ["by trials" if run.budget is None else describe_seconds(run.budget) for run in runs])
    line("used", [describe_seconds(run.seconds) for run in runs])
    line("trials", [str(run.trials) for run in runs])
    line("metric", [run.metric for run in runs])
    line("score", ["none yet" if run.score is None else f"{run.score:.4f}" for run in runs])
    line("95 %", ["" if run.interval is None else f"{run.interval[0]:.3f} to {run.interval[1]:.3f}" for run in runs])
    line("ms a row", ["" if run.latency is None else f"{1000 * run.latency:.3g}" for run in runs])
    line("chosen", [run.chosen for run in runs])
    for rival in runs:
        if any(rival.run in run.reached for run in runs):
            line(f"as good as {rival.run} after", [_reached(run.reached, rival.run) for run in runs])
    console = Console(highlight=False)
    console.print(table)
    for warning in comparison.warnings:
        console.print(plain(f"warning: {warning}", "yellow"))


def _reached(reached: Mapping[str, float | None], rival: str) -> str:
    from autotl.budget import describe_seconds

    if rival not in reached:
        return ""
    seconds = reached[rival]
    return "never" if seconds is None else describe_seconds(seconds)
