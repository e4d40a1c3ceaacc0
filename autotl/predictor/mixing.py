"""The arithmetic from several networks' logits to one answer, on numpy alone.

Predictions and mixtures are made by it, and an export that runs without AutoTL ships a copy of this file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Probabilities below it count as this much, so that their logarithms are finite. As small as can be: above it,
#: tempering is the same as dividing logits, which is what the layouts of other libraries do.
_SMALLEST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class Combination:
    """`shares` ``[models] float64`` sum to one; `temperatures` ``[models]`` go before, `temperature` after the mean."""

    shares: np.ndarray
    temperatures: np.ndarray
    temperature: float


def softmax(logits: np.ndarray) -> np.ndarray:
    """``[rows, classes] float32`` probabilities from logits of the same shape."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: np.ndarray = (shifted / shifted.sum(1, keepdims=True)).astype(np.float32)
    return probabilities


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities ``[rows, classes]`` made less sure (above 1) or surer (below); the favourite stays the same."""
    if temperature == 1.0:
        return probabilities
    powers = np.log(np.maximum(probabilities, _SMALLEST)) / temperature
    powers = np.exp(powers - powers.max(1, keepdims=True))
    scaled: np.ndarray = (powers / powers.sum(1, keepdims=True)).astype(np.float32)
    return scaled


def mixed(each: np.ndarray, combination: Combination) -> np.ndarray:
    """``[rows, classes] float32`` of models ``[models, rows, classes]``."""
    parts = [
        share * tempered(probabilities, float(temperature))
        for probabilities, share, temperature in zip(each, combination.shares, combination.temperatures, strict=True)
        if share
    ]
    return tempered(np.sum(parts, axis=0).astype(np.float32), combination.temperature)
