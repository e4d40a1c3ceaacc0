"""``autotl search``: the main job."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotl.cli.options import add_data, add_models, add_output, add_roles

if TYPE_CHECKING:
    from autotl.budget import Clock
    from autotl.search.engine import Outcome

HELP = "find the best fine-tuned model for a table within a budget"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--test", metavar="PATH", help="a labelled table, used once at the end for an honest score")
    parser.add_argument("--budget", metavar="TIME", help="30s, 5m, 2h, 1d: when the command ends (default: 5m)")
    parser.add_argument("--trials", type=int, metavar="N", help="end after N trials; without --budget, repeatable")
    add_roles(parser)
    add_models(parser)
    parser.add_argument("--out", metavar="FOLDER", help="the run's folder, new (default: runs/NAME)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of splits, trials and training (default: 0)")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    from autotl.budget import Clock, parse_budget
    from autotl.cli.main import PROCESS_START
    from autotl.config import DEFAULT_BUDGET, SearchRequest, parse_trials, run_folder
    from autotl.data.inspection import SKIP_LIMIT
    from autotl.search.engine import Search

    asked = options.budget or (None if options.trials else DEFAULT_BUDGET)
    seconds = parse_budget(asked) if asked else None
    request = SearchRequest(
        data=str(Path(options.data).expanduser().resolve()),
        test=str(Path(options.test).expanduser().resolve()) if options.test else None,
        target=options.target,
        image=options.image,
        text=options.text,
        metric=options.metric,
        models=tuple(str(Path(folder).expanduser().resolve()) for folder in options.models),
        budget_seconds=seconds,
        trials=parse_trials(options.trials),
        offline=options.offline,
        skip_limit=SKIP_LIMIT if options.skip_unreadable is None else options.skip_unreadable,
        seed=options.seed,
    )
    folder = run_folder(options.data, options.out)
    clock = Clock(seconds or float("inf"), start=PROCESS_START)
    with choose_view(options, clock) as view:
        outcome = Search(request, folder, listeners=[view], start=PROCESS_START).run()
    return show_outcome(outcome, options)


def choose_view(options: argparse.Namespace, clock: Clock) -> Any:
    """The view that the options and the terminal ask for."""
    from autotl.report.live import JsonView, LiveView, PlainView, QuietView

    if options.quiet:
        return QuietView()
    if options.json:
        return JsonView()
    return LiveView(clock) if sys.stderr.isatty() else PlainView()


def show_outcome(outcome: Outcome, options: argparse.Namespace) -> int:
    """The last screen: the leaderboard, the score, and what to type next."""
    if options.quiet or options.json:
        return 130 if outcome.interrupted else 0
    from rich.console import Console

    from autotl.events import read_events
    from autotl.predictor.bundle import find_bundle, read_card
    from autotl.report.leaderboard import leaderboard
    from autotl.report.live import leaderboard_table

    card = read_card(find_bundle(outcome.folder))
    rows = leaderboard(read_events(outcome.folder / "events.jsonl"))
    tried = sum(row.state in {"complete", "dropped", "cut"} for row in rows)
    console = Console(highlight=False)
    console.print(leaderboard_table(rows[:10]))
    low, high = card.interval
    console.print(
        f"\nBest: [bold]{card.task.metric} {card.score:.4f}[/] (95 %: {low:.3f} to {high:.3f}) "
        f"on {card.validation_rows} validation rows, chosen among {tried}"
    )
    console.print(f"      {card.strategy} of {card.backbone}, trial {card.trial}")
    if outcome.test:
        low, high = outcome.test["interval"]
        console.print(
            f"Test: [bold]{outcome.test['metric']} {outcome.test['score']:.4f}[/] (95 %: {low:.3f} to {high:.3f}) "
            f"on {outcome.test['rows']} rows never used before"
        )
    console.print("\nNext:", style="dim")
    console.print(f"  autotl predict {outcome.folder} --data new.csv --out predictions.csv", markup=False)
    console.print(f"  autotl evaluate {outcome.folder} --data test.csv", markup=False)
    console.print(f"  autotl resume {outcome.folder} --budget +10m", markup=False)
    return 130 if outcome.interrupted else 0
