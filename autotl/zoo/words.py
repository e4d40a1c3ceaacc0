"""The bag of words: no network, and fitted to a table instead of found, but a contender like any other."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from autotl.data.cells import as_text, spread
from autotl.data.terms import count_terms
from autotl.plugins.contracts import OWN_FAMILY, Candidate, Recipe

#: The most frequent words and pairs that it counts: beyond some ten thousand, accuracy on short texts stays.
LARGEST_VOCABULARY = 20_000

#: Seconds of a bag of words for each training row, for each word of it, and for each word and class; or for each class,
#: where these are many. Two cores, ms a row: 0.09 and 0.11 with 19 words and two classes, 0.16 with 10 and six, 0.30
#: with 126 and two, 0.42 and 0.62 with some 105 and fourteen; of 77 classes 0.73, of 150 0.9, of 400 2.6, when products
#: took longer.
_SECONDS_A_ROW, _SECONDS_A_WORD, _SECONDS_A_WORD_AND_CLASS, _SECONDS_A_CLASS = 1.2e-4, 2e-6, 2e-7, 7e-6

#: Words, and pairs of them, that are counted at most: most are there once, and take a hundred bytes each.
MOST_TERMS = 20_000_000

#: Texts that say how many words they have.
_SAMPLE = 200

#: What the leaderboard and the bundle call it.
BAG_OF_WORDS = Candidate(
    name="bag-of-words",
    family=OWN_FAMILY,
    modality="text",
    source="package",
    location="",
    parameters=LARGEST_VOCABULARY,
    width=LARGEST_VOCABULARY,
    input_size=0,
    licence="none",
    prior=0.0,
    recipe=Recipe(learning_rate=0.0),
)


def seconds_of_words(rows: int, outputs: int, words: float) -> float:
    """What it takes to learn a bag of words from so many rows with so many words each."""
    a_word = _SECONDS_A_WORD + _SECONDS_A_WORD_AND_CLASS * outputs
    return rows * max(_SECONDS_A_ROW + words * a_word, _SECONDS_A_CLASS * outputs)


def rows_in_memory(words: float) -> int:
    """Texts of so many words each, from which a bag of words can be learned."""
    return int(MOST_TERMS / (2 * max(words, 1.0)))


def mean_words(cells: Sequence[Any]) -> float:
    """How many words are read of a text, or of several texts together, in the mean of a sample."""
    return statistics.fmean(count_terms(as_text(cell)) for cell in spread(cells, _SAMPLE))
