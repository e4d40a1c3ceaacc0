"""What is told of numbers: as the table had them, with an interval that holds nine new rows in ten."""

from __future__ import annotations

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
    return [[float(f"{cell:.6g}") for cell in row] for row in each.reshape(len(answers), -1).tolist()]


def _in_units(answer: dict[str, Any], answers: np.ndarray) -> np.ndarray:
    means, deviations, logs = (
        np.array([scale[name] for scale in answer["scales"]]) for name in ("mean", "deviation", "log")
    )
    numbers = answers.astype(np.float64) * deviations + means
    return np.where(logs, np.exp(np.where(logs, numbers, 0.0)), numbers)
