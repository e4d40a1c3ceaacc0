"""Which rows pass through a network together where nothing is learned from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from autotl.features.device import best_device

if TYPE_CHECKING:
    from autotl.features.layers import Layered
    from autotl.plugins.contracts import Backbone

#: Rows of a batch without gradients. Images: on two cores a row of MobileNetV2-1.0 took 3.4 ms in batches of 64 and 32,
#: 8.5 and 6.7 ms at 192 pixels, and races are over in half the time; an accelerator needs more to be busy. Texts: about
#: this many tokens keep two cores busy and the activations inside the cache.
IMAGES_A_BATCH, TOKENS_A_BATCH = (256, 32768) if best_device().type == "cuda" else (32, 4096)

#: What a pass of texts costs besides its tokens, in tokens: weights are read, and operations are called. MiniLM on two
#: cores, ms a row of 16, 48 and 1024 rows: with 16 here 2.87, 2.09 and 1.35, with 64 2.61, 1.92 and 1.34, with 192
#: 2.70, 1.93 and 1.40. An accelerator takes 5 ms to call MiniLM's operations, and for 10,000 tokens (reckoned, not
#: measured).
TOKENS_A_PASS = 4096 if best_device().type == "cuda" else 64


#: What a token of padding costs, in tokens, where texts pass without it: what comes of them is padded and pooled.
PADDING_LEFT_OUT = 1 / 16


def cost_of_padding(backbone: Backbone | Layered) -> float:
    """In tokens, where nothing is learned."""
    return PADDING_LEFT_OUT if getattr(backbone, "ragged", False) else 1.0


def inference_batches(lengths: np.ndarray | None, count: int, padding: float = 1.0) -> Iterator[np.ndarray]:
    """Positions below `count`, batch by batch: images as they come and as many in each, as few at a time take long by
    the row; texts so that all passes together cost the least.

    lengths: tokens of each text ``[count] int``; None for images. padding: what a token of it costs, in tokens.
    """
    if lengths is None:
        if count:
            yield from np.array_split(np.arange(count), math.ceil(count / IMAGES_A_BATCH))
        return
    order = np.argsort(-lengths, kind="stable")
    start = 0
    for size in _cheapest(lengths[order], padding):
        yield order[start : start + size]
        start += size


def _cheapest(lengths: np.ndarray, padding: float) -> list[int]:
    """Rows of each batch of texts that come longest first: of all ways to cut them, the one that costs the least.

    A batch costs its tokens, its padding up to the first length, and `TOKENS_A_PASS`. By dynamic programming, from the
    last row on.
    """
    count = len(lengths)
    tokens = np.concatenate([[0], lengths.cumsum()])  # of all rows before
    costs, sizes = np.zeros(count + 1), [0] * count  # of a row and all behind it; of the batch that begins with it
    for row in reversed(range(count)):
        longest = lengths[row]
        most = int(TOKENS_A_BATCH / (padding * longest + (1 - padding) * lengths[-1]))
        ends = np.arange(row + 1, min(row + max(most, 1), count) + 1)
        batches = padding * longest * (ends - row) + (1 - padding) * (tokens[ends] - tokens[row])
        batches = batches[: max(int(batches.searchsorted(TOKENS_A_BATCH, "right")), 1)]
        choices = batches + costs[row + 1 : row + 1 + len(batches)]
        best = int(choices.argmin())
        costs[row], sizes[row] = choices[best] + TOKENS_A_PASS, best + 1
    found, row = [], 0
    while row < count:
        found.append(sizes[row])
        row += sizes[row]
    return found
