"""Nearest neighbours: needs nothing fitted, and sees classes that no hyperplane separates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: Neighbours that vote, and the temperature of their votes, as in DINO's evaluation (Caron et al. 2021).
NEIGHBOURS, TEMPERATURE = 10, 0.07

#: Rows whose similarities to all others are held at a time.
_AT_A_TIME = 1024


class Neighbours:
    """Leave-one-out accuracy of the nearest neighbours by cosine similarity of centred features.

    Beats 23 measures of transferability in 42 000 comparisons (arXiv 2503.18528).
    """

    name = "neighbours"

    def score(self, features: np.ndarray, labels: np.ndarray, classes: int) -> float:
        import numpy as np

        centred = features - features.mean(0)
        unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        count = min(NEIGHBOURS, len(unit) - 1)
        right = 0
        for start in range(0, len(unit), _AT_A_TIME):
            rows = np.arange(start, min(start + _AT_A_TIME, len(unit)))
            similar = unit[rows] @ unit.T
            similar[np.arange(len(rows)), rows] = -np.inf  # nobody votes for itself
            nearest = np.argpartition(-similar, count - 1, axis=1)[:, :count]
            weights = np.exp(np.take_along_axis(similar, nearest, 1) / TEMPERATURE)
            votes = np.zeros((len(rows), classes))
            np.add.at(votes, (np.arange(len(rows))[:, None], labels[nearest]), weights)
            right += int((votes.argmax(1) == labels[rows]).sum())
        return right / len(unit)
