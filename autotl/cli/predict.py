"""``autotl predict``: answers for new rows."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from typing import Any

from autotl.cli.options import add_data, new_file, writing

HELP = "predict new rows with a run's best model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="a run's folder, or a bundle")
    add_data(parser)
    parser.add_argument("--out", metavar="FILE", help="CSV to write: the rows in order, with their predictions")
    parser.add_argument("--json", action="store_true", help="one JSON object a row on standard output")


def run(options: argparse.Namespace) -> int:
    from autotl.data.tables import read_table
    from autotl.errors import DataError
    from autotl.escaping import for_csv, for_terminal
    from autotl.files import write_durably
    from autotl.predictor.predictor import Predictor

    out = new_file(options.out) if options.out else None
    table = read_table(options.data)
    predictor = Predictor(options.folder)
    predictions = predictor.predictions(table)
    added = predictor.task.rules.columns(predictor.task)
    if clash := sorted(set(added) & set(table.columns)):
        raise DataError(f"{table.name} has a column {clash[0]!r} already; rename it, as the predictions bring one")
    for index, reason in sorted(predictions.unreadable.items())[:5]:
        sentence = f"autotl: {table.describe_row(index)}: {reason}; left without a prediction"
        print(for_terminal(sentence), file=sys.stderr)
    if len(predictions.unreadable) > 5:
        print(f"autotl: and {len(predictions.unreadable) - 5} more rows", file=sys.stderr)

    rows = predictor.written(predictions)
    if options.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    if out or not options.json:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*table.columns, *added])
        given = zip(*table.columns.values(), strict=True)
        writer.writerows(
            [*map(_writable, cells), *(for_csv(said) if isinstance(said, str) else said for said in row.values())]
            for cells, row in zip(given, rows, strict=True)
        )
        if out:
            with writing(out):
                write_durably(out, text.getvalue())
            print(f"{len(rows)} predictions in {out}", file=sys.stderr)
        else:
            sys.stdout.write(text.getvalue())
    return 0


def _writable(cell: Any) -> Any:
    """A cell as UTF-8 holds it: names of files need not be UTF-8."""
    from autotl.data.cells import in_whole_characters

    return in_whole_characters(cell) if isinstance(cell, str) else cell
