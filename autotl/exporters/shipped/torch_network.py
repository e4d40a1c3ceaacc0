"""Runs a network of this folder by torch alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


class Network:
    """A program that `torch.export` wrote."""

    def __init__(self, path: Path) -> None:
        self._run = torch.export.load(path).module()

    def __call__(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """``[rows, classes] float32`` logits."""
        with torch.no_grad():
            logits: np.ndarray = self._run({name: torch.from_numpy(array) for name, array in batch.items()}).numpy()
        return logits
