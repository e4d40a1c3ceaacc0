"""``autotl predict``: answers for new rows."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autotl.cli.options import add_data, new_file, writing
from autotl.errors import RunError
from autotl.escaping import as_json, for_csv, for_terminal
from autotl.files import replacing

HELP = "predict new rows with a run's best model"

#: Rows without a prediction whose reason is told.
_TOLD = 5

#: Names of tables of another form; what is written is CSV, whatever its name.
_OTHER_FORMS = {
    ".parquet", ".feather", ".arrow", ".xlsx", ".xls", ".ods", ".orc", ".pkl", ".pickle", ".gz", ".zip", ".bz2", ".xz",
    ".zst", ".tsv", ".jsonl", ".ndjson", ".json",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="a run's folder, or a bundle")
    add_data(parser)
    parser.add_argument("--out", metavar="FILE", help="CSV to write: the rows in order, with their predictions")
    parser.add_argument("--json", action="store_true", help="one JSON object a row on standard output")


def run(options: argparse.Namespace) -> int:
    from autotl.data.tables import TableParts
    from autotl.data.wording import counted
    from autotl.errors import DataError
    from autotl.predictor.predictor import Predictor

    out = _text_file(options.out) if options.out else None
    table = TableParts(options.data)
    predictor = Predictor(options.folder)
    added = predictor.task.rules.columns(predictor.task)
    as_table = bool(out) or not options.json
    if as_table and (clash := sorted(set(added) & set(table.columns))):
        raise DataError(f"{table.name} has a column {clash[0]!r} already; rename it, as the predictions bring one")
    rows, unreadable = 0, 0
    with _destination(out) as write:
        for part, predictions in predictor.in_parts(table):
            for note in () if rows else part.notes:
                print(f"autotl: {for_terminal(note)}", file=sys.stderr)
            told = predictor.written(predictions)
            if options.json:
                for row in told:
                    print(as_json(row))
            if as_table:
                write("" if rows else _as_csv([[*table.columns, *added]]))
                cells = zip(*part.columns.values(), strict=True)
                write(_as_csv(_row(given, answer) for given, answer in zip(cells, told, strict=True)))
            for index, reason in sorted(predictions.unreadable.items())[: max(_TOLD - unreadable, 0)]:
                sentence = f"autotl: {part.describe_row(index)}: {reason}; left without a prediction"
                print(for_terminal(sentence), file=sys.stderr)
            rows, unreadable = rows + part.rows, unreadable + len(predictions.unreadable)
    if unreadable > _TOLD:
        print(f"autotl: and {counted(unreadable - _TOLD, 'more row')}", file=sys.stderr)
    if out:
        left = (
            f"; {counted(unreadable, 'row')} could not be read and {'has' if unreadable == 1 else 'have'} none"
            if unreadable
            else ""
        )
        print(f"{counted(rows - unreadable, 'prediction')} in {out}{left}", file=sys.stderr)
    return 0


def _text_file(path: str) -> Path:
    """The file that ``--out`` names. Raises `RunError` where its name promises another form than CSV."""
    out = new_file(path)
    if out.suffix.lower() in _OTHER_FORMS:
        raise RunError(f"{out}: predictions are written as CSV; name a file that ends in .csv with --out")
    return out


@contextmanager
def _destination(out: Path | None) -> Iterator[Callable[[str], object]]:
    """What takes text: a file that is there at the end, or standard output."""
    if out is None:
        yield _shown if sys.stdout.isatty() else sys.stdout.write
        return
    with writing(out), replacing(out) as file:
        yield lambda text: file.write(text.encode())


def _shown(text: str) -> None:
    """Lines of a table on a screen, which what is in a cell must not command."""
    sys.stdout.write("\n".join(map(for_terminal, text.split("\n"))))


def _as_csv(rows: Iterable[Iterable[Any]]) -> str:
    """Lines that end in a line feed; Python 3.11 quotes carriage returns only where it writes them itself."""
    text, lines = io.StringIO(), []
    writer = csv.writer(text, lineterminator="\r\n")
    for row in rows:
        writer.writerow(row)
        lines.append(text.getvalue().removesuffix("\r\n") + "\n")
        text.seek(0)
        text.truncate()
    return "".join(lines)


def _row(cells: Iterable[Any], answer: Mapping[str, Any]) -> list[Any]:
    """A row as it was given, with its answer."""
    return [*map(_writable, cells), *(for_csv(said) if isinstance(said, str) else said for said in answer.values())]


def _writable(cell: Any) -> Any:
    """A cell as UTF-8 holds it: names of files need not be UTF-8."""
    from autotl.data.cells import in_whole_characters

    return in_whole_characters(cell) if isinstance(cell, str) else cell
