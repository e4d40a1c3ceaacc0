"""The arithmetic from several networks' outputs to one answer, on numpy alone.

Predictions and mixtures are made by it, and an export that runs without AutoTL ships a copy of this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

#: What makes answers of a network's outputs: a probability for each class, for each label by itself, or the number.
Activation = Literal["softmax", "sigmoid", "identity"]

#: Probabilities below it count as this much, so that their logarithms are finite. As small as can be: above it,
#: tempering is the same as dividing logits, which is what the layouts of other libraries do.
_SMALLEST = np.finfo(np.float32).tiny

#: What a probability that float32 rounds to 1 is off by, at most.
_NEXT_TO_ONE = 2.0**-25


@dataclass(frozen=True)
class Combination:
    """`shares` ``[models] float64`` sum to one; `temperatures` ``[models]`` go before, `temperature` after the mean."""

    shares: np.ndarray
    temperatures: np.ndarray
    temperature: float


def activated(outputs: np.ndarray, activation: Activation) -> np.ndarray:
    """``[rows, outputs] float32`` answers from a network's outputs of the same shape."""
    answers = outputs
    if activation == "softmax":
        shifted = np.exp(outputs - outputs.max(1, keepdims=True))
        answers = shifted / shifted.sum(1, keepdims=True)
    elif activation == "sigmoid":
        answers = 1 / (1 + np.exp(-np.clip(outputs, -80.0, 80.0)))  # whose exponential float32 still holds
    return answers.astype(np.float32)


def tempered(answers: np.ndarray, temperature: float, activation: Activation) -> np.ndarray:
    """Probabilities ``[rows, outputs]`` made less sure (above 1) or surer (below): as outputs divided by it give them.

    Numbers stay as they are.
    """
    if temperature == 1.0 or activation == "identity":
        return answers
    powers = np.log(np.maximum(answers, _SMALLEST)) / temperature
    if activation == "sigmoid":
        against = np.log(np.maximum(1 - answers, _NEXT_TO_ONE)) / temperature
        return activated(powers - against, "sigmoid")
    return activated(powers, "softmax")


def mixed(each: np.ndarray, combination: Combination, activation: Activation) -> np.ndarray:
    """``[rows, outputs] float32`` of models ``[models, rows, outputs]``."""
    parts = [
        share * tempered(answers, float(temperature), activation)
        for answers, share, temperature in zip(each, combination.shares, combination.temperatures, strict=True)
        if share
    ]
    return tempered(np.sum(parts, axis=0).astype(np.float32), combination.temperature, activation)
