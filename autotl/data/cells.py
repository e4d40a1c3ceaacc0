"""What one cell or one column of cells looks like."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from autotl.data.paths import obstacle
from autotl.data.terms import words_of
from autotl.plugins.contracts import Modality

T = TypeVar("T")

#: Characters; what spells a list of labels is short, and a parser of Python takes much memory for a long text.
_LONGEST_LIST = 10_000

#: Lists as numpy prints them, with nothing but space between strings, which Python would read as one, or whole numbers.
_STRING = r"""'[^']*'|"[^"]*\""""
_SPACED_STRINGS = re.compile(rf"\[\s*(?:{_STRING})(?:\s+(?:{_STRING}))+\s*\]")
_SPACED_NUMBERS = re.compile(r"\[\s*-?\d+(?:\s+-?\d+)+\s*\]", re.ASCII)

#: The same of a number with its unit; where it begins and ends is tried place by place.
_LONGEST_NUMBER = 200

_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)

#: With a decimal comma: one comma, and no zero ahead as codes have it.
_COMMA = re.compile(r"\s*[+-]?(0|[1-9]\d*),\d+\s*", re.ASCII)
#: Such a number that may be a whole one with a comma between thousands.
_THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\s*", re.ASCII)

#: A number, and what stands behind it without another digit or what separates labels.
_WITH_UNIT = re.compile(r"\s*([+-]?\d[\d.,]*)\s*([^\d\s.,;|][^\d,;|]*?)\s*", re.ASCII)
#: A number behind the sign of a currency.
_WITH_CURRENCY = re.compile(r"\s*([+-]?)([$€£¥₹₩₽])\s*(\d[\d.,]*)\s*", re.ASCII)

#: An amount as it is written where a comma stands before cents, with its sign: what has no labels to be cut at commas.
_AMOUNT = re.compile(r"\s*[+-]?[$€£¥₹₩₽]?\s*(0|[1-9]\d{0,2})([.\s'’]\d{3})*(,\d+)?\s*([^\W\d]+|[$€£¥₹₩₽%])?\s*")

#: A number that may have a point between thousands.
_POINTED = re.compile(r"\s*[+-]?[1-9]\d{0,2}\.\d{3}\s*", re.ASCII)
#: A number with commas between thousands.
_GROUPED = re.compile(r"\s*[+-]?([1-9]\d{0,2})(,\d{3})+(\.\d+)?\s*", re.ASCII)

_TIME = r"([T ,]+\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?)?( ?(Z|UTC|GMT|AM|PM|[+-]\d{2}:?\d{2}))?"
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DAY = r"\d{1,2}(st|nd|rd|th)?"
_NUMERIC_DAY = r"\d{1,4}([-./])\d{1,2}\2\d{1,4}"
#: As in reviews of Amazon's: ``09 13, 2009``.
_SPACED_DAY = r"\d{1,2} \d{1,2}, \d{4}"
_EASTERN_DAY = r"\d{4} ?[年년] ?\d{1,2} ?[月월] ?\d{1,2} ?[日일]"
_NAMED_DAY = rf"([a-z]{{3,9}},? )?({_MONTH} {_DAY},?|{_DAY}[ -]{_MONTH},?)[ -]\d{{2,4}}"
#: In other languages than English: a word between the day and a year of four digits, as in ``1. Mai 2023``.
_FOREIGN_DAY = r"\d{1,2}\.? (de )?[^\W\d_]{3,12}\.? (de )?\d{4}"
#: Year, month and day in any order, and the time: what has two words for their sake alone. Months may be named.
_DATE = re.compile(rf"({_NUMERIC_DAY}|{_SPACED_DAY}|{_NAMED_DAY}|{_EASTERN_DAY}){_TIME}", re.IGNORECASE | re.ASCII)
_DATE_ELSEWHERE = re.compile(rf"{_FOREIGN_DAY}{_TIME}", re.IGNORECASE)


def is_missing(cell: Any) -> bool:
    """Nothing, or nothing but white space."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def in_whole_characters(text: str) -> str:
    """The text with a question mark for each lone half of a character, which neither files nor tokenizers hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def is_nested(cell: Any) -> bool:
    """Several values in one, or bytes: nothing that is read as one text, path or label."""
    return isinstance(cell, Iterable) and not isinstance(cell, str)


