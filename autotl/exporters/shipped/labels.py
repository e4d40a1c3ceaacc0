"""What is told of probabilities of labels, each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np


def told(answer: dict[str, Any], answers: np.ndarray) -> list[tuple[str, ...]]:
    """The labels of each row whose probability reaches their threshold."""
    bars = np.array(answer["thresholds"], np.float32)
    names = answer["outputs"]
    return [tuple(name for name, given in zip(names, row, strict=True) if given) for row in answers >= bars]


def columns(answer: dict[str, Any]) -> list[str]:
    """Of `written`."""
    return ["prediction", *(f"probability_{name}" for name in answer["outputs"])]


def written(answer: dict[str, Any], answers: np.ndarray) -> list[list[Any]]:
    """The cells of each row."""
    return [
        [answer["delimiter"].join(labels), *(round(value, 6) for value in row)]
        for labels, row in zip(told(answer, answers), answers.tolist(), strict=True)
    ]
