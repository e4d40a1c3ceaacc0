"""A pretrained backbone that does not change, and what it has seen: every row passes through it once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.features.precision import Precision, PrecisionBook, options_for
from autotl.features.rows import EncodedRows
from autotl.plugins.contracts import Candidate, ModelFamily

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone

#: Rows of a batch without gradients. Images: beyond 64 nothing is gained on a processor. Texts: about this many
#: tokens keep two cores busy and the activations inside the cache.
IMAGES_A_BATCH = 64
TOKENS_A_BATCH = 4096


def inference_batches(rows: EncodedRows, indices: np.ndarray) -> Iterator[np.ndarray]:
    """Positions in `indices`, batch by batch, rows of like length together so that little is padded."""
    lengths = np.array([rows[int(index)].shape[0] for index in indices])
    flat = len(indices) > 0 and rows[int(indices[0])].ndim == 1
    order = np.argsort(-lengths, kind="stable") if flat else np.arange(len(indices))
    start = 0
    while start < len(order):
        size = max(TOKENS_A_BATCH // int(lengths[order[start]]), 1) if flat else IMAGES_A_BATCH
        yield order[start : start + size]
        start += size


def pooled(
    backbone: Backbone, rows: EncodedRows, indices: np.ndarray, precision: Precision, device: torch.device
) -> np.ndarray:
    """Features of readable rows: ``[rows, width] float32``, in the order of `indices`."""
    features = np.empty((len(indices), backbone.width), np.float32)
    backbone.eval()
    with torch.no_grad(), precision.autocast(device):
        for positions in inference_batches(rows, indices):
            state = precision.place(rows.encoder.batch(rows.gather(indices[positions])), device)
            features[positions] = backbone.pool(backbone(state)).float().cpu().numpy()
    return features


class FrozenBackbone:
    """One candidate, loaded as published, with the features of the rows that it has seen."""

    def __init__(
        self,
        candidate: Candidate,
        family: ModelFamily,
        rows: EncodedRows,
        *,
        device: torch.device,
        precisions: PrecisionBook,
    ) -> None:
        self.candidate = candidate
        self.family = family
        self.rows = rows
        self.device = device
        self.precisions = precisions
        self.backbone = family.load(candidate).to(device)
        self.precision = Precision()
        self.seconds_a_row = 0.0
        self._features: dict[int, np.ndarray] = {}

    def calibrate(self, indices: np.ndarray) -> None:
        """Settles the precision, and measures a row's seconds, on one batch of readable rows."""
        state = self.rows.encoder.batch(self.rows.gather(indices))

        def step(precision: Precision) -> None:
            precision.arrange(self.backbone)
            with torch.no_grad(), precision.autocast(self.device):
                self.backbone.pool(self.backbone(precision.place(state, self.device))).float().cpu()

        key = f"forward {self.candidate.key} {self.rows.encoder.fingerprint}"
        self.precision = self.precisions.choose(key, options_for(state), step)
        step(self.precision)
        began = time.perf_counter()
        step(self.precision)
        self.seconds_a_row = (time.perf_counter() - began) / len(indices)

    def features(self, indices: np.ndarray) -> np.ndarray:
        """``[rows, width] float32`` for readable rows, computing what is missing."""
        missing = np.array([i for i in indices if int(i) not in self._features], dtype=np.int64)
        if len(missing):
            began = time.perf_counter()
            computed = pooled(self.backbone, self.rows, missing, self.precision, self.device)
            self.seconds_a_row = (time.perf_counter() - began) / len(missing)
            self._features.update(zip(missing.tolist(), computed, strict=True))
        return np.stack([self._features[int(index)] for index in indices])