def spelled_list(cell: Any) -> list[Any] | None:
    """The list of strings and numbers that a text spells, as tables of text hold lists; None where it spells none.

    Of a list of objects that have names, the names; nothing of what is missing in it.
    """
    if not isinstance(cell, str) or len(cell) > _LONGEST_LIST:
        return None
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    if _SPACED_NUMBERS.fullmatch(text):
        return [int(piece) for piece in text[1:-1].split()]
    if _SPACED_STRINGS.fullmatch(text):
        return [piece[1:-1] for piece in re.findall(_STRING, text)]
    for read in (json.loads, ast.literal_eval):  # ["a"] and ['a']
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = read(text)
            if not isinstance(found, list):
                return None
            pieces = [piece.get("name") if isinstance(piece, dict) else piece for piece in found if piece is not None]
            return pieces if all(isinstance(piece, str) or is_number(piece) for piece in pieces) else None
    return None


def is_number(cell: Any) -> bool:
    """A number, or text that spells one; truth values and ``nan`` are none."""
    if isinstance(cell, str):
        return _NUMBER.fullmatch(cell) is not None
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def has_decimal_comma(cell: Any) -> bool:
    """Text that spells a number with a comma where others have a point."""
    return isinstance(cell, str) and _COMMA.fullmatch(cell) is not None


def with_point(cell: Any) -> Any:
    """The cell with a point in place of a decimal comma."""
    return cell.replace(",", ".") if has_decimal_comma(cell) else cell


def have_decimal_commas(cells: Sequence[Any]) -> bool:
    """Whether a column has decimal commas: a number somewhere that has one, and no text that has a point instead."""
    pointed = (isinstance(cell, str) and "." in cell and is_number(cell) for cell in cells)
    return any(map(has_decimal_comma, cells)) and not any(pointed)


def may_be_thousands(cells: Iterable[Any]) -> bool:
    """Whether the commas of numbers might as well stand between thousands: three digits follow each of them."""
    return all(_THOUSANDS.fullmatch(cell) for cell in cells if has_decimal_comma(cell))


def are_numbers(cells: Sequence[Any]) -> bool:
    """Whether all cells of a column are numbers, with a point or with a comma."""
    return all(map(is_number, cells)) or (
        have_decimal_commas(cells) and all(is_number(cell) or has_decimal_comma(cell) for cell in cells)
    )


def is_date(text: str) -> bool:
    """Whether a text says a day, and nothing else but the time."""
    return any(date.fullmatch(text.strip()) for date in (_DATE, _DATE_ELSEWHERE))


def number_and_unit(cell: Any) -> tuple[str, str] | None:
    """The number of a text, as it is written, and its unit: ``("5,0", "Tage")``, ``("9", "$")``; None for any other."""
    if not isinstance(cell, str) or len(cell) > _LONGEST_NUMBER:
        return None
    if priced := _WITH_CURRENCY.fullmatch(cell):
        number, unit = priced[1] + priced[3], priced[2]
    elif measured := _WITH_UNIT.fullmatch(cell):
        number, unit = measured[1], measured[2]
    else:
        return None
    return (number, unit) if is_number(number) or has_decimal_comma(number) or _GROUPED.fullmatch(number) else None


def is_amount(text: str) -> bool:
    """Whether a text is a number, be it with marks between thousands and a comma before cents, alone or with a unit."""
    return len(text) <= _LONGEST_NUMBER and _AMOUNT.fullmatch(text) is not None


def is_bracketed(text: str) -> bool:
    """Whether a text is written like a list or an object."""
    return text.strip()[:1] + text.strip()[-1:] in ("[]", "{}")


def is_singular(one: str, several: str) -> bool:
    """Whether a unit is that of a single thing: ``day`` beside ``days``, ``Tag`` beside ``Tage``."""
    plurals = [one + ending for ending in ("s", "es", "e", "n", "en")]
    return len(one) > 1 and several in plurals  # "m" is none of "ms"


