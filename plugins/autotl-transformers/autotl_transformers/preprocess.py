"""Texts and pairs of them to padded batches of tokens, on tokenizers and numpy alone.

The family reads its texts with this file, and an exported model ships a copy of it: it imports nothing of AutoTL.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

#: What `Inputs` reads.
TOKENIZER, SETTINGS = "tokenizer.json", "preprocessing.json"

#: Texts are cut to this many characters a token before they are tokenized, so that a novel in a cell costs no more
#: than a few pages. Words are five characters long on average; only noise would have had room for more.
CHARACTERS_A_TOKEN = 40


class Inputs:
    """How one network reads texts, or pairs of them, by the tokenizer and settings in a folder."""

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        self._max_tokens, self._pad_id = settings["max_tokens"], settings["pad_id"]
        self._together = settings.get("together")  # only where pairs are read
        self._tokenizer = cutting_tokenizer((folder / TOKENIZER).read_text(encoding="utf-8"), self._max_tokens)

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | str]:
        """``[tokens] int32`` for each text, ``[tokens, 2] int32`` for each pair; a reason where it is none."""
        if self._together is None:
            return token_rows(self._tokenizer, cells, self._max_tokens, self._pad_id)
        return pair_rows(self._tokenizer, cells, self._max_tokens, self._pad_id, together=self._together)

    def batch(self, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """``"x"`` ``[rows, longest] int64``, ``"mask"`` likewise in bool, and of pairs ``"segment"`` in int64."""
        return padded(rows, self._pad_id)


def cutting_tokenizer(content: str, max_tokens: int) -> Tokenizer:
    """The tokenizer of a JSON, which cuts at `max_tokens`, specials included."""
    tokenizer = Tokenizer.from_str(content)
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def token_rows(tokenizer: Tokenizer, cells: Sequence[Any], max_tokens: int, pad_id: int) -> list[np.ndarray | str]:
    """``[tokens] int32`` a cell, specials included, never padded; a reason where it is no text."""
    texts = [readable(cell, max_tokens) for cell in cells if isinstance(cell, str)]
    encoded = iter(tokenizer.encode_batch(texts))
    return [
        np.array(next(encoded).ids or [pad_id], dtype=np.int32)  # no row without a token to attend to
        if isinstance(cell, str)
        else "no text"
        for cell in cells
    ]


def pair_rows(
    tokenizer: Tokenizer, cells: Sequence[Any], max_tokens: int, pad_id: int, *, together: bool
) -> list[np.ndarray | str]:
    """``[tokens, 2] int32`` a cell: tokens, specials included, each beside its segment; a reason where it is no pair.

    together: both texts in the tokenizer's own frame for pairs, which cuts the longer one, with its token types as
    segments. Otherwise each text in a frame of its own, one after the other, and the segment is the text's number.
    """
    pairs = [tuple(readable(text, max_tokens) for text in cell) for cell in cells if is_pair(cell)]
    if together:
        found = [(encoding.ids, encoding.type_ids) for encoding in tokenizer.encode_batch(pairs)]
    else:
        encoded = tokenizer.encode_batch([text for pair in pairs for text in pair])
        halves = [encoding.ids or [pad_id] for encoding in encoded]  # no text without a token to look at
        found = [
            (one + other, [0] * len(one) + [1] * len(other)) for one, other in zip(*[iter(halves)] * 2, strict=True)
        ]
    rows = iter([np.array([ids or [pad_id], segments or [0]], dtype=np.int32).T.copy() for ids, segments in found])
    return [next(rows) if is_pair(cell) else "no pair of texts" for cell in cells]


def is_pair(cell: Any) -> bool:
    """Whether it is two texts."""
    return isinstance(cell, tuple | list) and len(cell) == 2 and all(isinstance(text, str) for text in cell)


def padded(rows: Sequence[np.ndarray], pad_id: int) -> dict[str, np.ndarray]:
    """``"x"`` ``[rows, longest] int64`` and ``"mask"`` ``[rows, longest] bool``, true where there is a token.

    Of pairs also ``"segment"`` ``[rows, longest] int64``, 0 where there is no token.
    """
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.full(mask.shape, pad_id, dtype=np.int64)
    if rows[0].ndim == 1:
        tokens[mask] = np.concatenate(rows)
        return {"x": tokens, "mask": mask}
    segment = np.zeros(mask.shape, dtype=np.int64)
    tokens[mask], segment[mask] = np.concatenate(rows).T
    return {"x": tokens, "mask": mask, "segment": segment}


def readable(text: str, max_tokens: int) -> str:
    """The part of `text` that can matter, without lone surrogates, which UTF-8 and the tokenizer do not know."""
    return text[: max_tokens * CHARACTERS_A_TOKEN].encode("utf-8", "replace").decode("utf-8")
