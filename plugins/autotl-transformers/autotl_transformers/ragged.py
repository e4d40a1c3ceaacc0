"""Texts of unlike lengths in one pass without padding: layers see all tokens in a row, attention a length at a time.

MiniLM on two cores, ms a row of 48, 200 and 1024 texts of 15 tokens in the mean: padded, in the batches that cost the
least, 1.83, 1.63 and 1.37; like this 1.40, 1.37 and 1.31. Steps of training, whose batches are of like length anyway,
gain nothing (169 and 171 ms). An accelerator gets padded batches: it was not measured there.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

#: The library's name for `_attention`.
_NAME = "autotl-ragged"

#: The library's attention that does the work.
_LIBRARYS = "sdpa"


@dataclass(frozen=True)
class Ragged:
    """The sequences of a padded batch, longest first, one behind the other."""

    shape: tuple[int, ...]  #: of the batch: ``[batch, tokens]``
    places: Tensor  #: ``[tokens of all] int64``: where each lies in the flattened batch
    positions: Tensor  #: ``[1, tokens of all] int64``: of each in its own sequence, from 0
    groups: list[tuple[int, int]]  #: how many sequences of which length follow each other
    reach: int | None = None  #: how far a token sees, where that is not everywhere

    def take(self, x: Tensor) -> Tensor:
        """``[1, tokens of all, …]`` from ``[batch, tokens, …]``."""
        return x.flatten(0, 1).index_select(0, self.places)[None]

    def put_back(self, x: Tensor) -> Tensor:
        """``[batch, tokens, …]`` from ``[1, tokens of all, …]``; 0 where there is no token."""
        padded = x.new_zeros((self.shape[0] * self.shape[1], *x.shape[2:]))
        return padded.index_copy_(0, self.places, x[0]).unflatten(0, self.shape)

    def reaching(self, reach: int) -> Ragged:
        """The same where a token sees no further than so many others on each side."""
        return dataclasses.replace(self, reach=reach)


def ragged(lengths: Tensor, shape: tuple[int, ...]) -> Ragged:
    """Sequences that stand in a batch of this shape, from the left.

    lengths: ``[batch, sequences] int64``, of those in each row, one behind the other.
    """
    rows = torch.arange(shape[0])[:, None] * shape[1]
    starts, lengths = (rows + lengths.cumsum(1) - lengths).flatten(), lengths.flatten()
    lengths, order = lengths.sort(descending=True, stable=True)
    before = (lengths.cumsum(0) - lengths).repeat_interleave(lengths)
    positions = torch.arange(len(before)) - before
    places = starts[order].repeat_interleave(lengths) + positions
    of_length, count = lengths[lengths > 0].unique_consecutive(return_counts=True)
    return Ragged(shape, places, positions[None], [*zip(count.tolist(), of_length.tolist(), strict=True)])


def takes_ragged(model: Any, layer: nn.Module) -> bool:
    """Whether the attention of a `PreTrainedModel` can be replaced; layer: one of its.

    Types that the library has not yet moved to its attention interface have theirs written into them.
    """
    written_with = sys.modules[type(layer).__module__]
    return hasattr(written_with, "ALL_ATTENTION_FUNCTIONS") and model.config._attn_implementation == _LIBRARYS


@contextmanager
def ragged_attention(model: Any) -> Iterator[None]:
    """Within, layers of a model that `takes_ragged` want `Ragged` for their mask."""
    model.config._attn_implementation = _NAME
    try:
        yield
    finally:
        model.config._attn_implementation = _LIBRARYS


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Ragged, **settings: Any
) -> tuple[Tensor, None]:
    """A length at a time: ``[1, heads, tokens of all, channels]`` to ``[1, tokens of all, heads, channels]``."""
    attended, start = [], 0
    for count, length in attention_mask.groups:
        stop = start + count * length
        alike = [x[0, :, start:stop].unflatten(1, (count, length)).transpose(0, 1) for x in (query, key, value)]
        near = _near(length, attention_mask.reach)
        attended.append(ALL_ATTENTION_FUNCTIONS[_LIBRARYS](module, *alike, near, **settings)[0].flatten(0, 1))
        start = stop
    return torch.cat(attended)[None], None


def _near(length: int, reach: int | None) -> Tensor | None:
    """Who may look where: ``[length, length] bool``; None where all may look everywhere."""
    if reach is None or length <= reach + 1:
        return None
    positions = torch.arange(length)
    return (positions[:, None] - positions).abs() <= reach


ALL_ATTENTION_FUNCTIONS[_NAME] = _attention
