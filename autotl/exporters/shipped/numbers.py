"""What is told of numbers: as the table had them, with an interval that holds nine new rows in ten."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def told(answer: dict[str, Any], answers: np.ndarray) -> list[Any]:
    """The number of each row, or a list of several."""
    numbers = _in_units(answer, answers + np.array(answer["shifts"])).tolist()
    return [row[0] if len(row) == 1 else row for row in numbers]


def columns(answer: dict[str, Any]) -> list[str]:
    """Of `written`."""
    names = [""] if len(answer["outputs"]) == 1 else [f"_{name}" for name in answer["outputs"]]
    return [f"{what}{name}" for name in names for what in ("prediction", "low_90", "high_90")]


def written(answer: dict[str, Any], answers: np.ndarray) -> list[list[Any]]:
    """The cells of each row."""
    widths = np.array(answer["widths"])
    each = np.stack([_in_units(answer, answers + shift) for shift in (np.array(answer["shifts"]), -widths, widths)], -1)
    for place, scale in enumerate(answer["scales"]):
        each[:, place] = _rounded(each[:, place], scale)
    return [list(row) for row in each.reshape(len(answers), -1).tolist()]


def _rounded(numbers: np.ndarray, scale: dict[str, Any]) -> np.ndarray:
    """To a millionth of how far apart they usually lie; of logarithms to six digits."""
    if scale["log"]:
        return np.array([float(f"{number:.6g}") for number in numbers.ravel()]).reshape(numbers.shape)
    return np.round(numbers, 6 - math.floor(math.log10(scale["deviation"])))


def _in_units(answer: dict[str, Any], answers: np.ndarray) -> np.ndarray:
    means, deviations, logs = (
        np.array([scale[name] for scale in answer["scales"]]) for name in ("mean", "deviation", "log")
    )
    numbers = answers.astype(np.float64) * deviations + means
    return np.where(logs, np.exp(np.where(logs, numbers, 0.0)), numbers)
