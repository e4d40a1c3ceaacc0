"""What the answer of a run says to its validation rows, and what that tells of the answer and of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autotl.predictor import metrics
from autotl.predictor.answers import SUFFIX, read_answers
from autotl.predictor.bundle import BundleCard
from autotl.predictor.mixing import Combination, mixed

if TYPE_CHECKING:
    import numpy.typing as npt

#: From here on an answer is so sure that a row which contradicts it is worth a look.
SURE = 0.9

#: Bins of a reliability diagram: with 500 rows the fullest hold enough to say something.
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Rows that the answer was about equally sure of."""

    rows: int
    confidence: float  #: mean of what the favourite was given
    right: float  #: share
    low: float  #: Wilson's 95 % interval of that share
    high: float


@dataclass(frozen=True)
class Answers:
    """The answer's probabilities on the validation rows, from before any of these was trained on."""

    rows: npt.NDArray[np.int64]  #: ``[validation]``: positions among the rows that the run uses
    labels: npt.NDArray[np.int64]  #: ``[validation]``
    probabilities: npt.NDArray[np.float32]  #: ``[validation, classes]``

    @cached_property
    def predicted(self) -> npt.NDArray[np.int64]:
        """``[validation]``"""
        favourites: npt.NDArray[np.int64] = self.probabilities.argmax(1)
        return favourites

    @cached_property
    def of_label(self) -> npt.NDArray[np.float32]:
        """``[validation]``: what the row's own label was given."""
        given: npt.NDArray[np.float32] = self.probabilities[np.arange(len(self.labels)), self.labels]
        return given

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """``[true, predicted]``"""
        counts = np.zeros((self.probabilities.shape[1],) * 2, np.int64)
        np.add.at(counts, (self.labels, self.predicted), 1)
        return counts

    def most_wrong(self, most: int) -> list[int]:
        """Places of rows that are taken for another class, the least likely label first."""
        order = np.argsort(self.of_label, kind="stable")
        return [int(place) for place in order if self.predicted[place] != self.labels[place]][:most]

    def suspects(self) -> list[int]:
        """Places of rows whose label may be an error, the likeliest first: confident learning, with a bar besides.

        That is: the answer is as sure of another class as it usually is of rows labelled so (Northcutt et al. 2021).
        A weak model is never very sure, and by that alone it would suspect a part of all that it gets wrong.
        """
        classes = self.probabilities.shape[1]
        usual = [self.of_label[self.labels == label] for label in range(classes)]
        bars = np.array([max(float(given.mean()), SURE) if len(given) else SURE for given in usual])
        wrong = (self.predicted != self.labels) & (self.probabilities.max(1) >= bars[self.predicted])
        return [int(place) for place in np.argsort(self.of_label, kind="stable") if wrong[place]]

    def reliability(self) -> list[Bin]:
        """Bins that hold rows, the least sure first."""
        sure, right = self.probabilities.max(1), self.predicted == self.labels
        numbers = np.minimum((sure * BINS).astype(int), BINS - 1)
        found = []
        for number in range(BINS):
            if count := int((here := numbers == number).sum()):
                hits = int(right[here].sum())
                found.append(Bin(count, float(sure[here].mean()), hits / count, *metrics.wilson(hits, count)))
        return found

    def calibration_error(self) -> float:
        """Mean distance of confidence and share, rows counting alike."""
        return sum(part.rows * abs(part.confidence - part.right) for part in self.reliability()) / len(self.labels)


def answers_of(folder: Path, card: BundleCard, labels: npt.NDArray[np.int64]) -> Answers | None:
    """From what the members of a run's answer said when they were judged; None where a part is missing.

    labels ``[rows]``: of all rows that the run uses.
    """
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for member in card.members:
        file = next(folder.glob(f"trials/*/{member.folder}{SUFFIX}"), None)
        if file is None:
            return None
        try:
            parts.append(read_answers(file, rows=len(labels), classes=len(card.task.classes)))
        except (OSError, ValueError, KeyError):
            return None
    rows = _in_all([valid for valid, _ in parts])
    if not len(rows):
        return None
    each = np.stack([probabilities[np.searchsorted(valid, rows)] for valid, probabilities in parts])
    combination = Combination(
        np.array([member.share for member in card.members]),
        np.array([member.temperature for member in card.members]),
        card.temperature,
    )
    return Answers(rows, labels[rows], mixed(each, combination))


def _in_all(each: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    rows = each[0]
    for other in each[1:]:
        rows = np.intersect1d(rows, other)
    return rows
