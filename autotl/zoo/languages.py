"""Which backbones were made for the language of the texts: one of English alone has less to give to others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from autotl.data.terms import casefolded
from autotl.plugins.contracts import Candidate

#: How a candidate says that it was made of English alone.
ENGLISH = "en"

#: Frequent words of English, and of other languages in Latin letters.
_ENGLISH = (
    "the and of to that it for with this you are not have but they what which from be by how your my can will would "
    "about there their she his her our when does has been were than is in on at"
)
_OTHERS = (
    "der die das und ist nicht ein eine mit auf für ich sie zu den wir "  # German
    "le la les des est une pas que dans pour et qui avec sur je "  # French
    "el los las es una por con para se lo su "  # Spanish
    "il di che non per sono un della è "  # Italian
    "os um uma não em da "  # Portuguese
    "de het een van niet ik dat te "  # Dutch
    "w na jest się nie że "  # Polish
    "bir ve bu çok için da "  # Turkish
    "och att det som är en på jag "  # Swedish, Danish, Norwegian
    "yang dan untuk ini dengan tidak ada "  # Indonesian, Malay
    "và là của có không cho "  # Vietnamese
    "ja ei oli että "  # Finnish, Estonian
    "az és hogy nem egy "  # Hungarian
    "je se na že si"  # Czech, Slovak, Croatian
)
_ENGLISH_WORDS, _OTHER_WORDS = frozenset(_ENGLISH.split()), frozenset(_OTHERS.split())

#: Of all words, what both together are at least in running text: names and keywords have hardly any, and say nothing.
_RUNNING = 0.05

#: What the prior of a backbone of English alone is worth for texts of another language: that of an encoder of several
#: languages is above it by then, whatever its size (judgement; heads on what was seen decide in the end).
FOREIGN = 0.6

#: The first letter that is none of the Latin alphabets'.
_BEYOND_LATIN = "\u0250"

_LETTERS = re.compile(r"[^\W\d_]+")


def share_of_english(texts: Sequence[str]) -> float:
    """From 0, where none of these texts seems to be English, to 1, where all do; 1 where they say too little.

    Letters of other scripts say it, and frequent words of languages in Latin letters.
    """
    words = Counter(word for text in texts for word in _LETTERS.findall(casefolded(text)))
    letters = sum(len(word) * times for word, times in words.items())
    if not letters:
        return 1.0
    latin = sum(len(word) * times for word, times in words.items() if word < _BEYOND_LATIN) / letters
    ours, others = (sum(words[word] for word in frequent) for frequent in (_ENGLISH_WORDS, _OTHER_WORDS))
    running = ours + others >= _RUNNING * words.total()
    return latin * ours / (ours + others) if running else latin


def suited(candidates: Sequence[Candidate], english: float) -> list[Candidate]:
    """The candidates, with the priors that they have for texts of which such a share is English."""
    worth = FOREIGN + (1 - FOREIGN) * english
    return [replace(one, prior=worth * one.prior) if one.language == ENGLISH else one for one in candidates]
