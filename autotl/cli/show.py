"""``autotl show``: one trial of a run."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from autotl.escaping import as_json

if TYPE_CHECKING:
    from autotl.report.trial import TrialStory

HELP = "show a trial of a run: settings, curve, what became of it, and how to get the same model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="the run's folder, such as runs/flowers")
    parser.add_argument("trial", metavar="TRIAL", type=int, help="its number in the leaderboard")
    parser.add_argument("--portfolio", metavar="FILE", help="write its settings for 'autotl search --portfolio FILE'")
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(options: argparse.Namespace) -> int:
    from autotl.report.record import read_record
    from autotl.report.trial import trial_story

    story = trial_story(read_record(Path(options.folder)), options.trial)
    if options.portfolio:
        _write_portfolio(story, Path(options.portfolio).expanduser())
    if options.json:
        print(as_json(dataclasses.asdict(story)))
    else:
        _print(story)
    return 0


def _write_portfolio(story: TrialStory, out: Path) -> None:
    from autotl.search.portfolio_file import Entry, Portfolio, Sources

    entry = Entry(strategy=story.strategy, settings=story.settings, mean_regret=0.0)
    Portfolio(sources=Sources(runs=1, tasks=1, trials=1), entries=(entry,)).save(out)


def _print(story: TrialStory) -> None:
    from rich.console import Console
    from rich.table import Table

    from autotl.budget import describe_seconds
    from autotl.report.plain import plain

    console = Console(highlight=False)
    console.print(plain(f"{story.strategy} of {story.backbone}", "bold"))
    console.print(plain(story.fate))
    if story.score is not None:
        console.print(plain(f"score {story.score:.4f} on the validation rows"))
    took = f"took {describe_seconds(story.seconds)}, forecast {describe_seconds(story.planned_seconds)}"
    console.print(took + (f"; {1000 * story.latency:.3g} ms a row" if story.latency is not None else ""))
    if story.settings:
        console.print()
        settings = Table(box=None, show_header=False, pad_edge=False)
        for name, value in story.settings.items():
            settings.add_row(plain(name, "dim"), f"{value:.6g}" if isinstance(value, float) else plain(value))
        console.print(settings)
    if story.curve:
        console.print()
        curve = Table(box=None, header_style="dim", pad_edge=False)
        for name in ("of it", "at", "score"):
            curve.add_column(name, justify="right")
        for point in story.curve:
            curve.add_row(f"{point.percent:.0f} %", describe_seconds(point.at), f"{point.score:.4f}")
        console.print(curve)
    console.print()
    console.print(plain(f"The same again: {story.again}"))
