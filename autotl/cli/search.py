"""``autotl search``: the main job."""

from __future__ import annotations

import argparse

from autotl.cli.options import add_output, add_search, asked
from autotl.cli.screen import show_outcome, watched
from autotl.cli.started import PROCESS_START

HELP = "find the best fine-tuned model for a table within a budget"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_search(parser)
    parser.add_argument("--budget", metavar="TIME", help="30s, 5m, 2h, 1d: when the command ends (default: 5m)")
    parser.add_argument("--trials", type=int, metavar="N", help="end after N trials; without --budget, repeatable")
    parser.add_argument(
        "--portfolio", metavar="FILE", help="what past runs say to try first, as 'autotl portfolio' writes it"
    )
    parser.add_argument("--out", metavar="FOLDER", help="the run's folder, new (default: runs/NAME)")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    from autotl.budget import Clock, parse_budget
    from autotl.config import DEFAULT_BUDGET, make_request
    from autotl.runs.folder import run_folder
    from autotl.search.engine import Search

    budget = options.budget
    if budget is None and options.trials is None:
        budget = DEFAULT_BUDGET
    seconds = None if budget is None else parse_budget(budget)
    request = make_request(
        **asked(options),
        budget_seconds=seconds,
        trials=options.trials,
        portfolio=options.portfolio,
    )
    folder = run_folder(options.data, options.out)
    clock = Clock(seconds or float("inf"), start=PROCESS_START)
    outcome = watched(lambda view: Search(request, folder, listeners=[view], start=PROCESS_START).run(), options, clock)
    return show_outcome(outcome, options)
