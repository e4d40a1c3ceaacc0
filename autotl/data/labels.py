"""Labels as they are compared: one spelling each, an order, and the signs that they are numbers to predict."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autotl.data.cells import distinct, is_missing, is_number, is_whole
from autotl.data.wording import listed

#: A scale of marks in half steps has some twenty values; a measured quantity soon has more.
_MOST_FRACTIONS = 20
_MOST_INTEGERS = 100

#: Classes are of unlike size from here on, largest over smallest.
IMBALANCED = 5.0


def label_of(cell: Any) -> str | None:
    """The label that a cell stands for; None where it is missing. Applying it twice changes nothing.

    Text is stripped and put into Unicode normal form C, case is kept; 1.0 is "1", True is "True".
    """
    if is_missing(cell):
        return None
    if isinstance(cell, float):
        if cell != cell:
            return None
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return unicodedata.normalize("NFC", str(cell)).strip() or None


def in_natural_order(labels: Iterable[str]) -> list[str]:
    """Numbers by their value, other text with the numbers inside it compared by value: class 2 before class 10."""
    everything = list(labels)
    if all(map(is_number, everything)):
        return sorted(everything, key=lambda label: (float(label), label))
    return sorted(everything, key=lambda label: (_pieces(label), label))


def look_like_quantities(cells: Sequence[Any]) -> bool:
    """Whether the present cells are numbers to predict rather than classes: too many different ones."""
    present = [cell for cell in cells if not is_missing(cell)]
    if not present or not all(map(is_number, present)):
        return False
    different = distinct(present)
    mostly_unique = 2 * different > len(present)
    if all(map(is_whole, present)):
        # In ten rows three classes 1, 2 and 3 are as likely as a count.
        return different > _MOST_INTEGERS or (different > 10 and mostly_unique)
    return different > _MOST_FRACTIONS or mostly_unique


def spelling_notes(cells: Sequence[Any]) -> list[str]:
    """What a person should know of labels written in several ways."""
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for cell in cells:
        if (label := label_of(cell)) is not None:
            spellings[label].add(str(cell))
    notes = []
    if merged := [label for label, ways in spellings.items() if len(ways) > 1]:
        notes.append(f"made one, for they differ only in spaces or Unicode form: {listed(in_natural_order(merged))}")
    by_case: defaultdict[str, list[str]] = defaultdict(list)
    for label in spellings:
        by_case[label.casefold()].append(label)
    notes += [
        f"labels {listed(sorted(variants))} differ only in case and stay different classes; make them one if they are"
        for variants in by_case.values()
        if len(variants) > 1
    ]
    return notes


def is_imbalanced(counts: Iterable[int]) -> bool:
    """Whether the largest class has more than `IMBALANCED` times the rows of the smallest."""
    rows = list(counts)
    return max(rows) > IMBALANCED * min(rows)


def is_dominated(counts: Mapping[str, int]) -> bool:
    """Whether one class would decide what accuracy is: it has most of the rows, and another has few.

    Where no class has most, accuracy speaks of many, and balanced accuracy would be decided by the handful of rows that
    validate the rarest.
    """
    return is_imbalanced(counts.values()) and max(counts.values()) > sum(counts.values()) / 2


def balance_note(counts: Mapping[str, int], *, dominated: bool) -> str | None:
    """What a person should know of classes of unlike size; dominated: whether the metric was chosen by it."""
    if not is_imbalanced(counts.values()):
        return None
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    found = f"class {largest!r} has {counts[largest]} rows, {smallest!r} only {counts[smallest]}: "
    if dominated:
        return found + "scores are balanced accuracy, to which all classes count alike; --metric accuracy if not wanted"
    return found + "--metric balanced_accuracy or macro_f1 has all classes count alike"


def _pieces(label: str) -> list[tuple[int, int, str]]:
    return [
        (0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold())
        for piece in re.split(r"(\d+)", label)
        if piece
    ]