def without_unit(cells: Sequence[Any]) -> tuple[Sequence[Any], str]:
    """The cells without the unit that all filled ones have at a number, and it; else as they are, and ``""``."""
    numbers: list[Any] = []
    units: dict[str, set[str]] = {}  # the numbers at each
    for cell in cells:
        if is_missing(cell):
            numbers.append(None)
            continue
        found = number_and_unit(cell)
        if found is None:
            return cells, ""
        numbers.append(found[0])
        units.setdefault(found[1], set()).add(found[0])
    one, *others = sorted(units, key=len) or [""]
    if len(others) == 1 and is_singular(one, others[0]) and units[one] == {"1"}:
        one = others.pop()  # "1 day" beside "2 days"
    return (numbers, one) if one and not others else (cells, "")


def have_grouped_thousands(cells: Iterable[Any], *, unit: str = "") -> bool:
    """Whether a column's commas stand between thousands, and cannot be anything else.

    All cells are numbers then, and one with a comma is ``1,299.00`` or ``1,011,000``, or has the sign of a currency for
    a `unit`. Labels of three digits each may look so but for their first, which is shorter somewhere.
    """
    grouped = []
    for cell in cells:
        if isinstance(cell, str) and "," in cell:
            grouped.append(_GROUPED.fullmatch(cell))
            if grouped[-1] is None:
                return False
        elif not (is_missing(cell) or is_number(cell)):
            return False
    if unit and _WITH_CURRENCY.fullmatch(f"{unit}1"):
        return bool(grouped)
    plain = (found and (found[3] or (len(found[1]) < 3 and found[0].count(",") > 1)) for found in grouped)
    return any(plain)


def may_have_pointed_thousands(cells: Iterable[Any], *, unit: str) -> bool:
    """Whether the points of prices, in the currency `unit`, might stand between thousands: three digits follow each."""
    if not _WITH_CURRENCY.fullmatch(f"{unit}1"):
        return False
    pointed = [cell for cell in cells if isinstance(cell, str) and "." in cell]
    return bool(pointed) and all(_POINTED.fullmatch(cell) for cell in pointed)


def ungrouped(cell: Any) -> Any:
    """The cell without the commas between thousands."""
    return cell.replace(",", "") if isinstance(cell, str) and _GROUPED.fullmatch(cell) else cell


def is_whole(cell: Any) -> bool:
    """A number without a fraction."""
    return is_number(cell) and (isinstance(cell, int) or float(cell).is_integer())


def count_words(text: str) -> int:
    """How many `words_of` a text there are."""
    return len(words_of(text))


def distinct(cells: Iterable[Any]) -> int:
    """How many different cells there are, by how they are written: lists and other unhashables count too."""
    return len({str(cell) for cell in cells})


def are_few(distinct_cells: int, rows: int) -> bool:
    """Whether that many values could be classes: each seen twice on average, and no more than grow like the root."""
    return distinct_cells <= max(20, 2 * rows**0.5) and 2 * distinct_cells <= rows


def as_text(cell: Any) -> str:
    """What an input says, or the paths that it names: of several a line each."""
    return cell if isinstance(cell, str) else "\n".join(cell)


def content_digest(cell: Any, modality: Modality) -> bytes:
    """Of what the cell says, or of the bytes of the file that it names; of the name where there is none to read."""
    if modality == "images":
        return hashlib.sha256(b"".join(content_digest(path, "image") for path in cell)).digest()
    if modality == "text":
        return hashlib.sha256(str(cell).encode("utf-8", "surrogatepass")).digest()
    if modality == "text_pair":
        return hashlib.sha256(json.dumps(list(cell)).encode()).digest()
    with suppress(OSError, ValueError):  # not there, or a character that no path may hold
        if obstacle(cell) is None:
            with Path(cell).open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
    return hashlib.sha256(str(cell).encode("utf-8", "surrogatepass")).digest()


def spread(cells: Sequence[T], count: int) -> list[T]:
    """Up to `count` cells at even distances: tables are often sorted, so the first ones say little."""
    if len(cells) <= count:
        return list(cells)
    return [cells[i * len(cells) // count] for i in range(count)]
