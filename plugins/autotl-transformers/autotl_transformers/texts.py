"""Texts to tokens once, and tokens to padded batches at every step. Imports torch late, transformers never."""

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
from autotl_transformers.preprocess import SETTINGS, TOKENIZER, cutting_tokenizer, padded, readable, token_rows

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
        """Changes with the tokenizer and the longest text."""
        return hashlib.sha256(f"{self.max_tokens}\0{self.tokenizer}".encode()).hexdigest()

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

        `augment` and `generator` are not read: this family does not augment.
        """
        import torch

        return {name: torch.from_numpy(array) for name, array in padded(rows, self.pad_id).items()}

    def views(self) -> Sequence[TextEncoder]:
        """None: a text reads one way."""
        return []

    def save(self, folder: Path, **more: str) -> None:
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


def settle_encoder(tokenizer_json: str, sample: Sequence[Any], *, limit: int) -> TextEncoder:
    """The encoder whose longest text fits nearly all of `sample`, in multiples of 8 up to `limit` and `MOST_TOKENS`.

    `limit` is the most tokens that the network takes. Raises whatever tokenizers raises for a malformed JSON.
    """
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.no_truncation()  # published tokenizers bring the lengths of their own training
    tokenizer.no_padding()
    most = min(limit, MOST_TOKENS)
    texts = [readable(cell, most) for cell in sample if isinstance(cell, str)]
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
    wanted = math.ceil(np.percentile(lengths, PERCENTILE) / 8) * 8 if lengths else most
    return TextEncoder(tokenizer.to_str(), max_tokens=min(max(wanted, 8), most), pad_id=_pad_id(tokenizer))


def _pad_id(tokenizer: Tokenizer) -> int:
    """The id of the padding token: every encoder here calls it by one of two names. Padding is masked anyway, but
    RoBERTa's kin count positions by it."""
    ids = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
    return next((index for index in ids if index is not None), 0)
