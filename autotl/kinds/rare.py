"""Classes and labels that too few rows have: a task goes without a few, and many are a sign of another column."""

from __future__ import annotations

#: Rows that a class or label needs: one to learn from, one to check.
FEWEST_ROWS = 2

#: The share of rows, or of the labels of all rows, that may be the only ones of their class. Of 200 rows drawn from 40
#: classes by Zipf's law 4 % are, of 2000 from 500 classes 7 %, at most 8 % in 200 drawings; in a column of names most
#: of the table is.
_MOST = 0.1


def can_be_spared(rare: int, classes: int, *, alone: int, given: int) -> bool:
    """Whether something is left to learn without `rare` of so many `classes`.

    alone: times that one of these is given to a row, of `given` times that any class or label is. Two classes have to
    be left. Where most are rare, the column is more likely an identifier than a target.
    """
    return classes - rare >= 2 and 2 * rare <= classes and alone <= _MOST * given
