"""Labels as they are compared: one spelling each, an order, and the signs that they are numbers to predict."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from autotl.data.cells import are_numbers, distinct, in_whole_characters, is_missing, is_nested, is_whole, with_point
from autotl.data.wording import listed

#: A scale of marks in half steps has some twenty values; a measured quantity soon has more.
_MOST_FRACTIONS = 20
_MOST_INTEGERS = 100
#: Different whole numbers above which a sign tells; a scale from -5 to 5 has eleven.
_MOST_SMALL = 20
#: Codes of classes are not negative, but for a -1 that says "none".
_FEWEST_NEGATIVE = 2
#: Codes without a gap are classes, however many, where each has so large a share of their mean rows: the 101 kinds of
#: Food-101 and the 102 of the Oxford flowers do (0.46 there), ages and counts have few rows at their ends.
SMALLEST_CODE = 0.2
#: Numbers with one row each: classes are drawn up for several rows, counts have a tail of rare values.
MOST_SINGLE = 2

#: Characters that nobody sees: zero-width space, word joiner, byte order mark, soft hyphen, and the marks of direction
#: that editors put beside Hebrew and Arabic. The joiners of Persian and of emoji are none of them, as they change what
#: is seen.
_INVISIBLE = dict.fromkeys(
    [*map(ord, "\u200b\u2060\ufeff\u00ad\u061c\u200e\u200f"), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)

#: A whole number as programs write it that know only fractions.
_WHOLE = re.compile(r"([+-]?\d+)\.0+", re.ASCII)

#: Cyrillic and Greek letters that look like a Latin one, small or large.
_LOOKS_LIKE = str.maketrans("авекмнорстухіјѕԁαβεικνορτυχ", "abekmhopctyxijsdabeiknoptux")

#: How programs write a value that is missing. "none" is not among them: people name classes so.
_MISSING_WORDS = {"nan", "NaN", "NAN", "null", "NULL", "n/a", "N/A", "#N/A", "NA", "<NA>", "NaT", "None"}

#: Classes are of unlike size from here on, largest over smallest.
IMBALANCED = 5.0


def label_of(cell: Any) -> str | None:
    """The label that a cell stands for; None where it is missing. Applying it twice changes nothing.

    Text is put into Unicode normal form C, without characters that nobody sees, with single plain spaces between words
    and none around them; case is kept. 1.0 is "1", True is "True".
    """
    if is_missing(cell):
        return None
    if isinstance(cell, float):
        if cell != cell:
            return None
        return str(int(cell)) if cell.is_integer() else repr(cell)
    return " ".join(unicodedata.normalize("NFC", str(cell).translate(_INVISIBLE)).split()) or None


def without_missing_words(cells: Sequence[Any]) -> Sequence[Any]:
    """The cells with None in place of a word for a missing value: among numbers it can mean nothing else."""
    return [None if isinstance(cell, str) and cell.strip() in _MISSING_WORDS else cell for cell in cells]


def no_label(cell: Any) -> str | None:
    """Why a cell cannot be a label, such as ``is inf``; None where it can, or is missing."""
    if is_nested(cell):
        return f"holds a value of type {type(cell).__name__}, not a label; several labels of a row are a list of them"
    if isinstance(cell, float) and math.isinf(cell):
        return f"is {cell}, which is no class. Empty the cell, or remove the row"
    if isinstance(cell, str) and cell != in_whole_characters(cell):
        return f"is {cell!r}, which is not UTF-8 text. Write it, or the folder that it names, in UTF-8"
    return None


def without_fraction(label: str) -> str:
    """``1`` for ``1.0``, and any other label as it is: tables that passed through fractions write whole numbers so."""
    found = _WHOLE.fullmatch(label)
    return found[1] if found else label


def name_classes(labels: Iterable[str]) -> dict[str, str]:
    """The class of each label, by its name: ``1`` and ``1.0`` are one, called ``1`` where both are written."""
    ways: defaultdict[str, set[str]] = defaultdict(set)
    for label in labels:
        ways[without_fraction(label)].add(label)
    return {label: label if len(alike) == 1 else name for name, alike in ways.items() for label in alike}


def in_natural_order(labels: Iterable[str]) -> list[str]:
    """Numbers by their value, other text with the numbers inside it compared by value: class 2 before class 10."""
    everything = list(labels)
    if are_numbers(everything):
        return sorted(everything, key=lambda label: (float(with_point(label)), label))
    return sorted(everything, key=lambda label: (_pieces(label), label))


def are_codes(values: Set[float]) -> bool:
    """Whether somebody has numbered what these are for: they are whole, begin at 0 or 1, and have no gap."""
    whole = all(value % 1 == 0 for value in values)
    return whole and min(values) in (0, 1) and len(values) == max(values) - min(values) + 1


def look_like_quantities(cells: Sequence[Any]) -> bool:
    """Whether the present cells are numbers to predict rather than classes: too many different ones."""
    present = [cell for cell in cells if not is_missing(cell)]
    if not present or not are_numbers(present):
        return False
    present = list(map(with_point, present))
    different = distinct(present)
    mostly_unique = 2 * different > len(present)
    if all(map(is_whole, present)):
        rows = Counter(str(cell).strip() for cell in present)
        widths = {len(number) for number in rows}
        if len(widths) == 1 < max(widths) and any(number.startswith("0") for number in rows):
            return False  # 00123 among others of five digits is the name of something
        signed = sum(number.startswith("-") for number in rows) >= _FEWEST_NEGATIVE
        codes = are_codes({float(number) for number in rows})
        most_alike = codes and SMALLEST_CODE * len(present) <= different * min(rows.values())
        tailed = sum(count == 1 for count in rows.values()) > MOST_SINGLE and not codes
        # In ten rows three classes 1, 2 and 3 are as likely as a count.
        return (
            (different > _MOST_INTEGERS and not most_alike)
            or (different > _MOST_SMALL and (signed or tailed))
            or (different > 10 and mostly_unique)
        )
    return different > _MOST_FRACTIONS or mostly_unique


def spelling_notes(cells: Sequence[Any]) -> list[str]:
    """What a person should know of labels written in several ways."""
    labels = [(label, str(cell)) for cell in cells if (label := label_of(cell)) is not None]
    classes = name_classes(label for label, _ in labels)
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for label, spelling in labels:
        spellings[classes[label]].add(spelling)
    notes = []
    if merged := [label for label, ways in spellings.items() if len(ways) > 1]:
        which = listed(in_natural_order(merged))
        notes.append(f"made one, for they differ only in spaces, Unicode form or a fraction of zero: {which}")
    by_case: defaultdict[str, list[str]] = defaultdict(list)
    for label in spellings:
        by_case[label.casefold()].append(label)
    notes += [
        f"labels {listed(sorted(variants))} differ only in case and stay different classes; make them one if they are"
        for variants in by_case.values()
        if len(variants) > 1
    ]
    by_look: defaultdict[str, list[str]] = defaultdict(list)
    for variants in by_case.values():
        by_look[_look(variants[0])].append(variants[0])
    notes += [
        f"labels {listed(sorted(variants))} look alike and stay different classes, as they hold other letters "
        f"({', '.join(map(ascii, sorted(variants)))}); make them one if they are"
        for variants in by_look.values()
        if len(variants) > 1
    ]
    notes += [
        f"label {label!r} is a class like any other; where it says that the label is missing, empty the cells"
        for label in sorted(_MISSING_WORDS & set(spellings))
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


def _look(label: str) -> str:
    """What a label looks like: equal for those that an eye takes for one."""
    return unicodedata.normalize("NFKC", label).casefold().translate(_LOOKS_LIKE)


def _pieces(label: str) -> list[tuple[int, int, str]]:
    return [
        (0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold())
        for piece in re.split(r"(\d+)", label)
        if piece
    ]
