"""The table of a person, from a file, a folder or a frame; columns in memory, rows that can be named."""

from __future__ import annotations

import math
import os
import reprlib
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.data.datasets import is_dataset, noted_features, plain_columns, read_dataset, with_names
from autotl.data.folders import TABLE_SUFFIXES, read_class_folders
from autotl.data.paths import expanded, is_address, obstacle
from autotl.data.text_files import (
    JSON_LINES,
    PART_ROWS,
    TextFile,
    has_lines_of_json,
    parse_delimited,
    parse_json_lines,
)
from autotl.data.wording import a_kind_of, counted, did_you_mean, listed
from autotl.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

_WAY_OUT = {
    ".json": "Write one object per line, for example: jq -c '.[]' {name} > {stem}.jsonl",
    ".xls": "Save the sheet as CSV (UTF-8).",
    ".xlsx": "Save the sheet as CSV (UTF-8).",
    ".gz": "Unpack it first.",
    ".zip": "Unpack it first.",
}


@dataclass(frozen=True)
class Table:
    """Columns of equal length. Cells are str, int, float or bool, None where missing.

    Cells of any other type (lists, dates, bytes) are kept as they came, for whoever knows them. Names are kept as they
    were written, and found without regard to spaces around them and to their Unicode form.
    """

    name: str  #: short, for messages: the file's name, or "DataFrame"
    root: Path  #: relative image paths start here
    columns: dict[str, list[Any]]
    numbers: Sequence[int]  #: of each row in its source, counted from 1 without the header; kept by `select`
    lines: Sequence[int] | None = None  #: on which each row begins in its file, counted from 1
    notes: tuple[str, ...] = ()  #: what reading left out
    of_class_folders: bool = False  #: so that its columns were named by nobody

    @property
    def rows(self) -> int:
        return len(self.numbers)

    def name_of(self, name: str) -> str:
        """A column's name as the table has it. Raises `DataError` with the closest name where there is none."""
        if name in self.columns:
            return name
        alike = [column for column in self.columns if _plain(column) == _plain(name)]
        if len(alike) != 1:
            raise DataError(
                f"{self.name} has no column {name!r}.{did_you_mean(name, self.columns)} "
                f"Its columns are {listed(self.columns)}."
            )
        return alike[0]

    def column(self, name: str) -> list[Any]:
        """The cells of a column. Raises `DataError` as `name_of` does."""
        return self.columns[self.name_of(name)]

    def describe_row(self, index: int) -> str:
        """``flowers.csv: row 41``, and the line where an editor would not find it on the next one."""
        number = self.numbers[index]
        if self.lines is None or self.lines[index] == number + 1:
            return f"{self.name}: row {number}"
        return f"{self.name}: row {number} (line {self.lines[index]})"

    def labelled(self, targets: Sequence[str], labels: Sequence[Any]) -> Table:
        """The same with labels in a column, or others there; a sequence of them a row for several columns.

        Raises `DataError` unless there is one a row, and for each column.
        """
        if len(labels) != self.rows:
            raise DataError(f"{self.name}: {self.rows} rows and {len(labels)} labels; there has to be one a row.")
        columns = (
            [labels] if len(targets) == 1 else list(zip(*labels, strict=True)) if _as_wide(labels, targets) else []
        )
        if not columns:
            raise DataError(f"{self.name}: each row needs a label for each of {', '.join(targets)}.")
        given = {target: [_tidy(label) for label in column] for target, column in zip(targets, columns, strict=True)}
        return replace(self, columns={**self.columns, **given})

    def select(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> Table:
        """The rows at `indices` (from 0), in that order, under the numbers they had."""
        chosen = [int(index) for index in indices]
        return replace(
            self,
            columns={name: [cells[i] for i in chosen] for name, cells in self.columns.items()},
            numbers=[self.numbers[i] for i in chosen],
            lines=None if self.lines is None else [self.lines[i] for i in chosen],
        )

    def named(self, image: str, label: str) -> Table:
        """The same under the names that a task has for image and label, where it was read from class folders."""
        if not self.of_class_folders:
            return self
        names = {"image": image, "label": label}
        return replace(self, columns={names.get(name, name): cells for name, cells in self.columns.items()})


def read_table(source: str | Path | pd.DataFrame, *, labelled: bool = True) -> Table:
    """Reads a file (CSV, TSV, JSON Lines, Parquet), a folder of class folders or of Hugging Face's
    `datasets`, or a DataFrame: of pandas, or of a library that knows Arrow's protocol for tables.

    Image paths are relative to the file's folder, to the folder, or to the working folder for a frame. labelled: as in
    `read_class_folders`. Raises `DataError` naming the file, the line or row, and the way out.
    """
    parts = list(_read_parts(source, labelled=labelled))
    if len(parts) == 1:
        return parts[0]
    names = dict.fromkeys(name for part in parts for name in part.columns)
    columns = {name: [cell for part in parts for cell in part.columns.get(name, [None] * part.rows)] for name in names}
    lines = [line for part in parts for line in part.lines or ()] or None
    rows = sum(part.rows for part in parts)
    return replace(parts[0], columns=columns, numbers=range(1, rows + 1), lines=lines)


class TableParts:
    """A table to predict in parts that follow each other, for whoever needs no more than some of its rows at a time.

    A file is read anew each time one goes through them; anything else is read whole. It has been read once when this is
    made, which raises as `read_table` does.
    """

    def __init__(self, source: str | Path | pd.DataFrame) -> None:
        self._source, self.name, found = source, "", dict[str, None]()
        for part in _read_parts(source, labelled=False):
            self.name, found = part.name, found | dict.fromkeys(part.columns)
        self.columns = tuple(found)

    def __iter__(self) -> Iterator[Table]:
        for part in _read_parts(self._source, labelled=False):
            columns = {name: part.columns.get(name, [None] * part.rows) for name in self.columns}
            whole = replace(part, columns=columns)
            for start in range(0, max(part.rows, 1), PART_ROWS):  # of a large folder: answers take memory too
                yield whole.select(range(part.rows)[start : start + PART_ROWS]) if part.rows > PART_ROWS else whole


def table_of(inputs: Iterable[Any], columns: Sequence[str]) -> Table:
    """A table of the columns of an input, from inputs that are in memory: cells, or where there are several columns
    tuples or lists with a cell for each, or an array ``[rows, columns]``. Image paths are relative to the working
    folder.

    Raises `DataError` where there are none, or where they are no plain sequence of such.
    """
    several, width = len(columns) > 1, getattr(inputs, "ndim", 1)
    if isinstance(inputs, Mapping | bytes) or width not in (1, 2) or not isinstance(inputs, Iterable):
        wanted = f"tuples of {listed(columns)}" if several else "texts or of paths of images"
        raise DataError(f"Inputs are a path, a DataFrame, or a list of {wanted}, not {a_kind_of(inputs)}.")
    rows = plain_list(inputs)
    if width == 2:
        rows = _tuples(rows, columns)
    if not several:
        return _table("the list", Path.cwd(), {columns[0]: rows})
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, tuple | list) or len(row) != len(columns):
            wanted = f"Each input is a tuple of {len(columns)} cells, {listed(columns)}"
            raise DataError(f"the list: row {number}: {wanted}, not {reprlib.repr(row)}.")
    return _table("the list", Path.cwd(), {name: [row[place] for row in rows] for place, name in enumerate(columns)})


