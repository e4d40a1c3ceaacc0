"""What the answer of a run says to its validation rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autotl.data.task import Task
from autotl.kinds.kind import Calibration
from autotl.kinds.mixing import mixed
from autotl.predictor.answers import SUFFIX, read_answers
from autotl.predictor.bundle import BundleCard

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class Answers:
    """The answer's answers to the validation rows, from before any of these was trained on."""

    task: Task
    rows: npt.NDArray[np.int64]  #: ``[validation]``: positions among the rows that the run uses
    targets: np.ndarray  #: ``[validation, …]``
    answers: np.ndarray  #: ``[validation, outputs] float32``
    calibration: Calibration  #: by which the bundle decides


def answers_of(folder: Path, card: BundleCard, targets: np.ndarray) -> Answers | None:
    """From what the members of a run's answer said when they were judged; None where a part is missing.

    targets ``[rows, …]``: of all rows that the run uses.
    """
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for member in card.members:
        file = next(folder.glob(f"trials/*/{member.folder}{SUFFIX}"), None)
        if file is None:
            return None
        try:
            parts.append(read_answers(file, rows=len(targets), outputs=len(card.task.outputs)))
        except (OSError, ValueError, KeyError):
            return None
    rows = _in_all([valid for valid, _ in parts])
    if not len(rows):
        return None
    each = np.stack([probabilities[np.searchsorted(valid, rows)] for valid, probabilities in parts])
    answers = mixed(each, card.combination, card.task.rules.activation)
    return Answers(card.task, rows, targets[rows], answers, card.calibration)


def _in_all(each: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    rows = each[0]
    for other in each[1:]:
        rows = np.intersect1d(rows, other)
    return rows
