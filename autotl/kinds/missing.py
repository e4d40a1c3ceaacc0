"""Rows without a target: a gap is left out and told, a fault is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotl.data.wording import counted, listed
from autotl.errors import DataError

if TYPE_CHECKING:
    from autotl.data.tables import Table

#: More than this share without a target is more likely a wrong column or a bad join than a gap.
_MOST = 0.2


def missing_notes(table: Table, targets: Sequence[str], missing: Sequence[bool]) -> list[str]:
    """What a person should know of rows without a target. Raises `DataError` where they are too many."""
    rows = [row for row, gone in enumerate(missing) if gone]
    if not rows:
        return []
    have = "has" if len(rows) == 1 else "have"
    found = f"{len(rows)} of {counted(table.rows, 'row')} {have} no label in {listed(targets)}"
    if len(rows) > _MOST * table.rows:
        raise DataError(
            f"{table.describe_row(rows[0])}: no label; {found}, more than {_MOST:.0%}. "
            "Fill them in, remove the rows, or choose another column with --target"
        )
    return [f"left out: {found}, the first is {table.describe_row(rows[0])}"]
