"""Rows of the table, as a page shows them: images small and side by side, texts quoted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autotl.data.cells import as_text
from autotl.data.paths import paths_of
from autotl.plugins.contracts import PICTORIAL, Modality
from autotl.report.findings import TableRows
from autotl.report.small_images import data_uri
from autotl.report.words import short

#: Rows of each kind that are shown: a person looks at a dozen, and a page of 30 images has a fourth of a megabyte.
MOST_WRONG, MOST_SET_ASIDE, MOST_REPEATS = 12, 9, 6

#: Images of a row: more are too narrow beside each other to see anything.
MOST_IMAGES = 4

#: Rows that are named without being shown.
MOST_NAMED = 30

#: Characters of a text: enough to see what it is about.
QUOTED = 280


@dataclass(frozen=True)
class Example:
    """One row."""

    name: str
    images: Sequence[str]  #: data URIs; none where one of them cannot be shown
    text: str  #: quoted; of images their paths


@dataclass(frozen=True)
class Wrong:
    """A validation row that is answered wrongly."""

    example: Example
    said: Sequence[tuple[str, str, str]]  #: what, in which words, and a figure: of the target, then of the answer
    suspect: bool = False  #: whether its target is likely an error


@dataclass(frozen=True)
class Repeat:
    """Rows that repeat each other."""

    example: Example  #: the first
    others: Sequence[str]  #: names of some
    count: int  #: of all


def shown(name: str, cell: Any, modality: Modality) -> Example:
    """A row as an example."""
    paths = paths_of(cell)[:MOST_IMAGES] if modality in PICTORIAL else ()
    images = [image for path in paths if (image := data_uri(path))]
    return Example(short(name, 80), images if len(images) == len(paths) else (), short(as_text(cell), QUOTED))


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
