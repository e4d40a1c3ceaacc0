"""What is told of probabilities of classes."""

from __future__ import annotations

from typing import Any

import numpy as np


def told(answer: dict[str, Any], answers: np.ndarray) -> list[str]:
    """The most probable class of each row."""
    return [answer["outputs"][int(row.argmax())] for row in answers]


def columns(answer: dict[str, Any]) -> list[str]:
    """Of `written`."""
    return ["prediction", *(f"probability_{name}" for name in answer["outputs"])]


def written(answer: dict[str, Any], answers: np.ndarray) -> list[list[Any]]:
    """The cells of each row."""
    return [
        [label, *(round(value, 6) for value in row)]
        for label, row in zip(told(answer, answers), answers.tolist(), strict=True)
    ]
