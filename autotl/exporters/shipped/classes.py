"""What is told of probabilities of classes."""

from __future__ import annotations

from typing import Any

import numpy as np


def told(answer: dict[str, Any], answers: np.ndarray) -> list[str]:
    """The most probable class of each row, or where errors have costs, the one that costs least in expectation."""
    costs = answer.get("costs")
    taken = answers.argmax(1) if costs is None else (answers @ np.array(costs)).argmin(1)
    return [answer["outputs"][place] for place in taken.tolist()]


def columns(answer: dict[str, Any]) -> list[str]:
    """Of `written`."""
    return ["prediction", *(f"probability_{name}" for name in answer["outputs"])]


def written(answer: dict[str, Any], answers: np.ndarray) -> list[list[Any]]:
    """The cells of each row."""
    return [
        [label, *(round(value, 6) for value in row)]
        for label, row in zip(told(answer, answers), answers.tolist(), strict=True)
    ]
