"""Two columns of texts that by their names are a pair, such as premise and hypothesis."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

#: In what the names of a pair differ, the first first. Markers say nothing by themselves and need a stem, as in
#: ``sentence1`` and ``text_a``. Words are the fields of public data sets of pairs: entailment (SNLI, MultiNLI, RTE),
#: retrieval (MS MARCO, BEIR), QNLI, fact checking (FEVER), and sentence-transformers' own.
_MARKERS = (("0", "1"), ("1", "2"), ("a", "b"), ("one", "two"), ("first", "second"), ("left", "right"))
_WORDS = (
    ("premise", "hypothesis"), ("text", "hypothesis"), ("query", "passage"), ("query", "document"),
    ("query", "product"), ("query", "title"), ("question", "answer"), ("question", "passage"), ("question", "context"),
    ("question", "sentence"), ("claim", "evidence"), ("context", "response"), ("anchor", "positive"),
)  # fmt: skip

_PART = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[^\W\d_]+|\d+")


def pair_among(names: Sequence[str]) -> tuple[str, str] | None:
    """The two of `names` that are a pair, in its order; None where no two are, or more than two could be."""
    found = {pair for pair in itertools.permutations(names, 2) if _are_pair(*pair)}
    return found.pop() if len(found) == 1 else None


def _are_pair(first: str, second: str) -> bool:
    """Whether the names differ in one part, and there as the halves of a pair do."""
    ours, theirs = _parts(first), _parts(second)
    if len(ours) != len(theirs):
        return False
    differing = [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]]
    return len(differing) == 1 and (differing[0] in _WORDS or (len(ours) > 1 and differing[0] in _MARKERS))


def _parts(name: str) -> list[str]:
    """``sentence``, ``1`` of ``sentence1``, ``Sentence_1`` and ``sentence 1``."""
    return [part.casefold() for part in _PART.findall(name)]