def plain_list(values: Iterable[Any]) -> list[Any]:
    """What a sequence of values holds; a column of Arrow has wrappers around them."""
    plain: list[Any] = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
    return plain


def _tuples(rows: Sequence[Any], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The rows of an array of cells ``[rows, columns]``. Raises `DataError` where it has others than are read."""
    width = len(rows[0]) if len(rows) else len(columns)
    if len(columns) == 1:
        raise DataError(
            f"The array has rows of {counted(width, 'cell')}, and the model reads {columns[0]!r} alone. "
            "Pass array[:, 0], or another of its columns."
        )
    if width != len(columns):
        way_out = "Leave out the rest" if width > len(columns) else "Pass all of them"
        wanted = f"{len(columns)} are read: {listed(columns)}"
        raise DataError(f"The array has rows of {counted(width, 'cell')}, and {wanted}. {way_out}.")
    return [tuple(row) for row in rows]


def _read_parts(source: str | Path | pd.DataFrame, *, labelled: bool) -> Iterator[Table]:
    """The table in parts, one at least. A part of JSON Lines may lack columns that others have."""
    if not isinstance(source, str | Path):
        yield _read_frame(source)
        return
    if not os.fspath(source) or is_address(str(source)):
        raise DataError(f"{str(source)!r} is no path: a table is a file or folder on this machine. Download it first.")
    path = expanded(source)
    try:
        if path.is_dir():
            yield _read_folder(path, labelled=labelled)
            return
        first = 1
        for columns, lines in _file_parts(path):
            yield (table := _table(path.name, path.parent.absolute(), columns, first=first, lines=lines))
            first += table.rows
    except OSError as error:
        way_out = " Check its permissions." if isinstance(error, PermissionError) else ""
        what = error.filename if error.filename is not None else path
        raise DataError(f"{what} cannot be read ({error.strerror or error}).{way_out}") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory. Give a part of its rows.") from error


def _read_frame(source: Any) -> Table:
    if hasattr(source, "columns") and hasattr(source, "isna"):
        return _table("DataFrame", Path.cwd(), _frame_columns(source))
    if hasattr(source, "columns") and hasattr(source, "__arrow_c_stream__"):
        return _table(type(source).__name__, Path.cwd(), _arrow_columns(source))
    way_out = " Pass what its to_pandas() gives." if hasattr(source, "to_pandas") else ""
    raise DataError(f"A table is a path or a pandas DataFrame, not {a_kind_of(source)}.{way_out}")


def _read_folder(folder: Path, *, labelled: bool) -> Table:
    if is_dataset(folder):
        return _table(folder.absolute().name, folder.absolute(), read_dataset(folder))
    columns, notes = read_class_folders(folder, labelled=labelled)
    table = _table(folder.absolute().name, folder.absolute(), columns, notes=notes)
    return replace(table, of_class_folders=True)


def _file_parts(path: Path) -> Iterator[tuple[dict[str, list[Any]], list[int] | None]]:
    """Columns, and where there are lines that on which each row begins."""
    if not path.exists():
        raise DataError(_missing_file(path))
    if found := obstacle(path, most_bytes=math.inf):
        raise DataError(f"{path} {found}. Write the table to a file first.")
    suffix = path.suffix.lower()
    if suffix in {".csv", ".tsv", ".txt"}:
        separator = "\t" if suffix == ".tsv" else None
        yield from parse_delimited(TextFile(path), name=path.name, separator=separator)
    elif suffix in JSON_LINES or (suffix == ".json" and has_lines_of_json(TextFile(path))):
        yield from parse_json_lines(TextFile(path), name=path.name)
    elif suffix == ".parquet":
        yield from ((columns, None) for columns in _parquet_parts(path))
    else:
        way_out = _WAY_OUT.get(suffix, "").format(name=path.name, stem=path.stem)
        readable = ", ".join(sorted(TABLE_SUFFIXES))
        raise DataError(
            f"{path.name}: a table is read from {readable}, or a folder of class folders. {way_out}".rstrip()
        )


def _table(
    name: str,
    root: Path,
    columns: dict[str, list[Any]],
    *,
    first: int = 1,
    lines: list[int] | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """first: number of the first row."""
    tidy = {column: [_tidy(cell) for cell in cells] for column, cells in columns.items()}
    rows = len(next(iter(tidy.values()), []))
    if rows == 0:
        raise DataError(f"{name}: the table has no {'rows' if columns else 'rows or no columns'}.")
    return Table(name, root, tidy, range(first, first + rows), lines, tuple(notes))


def _tidy(cell: Any) -> Any:
    """The cell as a plain Python value; None for NaN, and for the NA and NaT of pandas."""
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, os.PathLike):
        return os.fspath(cell)
    if isinstance(cell, Decimal):
        if cell.is_nan():
            return None
        return int(cell) if cell.is_finite() and cell == cell.to_integral_value() else float(cell)
    pandas = sys.modules.get("pandas")  # whoever has its NA has imported it
    if pandas and (cell is pandas.NA or cell is pandas.NaT):
        return None
    return None if isinstance(cell, float) and cell != cell else cell


def _plain(name: str) -> str:
    """A column's name as it is compared."""
    return unicodedata.normalize("NFC", name.replace("\ufeff", "")).strip()


def _frame_columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    if frame.columns.nlevels > 1:
        raise DataError(
            f"DataFrame: its columns have {frame.columns.nlevels} levels of names. Make them one, for example: "
            "frame.columns = ['_'.join(map(str, name)) for name in frame.columns]"
        )
    names = [str(name) for name in frame.columns]
    _refuse_repeats("DataFrame", names)
    columns = {}
    for position, name in enumerate(names):
        series = frame.iloc[:, position]
        missing = series.isna().tolist()  # NaN, NaT, None and NA alike
        columns[name] = [None if gone else cell for cell, gone in zip(series.tolist(), missing, strict=True)]
    return columns


def _arrow_columns(source: Any) -> dict[str, list[Any]]:
    import pyarrow as pa

    try:
        table = pa.table(source)
    except Exception as error:  # whatever another library cannot hand over, it means this
        reason = str(error).partition("\n")[0]
        raise DataError(f"{a_kind_of(source)} cannot be read ({reason}). Make it a pandas DataFrame.") from error
    name = type(source).__name__
    _refuse_repeats(name, table.column_names)
    return plain_columns(table, name)


def _parquet_parts(path: Path) -> Iterator[dict[str, list[Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _refuse_repeats(path.name, file.schema_arrow.names)
            found, features = False, noted_features(file.schema_arrow.metadata)
            for batch in file.iter_batches(PART_ROWS):
                found = True
                columns = plain_columns(pa.Table.from_batches([batch]), path.name)
                yield with_names(path.name, columns, features)
            if not found:
                yield {name: [] for name in file.schema_arrow.names}
    except (pa.ArrowException, OSError) as error:  # a damaged file gives either
        raise DataError(f"{path.name} is not a readable Parquet file ({str(error).partition(chr(10))[0]}).") from error


def _refuse_repeats(name: str, columns: Iterable[str]) -> None:
    if repeated := sorted(column for column, count in Counter(columns).items() if count > 1):
        raise DataError(f"{name}: {listed(repeated)} names more than one column. Rename or remove the repeats.")


def _missing_file(path: Path) -> str:
    folder = path.parent
    if path.is_symlink():
        return f"{path} is a link that leads nowhere."
    if not folder.is_dir():
        return f"{path}: there is no folder {folder}."
    return f"{path}: there is no such file.{did_you_mean(path.name, [entry.name for entry in folder.iterdir()])}"


def _as_wide(rows: Sequence[Any], columns: Sequence[str]) -> bool:
    """Whether each row has a value for each column."""
    return all(hasattr(row, "__len__") and len(row) == len(columns) for row in rows)
