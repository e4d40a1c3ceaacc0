"""The bag of words: no network, and fitted to a table instead of found, but a contender like any other."""

from __future__ import annotations

from autotl.plugins.contracts import Candidate, Recipe

#: The most frequent words and pairs that it counts: beyond some ten thousand, accuracy on short texts stays.
LARGEST_VOCABULARY = 20_000

#: Seconds of a bag of words for each training row, two cores: 0.07 to 0.1 ms on three tables of short texts, 0.6 on one
#: whose texts have 130 words.
SECONDS_A_ROW = 5e-4

#: Of the model in events and on the shelf: trials count from 0, and heads on backbones from -1 downwards.
NUMBER = -1_000_000

#: What the leaderboard and the bundle call it.
BAG_OF_WORDS = Candidate(
    name="bag-of-words",
    family="words",
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
