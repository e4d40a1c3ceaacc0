"""Rows of the table, as a page shows them: images small, texts quoted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autotl.plugins.contracts import Modality
from autotl.report.answers import Answers
from autotl.report.findings import TableRows
from autotl.report.small_images import data_uri
from autotl.report.words import short

#: Rows of each kind that are shown: a person looks at a dozen, and a page of 30 images has a fourth of a megabyte.
MOST_WRONG, MOST_SET_ASIDE, MOST_REPEATS = 12, 9, 6

#: Rows that are named without being shown.
MOST_NAMED = 30

#: Characters of a text: enough to see what it is about.
QUOTED = 280


@dataclass(frozen=True)
class Example:
    """One row."""

    name: str
    image: str | None  #: a data URI
    text: str  #: quoted; of an image its path


@dataclass(frozen=True)
class Wrong:
    """A validation row that is taken for another class."""

    example: Example
    label: str
    given: float  #: what its label was given
    taken_for: str
    sure: float
    suspect: bool  #: whether its label is likely an error


@dataclass(frozen=True)
class Repeat:
    """Rows that repeat each other."""

    example: Example  #: the first
    others: Sequence[str]  #: names of some
    count: int  #: of all


def shown(name: str, cell: str, modality: Modality) -> Example:
    """A row as an example."""
    return Example(short(name, 80), data_uri(cell) if modality == "image" else None, short(cell, QUOTED))


def most_wrong(answers: Answers, rows: TableRows, classes: Sequence[str], modality: Modality) -> list[Wrong]:
    """The validation rows whose label was given least."""
    suspects = set(answers.suspects())
    found = []
    for place in answers.most_wrong(MOST_WRONG):
        row, taken = int(answers.rows[place]), int(answers.predicted[place])
        found.append(
            Wrong(
                example=shown(rows.names[row], rows.cells[row], modality),
                label=classes[int(answers.labels[place])],
                given=float(answers.of_label[place]),
                taken_for=classes[taken],
                sure=float(answers.probabilities[place, taken]),
                suspect=place in suspects,
            )
        )
    return found


def repeats(rows: TableRows, modality: Modality) -> list[Repeat]:
    """Groups of rows that repeat each other, the largest first."""
    _, groups, sizes = np.unique(rows.groups, return_inverse=True, return_counts=True)
    largest = [group for group in np.argsort(-sizes, kind="stable")[:MOST_REPEATS] if sizes[group] > 1]
    return [
        Repeat(
            shown(rows.names[first], rows.cells[first], modality),
            [short(rows.names[other], 80) for other in others[:3]],
            1 + len(others),
        )
        for first, *others in (np.flatnonzero(groups == group).tolist() for group in largest)
    ]
