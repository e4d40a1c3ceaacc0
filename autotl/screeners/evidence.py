"""LogME: the evidence of a Bayesian linear model of the labels on the features."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: You et al. 2021 stop after eleven rounds, which can be well before the fixed point; a round costs next to nothing.
_ROUNDS, _CLOSE = 200, 1e-4


class Evidence:
    """The mean over classes of the largest log evidence a row, over the precisions of weights and noise.

    LogME of You et al. 2021. Features are standardized first: without that the width of a network decides more than
    what it knows.
    """

    name = "evidence"

    def score(self, features: np.ndarray, labels: np.ndarray, classes: int) -> float:
        import numpy as np

        rows, width = features.shape
        deviation = features.std(0)
        inputs = (features - features.mean(0)) / np.maximum(deviation, 1e-2 * deviation.mean() + 1e-6)
        inputs = inputs.astype(np.float64)
        gram = inputs.T @ inputs if width <= rows else inputs @ inputs.T
        squares, vectors = np.linalg.eigh(gram)
        kept = squares > 1e-9 * squares[-1]
        squares, vectors = squares[kept], vectors[:, kept]
        left = inputs @ vectors / np.sqrt(squares) if width <= rows else vectors
        targets = np.eye(classes)[labels]
        targets = targets[:, targets.any(0)]
        targets = targets - targets.mean(0)  # as features are: no weight of theirs explains how frequent a class is
        projected = (left.T @ targets) ** 2
        outside = (targets**2).sum(0) - projected.sum(0)  # what no weights explain
        each = zip(projected.T, outside, strict=True)
        free = rows - 1  # as what is centred varies in no more directions
        return float(np.mean([_log_evidence(squares, along, beside, free, width) for along, beside in each]))


def _log_evidence(squares: np.ndarray, projected: np.ndarray, outside: float, rows: int, width: int) -> float:
    """Per row. squares, projected ``[rank] float64``: squared singular values, and the target's share along each."""
    import numpy as np

    weights, noise = 1.0, 1.0  # precisions
    ratio = 0.0
    for _ in range(_ROUNDS):
        known = noise * squares / (weights + noise * squares)
        size = float((known**2 * projected / squares).sum())
        misfit = float(((1 - known) ** 2 * projected).sum()) + max(outside, 0.0)
        gamma = float(known.sum())
        weights, noise = gamma / max(size, 1e-12), (rows - gamma) / max(misfit, 1e-12)
        if abs(weights / noise - ratio) <= _CLOSE * ratio:
            break
        ratio = weights / noise
    logarithms = float(np.log(weights + noise * squares).sum()) + (width - len(squares)) * np.log(weights)
    total = width * np.log(weights) + rows * np.log(noise) - logarithms - noise * misfit - weights * size
    return float(total / rows - np.log(2 * np.pi)) / 2
