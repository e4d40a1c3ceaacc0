"""``autotl resume``: goes on with a run that was ended, cut or killed."""

from __future__ import annotations

import argparse
from pathlib import Path

from autotl.cli.options import add_output
from autotl.cli.screen import show_outcome, watched
from autotl.cli.started import PROCESS_START

HELP = "continue a run, with what is left of its budget or with more"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="the run's folder, such as runs/flowers")
    parser.add_argument("--budget", metavar="TIME", help="+10m for so much more, or a new total")
    parser.add_argument("--trials", metavar="+N", help="so many trials more, for a run that counts trials")
    moved = {
        "data": "table",
        "test": "test table",
        "costs": "table of costs",
        "set-aside": "list of rows left out",
        "teacher": "run or bundle to learn from",
    }
    for name, what in moved.items():
        parser.add_argument(f"--{name}", metavar="PATH", help=f"where the {what} is by now, if it was moved")
    parser.add_argument(
        "--models", action="append", metavar="FOLDER", help="where the models are by now, if they were moved"
    )
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    from autotl.budget import Clock, parse_budget
    from autotl.config import moved
    from autotl.errors import BudgetError
    from autotl.runs.run_file import read_run_file
    from autotl.search.resuming import resume

    known = read_run_file(Path(options.folder))
    text = options.budget or ""
    more = parse_budget(text[1:]) if text.startswith("+") else 0.0
    total = parse_budget(text) if text and not more else known.request.budget_seconds
    if options.trials and not options.trials.lstrip("+").isdigit():
        raise BudgetError(f"--trials {options.trials!r}: write +10")
    clock = Clock(known.seconds + more if more else total or float("inf"), start=PROCESS_START - known.seconds)
    outcome = watched(
        lambda view: resume(
            Path(options.folder),
            budget_seconds=total,
            more_seconds=more,
            more_trials=int((options.trials or "0").lstrip("+")),
            moved=moved(
                data=options.data,
                test=options.test,
                costs=options.costs,
                set_aside=options.set_aside,
                teacher=options.teacher,
                models=options.models,
            ),
            listeners=[view],
            start=PROCESS_START,
        ),
        options,
        clock,
    )
    return show_outcome(outcome, options)
