"""``autotl search``: the main job."""

from __future__ import annotations

import argparse
from pathlib import Path

from autotl.cli.options import add_data, add_models, add_output, add_roles
from autotl.cli.screen import choose_view, show_outcome
from autotl.cli.started import PROCESS_START

HELP = "find the best fine-tuned model for a table within a budget"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--test", metavar="PATH", help="a labelled table, used once at the end for an honest score")
    parser.add_argument("--budget", metavar="TIME", help="30s, 5m, 2h, 1d: when the command ends (default: 5m)")
    parser.add_argument("--trials", type=int, metavar="N", help="end after N trials; without --budget, repeatable")
    add_roles(parser)
    parser.add_argument(
        "--set-aside",
        metavar="FILE",
        help="leave out the rows listed there, as in set_aside.csv of a run, and no others",
    )
    add_models(parser)
    parser.add_argument(
        "--max-memory", metavar="SIZE", help="that training may take, such as 6GB (default: 80%% of what is free)"
    )
    parser.add_argument("--max-latency", metavar="TIME", help="from one row to its answer on this machine, such as 5ms")
    parser.add_argument("--max-params", metavar="COUNT", help="of the model, such as 5M")
    parser.add_argument("--max-size", metavar="SIZE", help="of the model's weights on disk, such as 20MB")
    parser.add_argument(
        "--portfolio", metavar="FILE", help="what past runs say to try first, as 'autotl portfolio' writes it"
    )
    parser.add_argument("--out", metavar="FOLDER", help="the run's folder, new (default: runs/NAME)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of splits, trials and training (default: 0)")
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    from autotl.budget import Clock, parse_budget
    from autotl.config import (
        DEFAULT_BUDGET,
        SearchRequest,
        parse_limits,
        parse_memory,
        parse_seed,
        parse_trials,
        run_folder,
    )
    from autotl.data.inspection import SKIP_LIMIT
    from autotl.search.engine import Search

    asked = options.budget
    if asked is None and options.trials is None:
        asked = DEFAULT_BUDGET
    seconds = None if asked is None else parse_budget(asked)
    request = SearchRequest(
        data=str(Path(options.data).expanduser().resolve()),
        test=str(Path(options.test).expanduser().resolve()) if options.test else None,
        target=options.target,
        image=options.image,
        text=options.text,
        group=options.group,
        metric=options.metric,
        set_aside=str(Path(options.set_aside).expanduser().resolve()) if options.set_aside else None,
        models=tuple(str(Path(folder).expanduser().resolve()) for folder in options.models),
        budget_seconds=seconds,
        trials=parse_trials(options.trials),
        offline=options.offline,
        skip_limit=SKIP_LIMIT if options.skip_unreadable is None else options.skip_unreadable,
        max_memory=None if options.max_memory is None else parse_memory(options.max_memory),
        limits=parse_limits(latency=options.max_latency, parameters=options.max_params, size=options.max_size),
        portfolio=str(Path(options.portfolio).expanduser().resolve()) if options.portfolio else None,
        seed=parse_seed(options.seed),
    )
    folder = run_folder(options.data, options.out)
    clock = Clock(seconds or float("inf"), start=PROCESS_START)
    with choose_view(options, clock) as view:
        outcome = Search(request, folder, listeners=[view], start=PROCESS_START).run()
    return show_outcome(outcome, options)
