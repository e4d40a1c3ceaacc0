"""Supervised contrastive learning: features of one class are drawn together, and away from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.training.batches import seed_of

if TYPE_CHECKING:
    from autotl.training.trial import Trial

#: By which similarities are divided.
TEMPERATURE = 0.1


def contrast(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The supervised contrastive loss, outside the logarithm (Khosla et al. 2020, equation 2), a scalar.

    features ``[batch, width] float32``, labels ``[batch] int64``. Each row is to find the others of its class among all
    others by cosine similarity; rows that are alone in their class are left out. 0 where all are.
    """
    features = torch.nn.functional.normalize(features, dim=1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    similarities = (features @ features.T / TEMPERATURE).masked_fill(itself, float("-inf"))
    found = similarities.log_softmax(1).masked_fill(itself, 0.0)
    alike = (labels[:, None] == labels) & ~itself
    partners = alike.sum(1)
    losses = -(found * alike).sum(1) / partners.clamp(min=1)
    return losses.sum() / (partners > 0).sum().clamp(min=1)


class BalancedBatches:
    """Batches with as many rows of each class, two at least; in turn where there are more classes than fit."""

    def __init__(self, trial: Trial, size: int) -> None:
        labels = trial.targets[trial.train]
        self._of_class = [trial.train[labels == label] for label in np.unique(labels)]
        self._seed, self._size, self._rows = trial.seed, size, len(trial.train)

    def at(self, step: int) -> tuple[int, np.ndarray]:
        """The number of the pass, and row indices ``[size or less] int64``."""
        generator = torch.Generator().manual_seed(seed_of(self._seed, step))
        classes = torch.randperm(len(self._of_class), generator=generator)[: max(self._size // 2, 1)].tolist()
        each = max(self._size // len(classes), 2)
        chosen = []
        for label in classes:
            rows = self._of_class[label]
            chosen.append(rows[torch.randperm(len(rows), generator=generator)[:each].numpy()])
        rows = np.concatenate(chosen)
        # a batch that memory cuts into pieces has all classes in each, or rows would be compared with their like alone
        return step * self._size // self._rows, rows[torch.randperm(len(rows), generator=generator).numpy()]
