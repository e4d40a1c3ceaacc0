"""Texts to tokens once, and tokens to padded batches at every step. Imports torch late, transformers never."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from autotl.plugins.contracts import Unreadable

if TYPE_CHECKING:
    import torch

    from autotl.plugins.contracts import State

#: Longer texts are cut: the cost of attention grows with the square of the length, and few rows have more to say.
MOST_TOKENS = 256

#: The share of a sample that must fit whole, in percent.
PERCENTILE = 99.5

#: Texts are cut to this many characters a token before they are tokenized, so that a novel in a cell costs no more
#: than a few pages. Words are five characters long on average; only noise would have had room for more.
CHARACTERS_A_TOKEN = 40


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
        """Changes with the tokenizer and the longest text."""
        return hashlib.sha256(f"{self.max_tokens}\0{self.tokenizer}".encode()).hexdigest()

    @property
    def longest(self) -> int:
        """`max_tokens`."""
        return self.max_tokens

    @cached_property
    def _cutting(self) -> Tokenizer:
        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """``[tokens] int32`` a cell, specials included, at most `max_tokens`, never padded.

        An empty text is its specials; what is not a string is unreadable.
        """
        texts = [_readable(cell, self.max_tokens) for cell in cells if isinstance(cell, str)]
        encoded = iter(self._cutting.encode_batch(texts))
        return [
            np.array(next(encoded).ids or [self.pad_id], dtype=np.int32)  # no row without a token to attend to
            if isinstance(cell, str)
            else Unreadable("no text")
            for cell in cells
        ]

    def batch(
        self, rows: Sequence[np.ndarray], *, augment: float = 0.0, generator: torch.Generator | None = None
    ) -> State:
        """``x`` ``[rows, longest] int64`` and ``mask`` ``[rows, longest] bool``, true where there is a token.

        `augment` and `generator` are not read: this family does not augment.
        """
        import torch

        lengths = np.array([len(row) for row in rows])
        mask = np.arange(lengths.max()) < lengths[:, None]
        tokens = np.full(mask.shape, self.pad_id, dtype=np.int64)
        tokens[mask] = np.concatenate(rows)
        return {"x": torch.from_numpy(tokens), "mask": torch.from_numpy(mask)}

    def views(self) -> Sequence[TextEncoder]:
        """None: a text reads one way."""
        return []


def settle_encoder(tokenizer_json: str, sample: Sequence[Any], *, limit: int) -> TextEncoder:
    """The encoder whose longest text fits nearly all of `sample`, in multiples of 8 up to `limit` and `MOST_TOKENS`.

    `limit` is the most tokens that the network takes. Raises whatever tokenizers raises for a malformed JSON.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()  # published tokenizers bring the lengths of their own training
    tokenizer.no_padding()
    most = min(limit, MOST_TOKENS)
    texts = [_readable(cell, most) for cell in sample if isinstance(cell, str)]
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
    wanted = math.ceil(np.percentile(lengths, PERCENTILE) / 8) * 8 if lengths else most
    return TextEncoder(tokenizer.to_str(), max_tokens=min(max(wanted, 8), most), pad_id=_pad_id(tokenizer))


def _readable(text: str, max_tokens: int) -> str:
    """The part of `text` that can matter, without lone surrogates, which UTF-8 and the tokenizer do not know."""
    return text[: max_tokens * CHARACTERS_A_TOKEN].encode("utf-8", "replace").decode("utf-8")


def _pad_id(tokenizer: Tokenizer) -> int:
    """The id of the padding token: every encoder here calls it by one of two names. Padding is masked anyway, but
    RoBERTa's kin count positions by it."""
    ids = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
    return next((index for index in ids if index is not None), 0)
