"""What a wrong class costs, from a table that a person wrote."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotl.data.cells import have_decimal_commas, is_missing, with_point
from autotl.data.labels import label_of, without_fraction
from autotl.data.tables import Table, read_table
from autotl.data.wording import did_you_mean, listed, shortened
from autotl.errors import DataError

#: Row by row what a row of that class costs when it is taken for each class; classes that are not learned come last.
Costs = tuple[tuple[float, ...], ...]

_FORM = "The first column names the classes that rows have, every other column a class that they are taken for"


def read_costs(path: str | Path, classes: Sequence[str], *, unlearned: Sequence[str] = ()) -> Costs:
    """``[classes + unlearned][classes]``: by the class of a row, then by what it is taken for, in the order given.

    unlearned: what rows may have, and are never taken for; their columns may be there. What is right costs nothing
    unless its cell says otherwise. Raises `DataError`, naming the row or column, for a class that is missing, unknown
    or there twice, and for a cell that is no number.
    """
    table = read_table(path)
    first, *others = table.columns
    everything = [*classes, *unlearned]
    rows = _places(table, table.column(first), everything, f"column {first!r}", needed=everything)
    columns = _places(table, others, everything, "the header", needed=classes)
    return tuple(
        tuple(_cost(table, rows[true], others[columns[taken]], right=true == taken) for taken in classes)
        for true in everything
    )


def _places(
    table: Table, cells: Sequence[Any], classes: Sequence[str], where: str, *, needed: Sequence[str]
) -> dict[str, int]:
    """Where each class is."""
    found: dict[str, int] = {}
    plain = {_plain(name): name for name in classes}
    for place, cell in enumerate(cells):
        name = plain.get(_plain(cell))
        if name is None:
            raise DataError(
                f"{table.name}: {where} has {shortened(str(cell))}, which is not one of the classes "
                f"({listed(classes)}).{did_you_mean(str(cell), classes)} {_FORM}."
            )
        if name in found:
            raise DataError(f"{table.name}: {where} has class {shortened(name)} twice.")
        found[name] = place
    if missing := [name for name in needed if name not in found]:
        raise DataError(f"{table.name}: {where} lacks {listed(missing)}. {_FORM}.")
    return found


def _plain(cell: Any) -> str:
    """A class's name as it is compared."""
    return without_fraction(label_of(cell) or str(cell))


def _cost(table: Table, row: int, column: str, *, right: bool) -> float:
    cells = table.column(column)
    cell = with_point(cells[row]) if have_decimal_commas(cells) else cells[row]
    if is_missing(cell) and right:
        return 0.0
    try:
        cost = math.nan if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        cost = math.nan
    if not math.isfinite(cost):
        raise DataError(f"{table.describe_row(row)}: {column!r} is {shortened(str(cell))}; a cost is a number.")
    return cost
