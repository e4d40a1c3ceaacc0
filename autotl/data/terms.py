"""Texts as the terms that are in them: words, and pairs of neighbours.

Only numpy and the standard library: an exported model that counts words ships a copy of this file.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np

#: What `Inputs` reads: the terms, in the order of their numbers.
VOCABULARY = "vocabulary.json"

#: Words of a text that are read; more would only be slow.
WORDS = 512

#: Thai to Burmese, Khmer, kana, Han and hangul: scripts in which a space does not end a word, or not every one.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\s{_SPACELESS}]+")
#: What stands at words without being a part of them: punctuation, currencies, symbols and pictures. Not all that is no
#: letter for Python, as vowels of Hindi are none.
_MARKS = (
    "!-/:-@\\[-`{-~\u00a1-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7\u060c\u061b\u061f\u06d4\u0964\u0965"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2190-\u2bff\u3001-\u3020\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\U0001f000-\U0001faff"
)
#: ``don't`` and ``3.5`` are one term each, ``free!!`` is two.
_TERM = re.compile(rf"[{_SPACELESS}]|(?:[^\s{_SPACELESS}{_MARKS}]|(?<=\w)['’](?=\w)|(?<=\d)[.,](?=\d))+|[{_MARKS}]+")
_CHARACTER = re.compile(rf"[{_SPACELESS}]")


def words_of(text: str) -> list[str]:
    """What stands between spaces, and every character by itself where a script writes none."""
    return _WORD.findall(text)


def estimate_words(text: str) -> float:
    """About how many words a reader would count: two characters make one in scripts without spaces."""
    return len(words_of(text)) - len(_CHARACTER.findall(text)) / 2


def casefolded(text: str) -> str:
    """Without case, and in one spelling: letters with accents may be written as one character or as two.

    A Turkish capital İ becomes the letter that the small one is.
    """
    if text.isascii():
        return text.casefold()
    return unicodedata.normalize("NFKC", text).casefold().replace("i\u0307", "i")


def terms_of(cell: Any) -> Iterator[str]:
    """Words and pairs of words, without case, punctuation by itself; of several texts those of all."""
    text = casefolded(cell if isinstance(cell, str) else "\n".join(cell))
    found = [word[0] for word in islice(_TERM.finditer(text), WORDS)]  # of a long document no more is read
    yield from found
    yield from (f"{first} {second}" for first, second in pairwise(found))


def count_terms(text: str) -> int:
    """How many words are read of a text, marks among them."""
    return sum(1 for _ in islice(_TERM.finditer(text), WORDS))


def is_textual(cell: Any) -> bool:
    """A text, or several."""
    several = isinstance(cell, (tuple, list)) and len(cell) > 0 and all(isinstance(part, str) for part in cell)
    return isinstance(cell, str) or several


def numbered(terms: Sequence[str]) -> dict[str, int]:
    """The number of each term, from 1 on: 0 stands for those that are not among them, and for padding."""
    return {term: number for number, term in enumerate(terms, start=1)}


def term_rows(numbers: Mapping[str, int], cells: Sequence[Any]) -> list[np.ndarray | str]:
    """``[terms] int32``, the number of each known term in each cell, a 0 where there is none; a reason for no text."""
    return [
        np.array([numbers[term] for term in terms_of(cell) if term in numbers] or [0], np.int32)
        if is_textual(cell)
        else "no text"
        for cell in cells
    ]


def padded(rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """``"x"`` ``[rows, longest] int64``."""
    x = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for place, row in zip(x, rows, strict=True):
        place[: len(row)] = row
    return {"x": x}


class Inputs:
    """How one bag of words reads texts, by the vocabulary in a folder."""

    def __init__(self, folder: Path) -> None:
        self._numbers = numbered(json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))["terms"])

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | str]:
        """``[terms] int32`` for each text, or several texts; a reason where it is none."""
        return term_rows(self._numbers, cells)

    def batch(self, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """``"x"`` ``[rows, longest] int64``."""
        return padded(rows)
