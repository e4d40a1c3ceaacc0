"""The list of rows that are set aside, as a file that a person reads, edits and hands back.

CSV with the columns ``row`` (counted from 1 without the header), ``reason``, ``input`` and ``label``. Of a file that
comes back only ``row`` is needed; where ``input`` is there, it has to be that row's, so that a list which was made for
another table removes nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autotl.data.cells import in_whole_characters, is_missing
from autotl.data.inspection import Inspection
from autotl.data.labels import label_of
from autotl.data.tables import Table
from autotl.data.text_files import TextFile, parse_delimited
from autotl.data.wording import did_you_mean, shortened
from autotl.errors import DataError
from autotl.escaping import for_csv
from autotl.files import write_durably

SET_ASIDE_FILE = "set_aside.csv"
_COLUMNS = ("row", "reason", "input", "label")

#: Characters of an input: enough to recognize it, and a line of an editor.
_SHOWN = 200


def write_set_aside(path: Path, inspection: Inspection) -> None:
    """Lists the rows that are not kept, in their order."""
    table, task = inspection.table, inspection.task
    inputs, targets = _as_written(table, task.columns), [table.column(name) for name in task.targets]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row, reason in inspection.set_aside:
        said = ", ".join(label_of(column[row]) or "" for column in targets)
        cells = (_plain(reason), _plain(inputs[row]), _plain(said))
        writer.writerow([table.numbers[row], *map(for_csv, cells)])
    write_durably(path, text.getvalue())


def read_set_aside(path: Path, table: Table, input_columns: Sequence[str]) -> dict[int, str]:
    """The reason for each listed row, by its index in `table`. A row may be listed twice.

    input_columns: those of the input. Raises `DataError` naming the file, the line and the way out.
    """
    indices = {str(number): index for index, number in enumerate(table.numbers)}
    inputs = _as_written(table, input_columns)
    listed: dict[int, str] = {}
    for line, number, reason, shown in _read_list(path):
        index = indices.get((number or "").strip())
        if index is None:
            raise DataError(
                f"{path.name}: line {line}: {shortened(number or '')} is not a row of {table.name}. Rows are counted "
                f"from 1 without the header, here to {table.rows}"
            )
        if shown is not None and _plain(shown) not in (_plain(inputs[index]), for_csv(_plain(inputs[index]))):
            raise DataError(
                f"{path.name}: line {line}: row {number} of {table.name} is {shortened(_plain(inputs[index]))}, not "
                f"{shortened(shown)}: the list was made for another table, or this one has changed. Make it anew with "
                "'autotl inspect --out FILE', or remove its column 'input' to go by the numbers alone"
            )
        listed[index] = reason or "listed"
    return listed


def _read_list(path: Path) -> Iterator[tuple[int, str | None, str | None, str | None]]:
    """The line of each entry, its row, reason and input."""
    try:
        for columns, lines in parse_delimited(TextFile(path), name=path.name):
            if "row" not in columns:
                raise DataError(
                    f"{path.name}: line 1 names no column 'row'.{did_you_mean('row', columns)} A list of rows to set "
                    f"aside has the columns {', '.join(_COLUMNS)}, and needs the first"
                )
            nothing = [None] * len(lines)
            yield from zip(lines, *(columns.get(name, nothing) for name in ("row", "reason", "input")), strict=True)
    except OSError as error:
        raise DataError(f"{path}: this list of rows to set aside cannot be read ({error.strerror})") from error


def _as_written(table: Table, columns: Sequence[str]) -> list[str]:
    """The input of each row as its cells have it, with bars between several."""
    rows = zip(*map(table.column, columns), strict=True)
    return [" | ".join(str(cell) for cell in row if not is_missing(cell)) for row in rows]


def _plain(cell: Any) -> str:
    """A cell on one line, cut where it is long, in characters that every file can hold."""
    if is_missing(cell):
        return ""
    return in_whole_characters(" ".join(str(cell).replace("\0", " ").split())[:_SHOWN].rstrip())
