"""Columns that say of whom a row is, by values or name: a split that divides such rows flatters the score."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.data.cells import is_missing, is_nested, is_number, is_whole
from autotl.data.groups import number_groups
from autotl.data.inspection import Inspection
from autotl.data.labels import label_of
from autotl.data.wording import option

if TYPE_CHECKING:
    import numpy.typing as npt

    Indices = npt.NDArray[np.int64]

#: Different values below which it is a property of the row, and for each label: a copy of the target has one.
_FEWEST_VALUES, _FEWEST_PER_LABEL = 10, 2
#: Of the rows, that share their value with another: with fewer most rows are alone in any split. Of HAM10000's lesions,
#: 1.3 rows each in the mean, it is nearly half.
_LEAST_REPEATED = 0.2
#: How far values with one label are from what chance makes of them (0) to all (1). Where a value says the label with a
#: probability of 0.9 only, as a country may, pairs of rows reach 0.64, and more rows less: of 1000 such columns on 40
#: to 500 rows 22 passed 0.8, and none 0.9. Ids of which one in twenty has several labels still pass.
_DETERMINED = 0.9
#: Standard deviations beyond chance: of a hundred columns without a meaning none reaches that.
_BEYOND_CHANCE = 4.0


#: How columns are called that say of whom a row is: two rows of one have more in common than their label.
_PERSON = re.compile(
    r"(patient|subject|participant|person|speaker|animal|mrn|lesion|case|study|exam|slide|user|author|video|session)s?"
    r"[ _.-]?(id|no|nr|number|code|name)?",
    re.I,
)


def repeated_id_notes(inspection: Inspection) -> list[str]:
    """On the column whose equal values say the label, of several the one with the fewest values; else on one that by
    its name says of whom the rows are. One note or none.

    Rows that stay together anyway count as one.
    """
    table, labels = inspection.table, inspection.task.rules.strata(inspection.targets)
    found = []
    for role in inspection.roles:
        if role.role != "ignore":
            continue
        column = table.column(role.name)
        cells = [column[row] for row in inspection.kept.tolist()]
        if any(is_nested(cell) or (is_number(cell) and not is_whole(cell)) for cell in cells):
            continue  # measured, not named
        told = np.array([not is_missing(cell) for cell in cells], dtype=bool)
        values = number_groups(_present(cells))
        if shared := _shared(values, inspection.groups[told], labels[told]):
            found.append((int(values.max()) + 1, role.name, *shared))
    if not found:
        return _person_notes(inspection)
    _, name, one, several, chance = min(found)
    return [
        f"rows with the same {name!r} share their label: so it is for {one} of {several} values that repeat, and would "
        f"be for {chance:.0f} by chance. The score may be too good where new rows have other values; "
        f"{option('--group', name)} keeps them together"
    ]


def _person_notes(inspection: Inspection) -> list[str]:
    """On a column of people with several rows each, be their labels as they may."""
    for role in inspection.roles:
        if role.role != "ignore" or not _PERSON.fullmatch(role.name.strip()) or inspection.task.group:
            continue
        column = inspection.table.column(role.name)
        cells = [column[row] for row in inspection.kept.tolist()]
        told = np.array([not is_missing(cell) for cell in cells], dtype=bool)
        apart = set(zip(_present(cells), inspection.groups[told].tolist(), strict=True))
        rows = np.array(list(Counter(value for value, _ in apart).values()))
        if len(rows) >= _FEWEST_VALUES and (several := int((rows > 1).sum())):
            return [
                f"{several} of {len(rows)} values of {role.name!r} have several rows. The score may be too good where "
                f"new rows are of others; {option('--group', role.name)} keeps those of one together"
            ]
    return []


def _present(cells: Sequence[Any]) -> list[str | None]:
    return [label_of(cell) for cell in cells if not is_missing(cell)]


def _shared(values: Indices, groups: Indices, labels: Indices) -> tuple[int, int, float] | None:
    """Values that repeat and have one label, all that repeat, and how many by chance had one; None where that is usual.

    values, groups, labels: ``[rows] int64``, values from 0 on.
    """
    if not _repeat_enough(values):  # most are ids of one row each
        return None
    _, firsts = np.unique(values * (int(groups.max()) + 1) + groups, return_index=True)
    values, codes = values[firsts], number_groups(labels[firsts].tolist())
    rows = np.bincount(values)
    classes = int(codes.max()) + 1
    if len(rows) < max(_FEWEST_VALUES, _FEWEST_PER_LABEL * classes) or not _repeat_enough(values):
        return None
    pairs = np.unique(np.stack([values, codes]), axis=1)[0]
    repeat = rows > 1
    one, several = int((np.bincount(pairs)[repeat] == 1).sum()), int(repeat.sum())
    shares = np.bincount(codes) / len(codes)
    sizes, times = np.unique(rows[repeat], return_counts=True)
    alike = (shares[None] ** sizes[:, None]).sum(1)  # that all rows of a value have one label, by chance
    chance, deviation = float((times * alike).sum()), float(np.sqrt((times * alike * (1 - alike)).sum()))
    beyond = one - chance
    if beyond >= _DETERMINED * (several - chance) and beyond > _BEYOND_CHANCE * deviation:
        return one, several, chance
    return None


def _repeat_enough(values: Indices) -> bool:
    rows = np.bincount(values)
    return int(rows[rows > 1].sum()) >= max(_LEAST_REPEATED * len(values), 1)
