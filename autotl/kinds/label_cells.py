"""How several labels of a row are written in a table: in one cell, or each in a column of its own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from autotl.data.cells import (
    are_few,
    are_numbers,
    have_grouped_thousands,
    is_amount,
    is_bracketed,
    is_date,
    is_missing,
    is_nested,
    is_number,
    number_and_unit,
    spelled_list,
)
from autotl.data.labels import label_of, without_missing_words
from autotl.data.wording import option, shortened
from autotl.errors import DataError, TaskError
from autotl.kinds.rare import FEWEST_ROWS

if TYPE_CHECKING:
    from autotl.data.tables import Table

#: What stands between labels in a cell, the least ambiguous first; Chinese and Arabic have signs of their own.
DELIMITERS = ("|", ";", "\uff1b", "\u3001", "\u061b", "\uff0c", "\u060c", ",")

#: Combinations of labels that a column must have more of than labels, times this, to be taken for one of several: names
#: of classes may hold a comma too, and then their pieces are more than they are.
_MORE_COMBINATIONS = 1.0

#: Cells with several labels below which a delimiter is a slip.
_FEWEST_SEVERAL = 3

#: Labels in a cell with spaces between them, at most, and ways to combine them, as a multiple of them, at least: spaces
#: say less than commas.
_MOST_SPACED, _SPACED_WAYS = 8, 2

#: The share of labels that some cell has alone: "left" in "upper left arm" is none.
_MOSTLY_ALONE = 0.9

#: How 0 and 1 are written where each label has a column.
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no", "")

#: The share of 0 and 1 from which on what else a column holds is a slip.
_MOSTLY = 0.95


def split(cell: Any, delimiter: str) -> list[str]:
    """The labels of a cell, each once."""
    if is_nested(cell):
        pieces = [label_of(piece.get("name") if isinstance(piece, dict) else piece) for piece in cell]
    elif is_missing(cell):
        return []
    else:
        between = delimiter if delimiter.strip() else None  # any white space
        pieces = [label_of(piece) for piece in (str(cell).split(between) if delimiter else [cell])]
    return list(dict.fromkeys(piece for piece in pieces if piece))


def with_lists(table: Table, columns: Sequence[str]) -> Table:
    """The table with lists in place of texts that spell them, where all filled cells of the one column do."""
    if len(columns) > 1:
        return table
    lists: list[list[Any] | None] = []
    for cell in table.column(columns[0]):
        found = None if is_missing(cell) else spelled_list(cell)
        if found is None and not is_missing(cell):
            return table
        lists.append(found)
    return table.labelled(columns, lists)


def with_zeros(table: Table, columns: Sequence[str]) -> Table:
    """The table with 0 in place of -1 where each of several columns has nothing but -1 and 1, as CelebA has."""
    given = [{label_of(cell) for cell in table.column(column) if not is_missing(cell)} for column in columns]
    if len(columns) == 1 or not all(found <= {"-1", "1"} for found in given):
        return table
    for column in columns:
        table = table.labelled([column], [0 if label_of(cell) == "-1" else cell for cell in table.column(column)])
    return table


def without_words_for_missing(table: Table, columns: Sequence[str], labels: Container[str]) -> Table:
    """The table with nothing in place of a word for a missing value, such as NA, unless it is one of the labels."""
    if len(columns) > 1:
        return table
    cells = table.column(columns[0])
    plain = without_missing_words(cells)
    return table.labelled(
        columns,
        [cell if other is cell or label_of(cell) in labels else None for cell, other in zip(cells, plain, strict=True)],
    )


def find_delimiter(cells: Sequence[Any]) -> str | None:
    """What separates labels in a column of text, where that is plain: cells combine fewer labels in many ways."""
    present = [str(cell) for cell in without_missing_words(cells) if not is_missing(cell)]
    if all(are_numbers([text]) or number_and_unit(text) or is_amount(text) for text in present):
        return None
    if have_grouped_thousands(present) or sum(map(is_bracketed, present)) >= _MOSTLY * len(present):
        return None
    if sum(map(is_date, present)) >= _MOSTLY * len(present):  # March 4, 2021
        return None
    for delimiter in DELIMITERS:
        several = [text for text in present if delimiter in text.strip().strip(delimiter)]
        if len(several) < _FEWEST_SEVERAL:
            continue
        ways = {frozenset(split(text, delimiter)) for text in present}
        rows = Counter(label for text in present for label in split(text, delimiter))
        combined = Counter(label for way in ways if len(way) > 1 for label in way)
        usual = sum(count >= FEWEST_ROWS for count in combined.values())
        if len(ways) > _MORE_COMBINATIONS * len(rows) and 2 * usual > len(rows):
            return delimiter
    return " " if _are_spaced(present) else None


def _are_spaced(cells: Sequence[str]) -> bool:
    """Whether a space stands between labels: few of them in many ways, one, two, three and not many more to a cell.

    Names of classes may have spaces too; then there are more words than names, or some stand nowhere alone.
    """
    if any(len(cell.split(None, _MOST_SPACED)) > _MOST_SPACED for cell in cells):  # texts, of which nobody keeps words
        return False
    several = [cell.split() for cell in cells]
    if not {1, 2, 3} <= {*map(len, several)} or any(len({*one}) < len(one) for one in several):
        return False
    labels, ways = {label for one in several for label in one}, {frozenset(one) for one in several}
    alone = {one[0] for one in several if len(one) == 1}
    return (
        are_few(len(labels), len(cells))
        and len(ways) >= _SPACED_WAYS * len(labels)
        and len(alone) >= _MOSTLY_ALONE * len(labels)
    )


def most_used_delimiter(cells: Sequence[Any]) -> str:
    """Where a person has said that there are several labels."""
    uses = {delimiter: sum(delimiter in str(cell) for cell in cells) for delimiter in DELIMITERS}
    most = max(uses, key=uses.__getitem__)
    if uses[most]:
        return most
    several = [frozenset(str(cell).split()) for cell in cells if not is_missing(cell)]
    return " " if len({*several}) > len(frozenset().union(*several)) else ""


def is_list(cell: Any) -> bool:
    return is_nested(cell) and not isinstance(cell, dict | bytes | bytearray | memoryview)


def refuse_vectors(table: Table, column: str, cells: Sequence[Any]) -> None:
    """Raises `TaskError` for lists of zeros and ones, whose places mean labels that nobody has named."""
    rows = [list(cell) for cell in cells if is_list(cell)]
    alike = len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    if alike and all(is_number(piece) and float(piece) in (0, 1) for row in rows for piece in row):
        raise TaskError(
            f"{table.name}: {column!r} holds lists of {len(rows[0])} zeros and ones. Give each label a column with its "
            "name, and say --target A B …"
        )


def refuse_rare(table: Table, columns: Sequence[str], rows: Sequence[Sequence[str]], rare: Sequence[str]) -> NoReturn:
    """Raises `DataError` naming the first of the labels that too few rows have, and its row where it has one."""
    label = rare[0]
    row = next((row for row, found in enumerate(rows) if label in found), None)
    where = table.name if row is None else table.describe_row(row)
    which = f"label {shortened(label)} has {'no row' if row is None else 'only one row'}"
    if len(rare) > 1:
        which = f"{len(rare)} labels have fewer than two rows, such as {shortened(label)}"
    way_out = f"leave {shortened(label)} out of --target" if len(columns) > 1 else f"take it out of {columns[0]!r}"
    raise DataError(f"{where}: {which}; learning and checking need at least two. Add rows, or {way_out}")


def rare_note(table: Table, rows: Sequence[Sequence[str]], rare: Sequence[str]) -> str:
    """What a person should know of labels that a task goes without."""
    row = next((row for row, found in enumerate(rows) if not set(rare).isdisjoint(found)), None)
    label = rare[0] if row is None else next(label for label in rows[row] if label in rare)
    where = shortened(label) if row is None else f"{shortened(label)} in {table.describe_row(row)}"
    those = f"label {where} has" if len(rare) == 1 else f"{len(rare)} labels, such as {where}, have"
    return (
        f"not learned: {those} fewer than two rows: learning and checking need two. In a table to test on, such a "
        "label counts as missed"
    )


def empty_notes(table: Table, columns: Sequence[str]) -> list[str]:
    """On columns whose cells are empty where others say no: nobody may have looked."""
    empty = {}
    for column in columns:
        cells = table.column(column)
        missing = sum(map(is_missing, cells))
        if missing and any(flag(cell) is False and not is_missing(cell) for cell in cells):
            empty[column] = missing
    if not empty:
        return []
    which = ", ".join(f"{count} of {column!r}" for column, count in list(empty.items())[:3])
    return [f"empty cells count as no, though others say so with a 0: {which}. Leave rows out where nobody looked"]


def are_mostly_flags(cells: Sequence[Any]) -> bool:
    """Whether a column is that of a label, but for a slip or two, which `read_targets` refuses: it is no quantity."""
    present = [cell for cell in cells if not is_missing(cell)]
    return sum(flag(cell) is not None for cell in present) >= _MOSTLY * len(present)


def flag(cell: Any) -> bool | None:
    """Whether a cell of a label's own column gives it; None for one that says neither."""
    if is_missing(cell) or (isinstance(cell, float) and math.isnan(cell)):
        return False
    word = (label_of(cell) or "").casefold().removesuffix(".0")
    return True if word in _YES else False if word in _NO else None


def labels_of(table: Table, row: int, columns: Sequence[str], delimiter: str) -> list[str]:
    """Raises `DataError` naming the row for a cell that holds no labels."""
    if len(columns) == 1:
        cell = table.column(columns[0])[row]
        if is_nested(cell) and not is_list(cell):
            raise DataError(
                f"{table.describe_row(row)}: {columns[0]!r} holds a value of type {type(cell).__name__}, not labels. "
                "Several labels of a row are a list of them"
            )
        return split(cell, delimiter)
    found = []
    for column in columns:
        cell = table.column(column)[row]
        given = flag(cell)
        if given is None:
            numbers = (
                f", or say {option('--task', 'regression')}, which takes them as numbers" if is_number(cell) else ""
            )
            raise DataError(
                f"{table.describe_row(row)}: {column!r} is {shortened(str(cell))}; the column of a label holds 0 or 1. "
                f"Mend the cell{numbers}"
            )
        if given:
            found.append(column)
    return found
