"""Runs a network of this folder by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime


class Network:
    """An ``.onnx`` file on the processor."""

    def __init__(self, path: Path) -> None:
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def __call__(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        """``[rows, classes] float32`` logits."""
        logits: np.ndarray = self._session.run(None, batch)[0]
        return logits
