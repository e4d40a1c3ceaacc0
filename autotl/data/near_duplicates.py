"""Texts that say nearly the same: equal but for case and punctuation, or in most of their runs of three words.

The similarity of two texts is Jaccard's, of their sets of three successive words. Pairs that may be similar are found
by MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3), so that
the time grows with the texts and not with their pairs; what is found is then compared in earnest.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autotl.data.groups import Components
from autotl.data.terms import casefolded, words_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Hashes = npt.NDArray[np.uint64]

#: Of all runs of three words in either text, those in both: one word changed in thirty, or a sentence of five added.
SIMILARITY = 0.8
#: Below, one changed word is a third of the runs or more, and texts that differ in a word often mean another thing.
LEAST_WORDS = 8
_RUN = 3

#: 13 bands of 5 hashes: of pairs with a similarity of 0.8 one in 200 is missed, of those with 0.3 one in 30 compared.
_BANDS, _BAND = 13, 5
#: Three standard errors below `SIMILARITY`: pairs whose hashes agree less are not compared.
_AGREEMENT = 0.65
#: How many of those that follow it in its bucket a text is compared with. All of them would be a square.
_NEXT = 2
#: Texts whose runs are hashed at a time: their arrays stay in the processor's cache.
_AT_ONCE = 1024


class _Blanks(dict[int, int | str]):
    """For `str.translate`: a blank for punctuation, white space and controls, filled as characters are met.

    Symbols stay (an emoji is often all that a text says), and so do the vowel signs of Indic scripts.
    """

    def __missing__(self, code: int) -> int | str:
        self[code] = " " if unicodedata.category(chr(code))[0] in "PZC" else code
        return self[code]


_BLANKS = _Blanks()


def normalized(text: str) -> str:
    """The text without case, punctuation and the kind of its spaces; as it is where there is nothing else in it."""
    return " ".join(casefolded(text).translate(_BLANKS).split()) or text


def near_duplicates(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """``[texts] int64``: equal for texts that a chain of similar pairs connects; short ones stay alone.

    texts: different from each other, as `normalized` gives them.
    """
    components = Components(len(texts))
    words = [words_of(text) for text in texts]
    long = np.array([i for i, text in enumerate(words) if len(text) >= LEAST_WORDS], dtype=np.int64)
    if len(long) > 1:
        hashes = _minhashes([words[i] for i in long])
        for one, other in _pairs(hashes):
            a, b = int(long[one]), int(long[other])
            if not components.joined(a, b) and _similarity(words[a], words[b]) >= SIMILARITY:
                components.join(a, b)
    return components.groups()


def _similarity(one: Sequence[str], other: Sequence[str]) -> float:
    first, second = ({tuple(words[i : i + _RUN]) for i in range(len(words) - _RUN + 1)} for words in (one, other))
    return len(first & second) / len(first | second)


def _minhashes(texts: Sequence[Sequence[str]]) -> npt.NDArray[np.uint32]:
    """``[texts, hashes] uint32``: two texts agree in a hash with a probability that is their similarity."""
    random = np.random.default_rng(0)
    factors = random.integers(0, 2**64, (_BANDS * _BAND, 2), dtype=np.uint64) | np.uint64(1)
    numbers: dict[str, int] = {}
    found = np.empty((len(texts), len(factors)), dtype=np.uint32)
    for start in range(0, len(texts), _AT_ONCE):
        part = texts[start : start + _AT_ONCE]
        words = np.array([numbers.setdefault(word, len(numbers)) for text in part for word in text], dtype=np.uint64)
        runs = np.array([len(text) - _RUN + 1 for text in part])
        # A text of n words has n - 2 runs, so the runs of each text begin two places further behind its words.
        places = np.arange(runs.sum()) + np.repeat(np.arange(len(part)) * (_RUN - 1), runs)
        mixed = _mix(words)
        run = _mix(_mix(_mix(mixed[places]) + mixed[places + 1]) + mixed[places + 2])
        begins = np.concatenate([[0], np.cumsum(runs)[:-1]])
        for i, (factor, shift) in enumerate(factors):
            found[start : start + len(part), i] = np.minimum.reduceat((run * factor + shift) >> np.uint64(32), begins)
    return found


def _mix(values: Hashes) -> Hashes:
    """The finalizer of splitmix64: numbers that count up come out as if drawn at random."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _pairs(hashes: npt.NDArray[np.uint32]) -> Iterator[tuple[int, int]]:
    """Pairs that share a band and agree in enough hashes. A pair may come several times."""
    for band in range(_BANDS):
        key = np.zeros(len(hashes), dtype=np.uint64)
        for i in range(band * _BAND, (band + 1) * _BAND):
            key = _mix(key ^ hashes[:, i])
        order = np.argsort(key, kind="stable")
        for step in range(1, _NEXT + 1):
            near = np.flatnonzero(key[order[step:]] == key[order[:-step]])
            one, other = order[near], order[near + step]
            agree = (hashes[one] == hashes[other]).mean(axis=1) >= _AGREEMENT
            yield from zip(one[agree].tolist(), other[agree].tolist(), strict=True)
