"""Texts and pairs of them to tokens once, and tokens to padded batches at every step.

Imports torch late, transformers never.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from autotl.plugins.contracts import Unreadable
from autotl_transformers.preprocess import (
    SETTINGS,
    TOKENIZER,
    cutting_tokenizer,
    is_pair,
    padded,
    pair_rows,
    readable,
    token_rows,
)

if TYPE_CHECKING:
    import torch

    from autotl.plugins.contracts import State

#: Longer texts are cut: the cost of attention grows with the square of the length, and few rows have more to say.
MOST_TOKENS = 256

#: The share of a sample that must fit whole, in percent.
PERCENTILE = 99.5


@dataclass(frozen=True)
class TextEncoder:
    """An `InputEncoder` around a fast tokenizer.

    `tokenizer` is the JSON of a Hugging Face tokenizer that neither cuts nor pads. Pickling carries the JSON;
    the tokenizer itself is rebuilt on first use. It works on its own threads, which ``TOKENIZERS_PARALLELISM``
    governs; unset is best, because the library then switches them off by itself after a fork.
    """

    tokenizer: str
    max_tokens: int
    pad_id: int

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the tokenizer, the longest text, and the way pairs are read."""
        return hashlib.sha256(self._deciding.encode()).hexdigest()

    @property
    def _deciding(self) -> str:
        """All that decides what `encode` gives."""
        return f"{self.max_tokens}\0{self.tokenizer}"

    @property
    def longest(self) -> int:
        """`max_tokens`."""
        return self.max_tokens

    @cached_property
    def _cutting(self) -> Tokenizer:
        return cutting_tokenizer(self.tokenizer, self.max_tokens)

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """``[tokens] int32`` a cell, specials included, at most `max_tokens`, never padded.

        An empty text is its specials; what is not a string is unreadable.
        """
        rows = token_rows(self._cutting, cells, self.max_tokens, self.pad_id)
        return [Unreadable(row) if isinstance(row, str) else row for row in rows]

    def batch(
        self, rows: Sequence[np.ndarray], *, augment: float = 0.0, generator: torch.Generator | None = None
    ) -> State:
        """``x`` ``[rows, longest] int64`` and ``mask`` ``[rows, longest] bool``, true where there is a token.

        Of pairs also ``segment`` ``[rows, longest] int64``. `augment` and `generator` are not read: this family does
        not augment.
        """
        import torch

        return {name: torch.from_numpy(array) for name, array in padded(rows, self.pad_id).items()}

    def views(self) -> Sequence[TextEncoder]:
        """None: a text reads one way."""
        return []

    def save(self, folder: Path, **more: Any) -> None:
        """Writes the tokenizer and the settings, for the family and for `preprocess.Inputs`.

        more: further settings, for whoever else reads the file.
        """
        (folder / TOKENIZER).write_text(self.tokenizer, encoding="utf-8")
        settings = {"max_tokens": self.max_tokens, "pad_id": self.pad_id, **more}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2), encoding="utf-8")

    def write_portable(self, folder: Path) -> Sequence[str]:
        """Tokenizer, settings, and a copy of `preprocess.py`, which needs tokenizers and numpy."""
        self.save(folder)
        code = files("autotl_transformers").joinpath("preprocess.py").read_text(encoding="utf-8")
        (folder / "preprocess.py").write_text(code, encoding="utf-8")
        return ["numpy", "tokenizers"]


@dataclass(frozen=True)
class PairEncoder(TextEncoder):
    """An `InputEncoder` of pairs of texts, which `preprocess.pair_rows` explains.

    `max_tokens` is of both where they are read `together`, and of each otherwise.
    """

    together: bool

    @property
    def _deciding(self) -> str:
        return f"{self.together}\0{super()._deciding}"

    @property
    def longest(self) -> int:
        """Tokens of both."""
        return self.max_tokens if self.together else 2 * self.max_tokens

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """``[tokens, 2] int32`` a cell: tokens and their segments. What is no pair of strings is unreadable."""
        rows = pair_rows(self._cutting, cells, self.max_tokens, self.pad_id, together=self.together)
        return [Unreadable(row) if isinstance(row, str) else row for row in rows]

    def save(self, folder: Path, **more: Any) -> None:
        """As of texts, with the way pairs are read."""
        super().save(folder, together=self.together, **more)


def encoder_of(tokenizer: str, settings: dict[str, Any]) -> TextEncoder:
    """The encoder that was saved with these settings."""
    common = {"max_tokens": settings["max_tokens"], "pad_id": settings["pad_id"]}
    if "together" in settings:
        return PairEncoder(tokenizer, **common, together=settings["together"])
    return TextEncoder(tokenizer, **common)


def settle_encoder(tokenizer_json: str, sample: Sequence[Any], *, limit: int) -> TextEncoder:
    """The encoder whose longest text fits nearly all of `sample`, in multiples of 8 up to `limit` and `MOST_TOKENS`.

    `limit` is the most tokens that the network takes. Raises whatever tokenizers raises for a malformed JSON.
    """
    tokenizer, most = _uncut(tokenizer_json), min(limit, MOST_TOKENS)
    texts = [readable(cell, most) for cell in sample if isinstance(cell, str)]
    return TextEncoder(tokenizer.to_str(), max_tokens=_settled(tokenizer, texts, most), pad_id=_pad_id(tokenizer))


def settle_pair_encoder(tokenizer_json: str, sample: Sequence[Any], *, limit: int, together: bool) -> PairEncoder:
    """Likewise for pairs; together, they may have twice `MOST_TOKENS`."""
    tokenizer, most = _uncut(tokenizer_json), min(limit, (1 + together) * MOST_TOKENS)
    pairs = [tuple(readable(text, most) for text in cell) for cell in sample if is_pair(cell)]
    inputs = pairs if together else [text for pair in pairs for text in pair]
    max_tokens = _settled(tokenizer, inputs, most)
    return PairEncoder(tokenizer.to_str(), max_tokens=max_tokens, pad_id=_pad_id(tokenizer), together=together)


def _uncut(tokenizer_json: str) -> Tokenizer:
    """Published tokenizers bring the lengths of their own training."""
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _settled(tokenizer: Tokenizer, sample: Sequence[Any], most: int) -> int:
    """The number of tokens that fits nearly all of what a tokenizer is given."""
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(sample)]
    wanted = math.ceil(np.percentile(lengths, PERCENTILE) / 8) * 8 if lengths else most
    return min(max(wanted, 8), most)


def _pad_id(tokenizer: Tokenizer) -> int:
    """The id of the padding token: every encoder here calls it by one of two names. Padding is masked anyway, but
    RoBERTa's kin count positions by it."""
    ids = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
    return next((index for index in ids if index is not None), 0)
