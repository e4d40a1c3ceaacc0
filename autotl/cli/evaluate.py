"""``autotl evaluate``: an honest score on labelled rows."""

from __future__ import annotations

import argparse
import filecmp
import math
from contextlib import suppress
from pathlib import Path

from autotl.cli.options import add_data
from autotl.errors import RunError
from autotl.escaping import as_json

#: Classes, or labels, that a screen shows.
MOST_LINES = 20

HELP = "score a run's best model on labelled rows"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="a run's folder, or a bundle")
    add_data(parser)
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(options: argparse.Namespace) -> int:
    from autotl.predictor.predictor import Predictor

    result = Predictor(options.folder).evaluate(options.data)
    found, own = result.breakdown, _is_own_table(options.folder, options.data)
    if options.json:
        answer = {
            "metric": result.metric,
            "score": result.score,
            "interval": result.interval,
            "rows": result.rows,
            "left_out": result.left_out,
            "notes": list(result.notes),
            "unlearned": result.unlearned,
            "own_table": own,
            **result.scores,
            f"{found.name}_rows": list(found.rows),
            f"{found.name}_columns": list(found.columns),
            found.name: [[value if math.isfinite(value) else None for value in row] for row in found.values.tolist()],
        }
        print(as_json(answer))
        return 0

    from rich.console import Console
    from rich.table import Table

    from autotl.data.wording import counted, scored_rows
    from autotl.report.plain import plain

    console = Console(highlight=False)
    low, high = result.interval
    rows = scored_rows(result.rows, result.unlearned)
    console.print(f"[bold]{result.metric} {result.score:.4f}[/] (95 %: {low:.4f} to {high:.4f}) on {rows}")
    if own:
        console.print(
            "The rows are of the search's own table, and the model has seen most of them: what new rows will show is "
            "the score in the model card",
            style="yellow",
            soft_wrap=True,
        )
    for note in result.notes:
        console.print(plain(note, "yellow"), soft_wrap=True)
    if result.left_out:
        console.print(f"{counted(result.left_out, 'row')} left out: no label, or not readable", style="yellow")
    for name, value in result.scores.items():
        if name != result.metric:
            console.print(f"{name} {value:.4f}")
    if max(len(found.rows), len(found.columns)) <= MOST_LINES:
        table = Table(found.corner, box=None, header_style="dim")
        for name in found.columns:
            table.add_column(plain(name), justify="right")
        for name, values in zip(found.rows, found.values.tolist(), strict=True):
            table.add_row(plain(name), *map(_short, values))
        console.print(table)
    return 0


def _short(value: float) -> str:
    """All of a count, and four digits of a share or an error."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.4g}"


def _is_own_table(run: str, data: str) -> bool:
    """Whether the run, or that of the bundle, was searched on this table or one of the same content."""
    from autotl.data.paths import absolute
    from autotl.runs.folder import RUN_FILE
    from autotl.runs.run_file import read_run_file

    folder, table = absolute(run), absolute(data)
    home = next((place for place in (folder, folder.parent) if (place / RUN_FILE).is_file()), None)
    if home is None:
        return False
    with suppress(RunError, OSError):  # of a run that is torn or moved nothing is known
        searched = Path(read_run_file(home).request.data)
        return searched.samefile(table) or (searched.is_file() and filecmp.cmp(searched, table, shallow=False))
    return False
