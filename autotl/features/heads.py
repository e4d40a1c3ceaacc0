"""Heads on frozen features that need no training loop: ridge in closed form, logistic by L-BFGS.

Ridge with leave-one-out scores every penalty from one eigendecomposition; it ranks backbones. The logistic
head gives calibrated logits; it starts fine-tuning (linear probing then fine-tuning, Kumar et al. 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

#: Relative to the mean eigenvalue of the features' covariance, so that they mean the same for every width.
RIDGE_PENALTIES = tuple(float(10.0**power) for power in np.arange(-4, 4.01, 0.5))

#: Weight penalties of the logistic head on standardized features, strongest first so that each warms up the next.
LOGISTIC_PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)

#: The one that inner holdouts choose most often; for a head on a part of the rows, in a hurry.
USUAL_PENALTY = 1e-2


@dataclass(frozen=True)
class LinearHead:
    """``logits = features @ weight + bias``; weight ``[width, classes] float32``, bias ``[classes] float32``."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        logits: np.ndarray = features @ self.weight + self.bias
        return logits


@dataclass(frozen=True)
class RidgeScores:
    """What leave-one-out says of ridge heads: `predictions` ``[rows, classes] float32`` at the best penalty."""

    penalty: float
    accuracy: float
    predictions: np.ndarray


def standardization(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of each column; the floor on the scale keeps near-dead columns from exploding."""
    mean, deviation = features.mean(0), features.std(0)
    return mean, np.maximum(deviation, 1e-2 * deviation.mean() + 1e-6)


def ridge_leave_one_out(features: np.ndarray, labels: np.ndarray, classes: int) -> RidgeScores:
    """Leave-one-out accuracy of ridge regression on one-hot labels, the best over all penalties.

    features ``[rows, width] float32``, labels ``[rows] int64``. One eigendecomposition of the smaller Gram matrix
    serves all penalties; the residual without row i is the plain residual over ``1 - h_i``, h the hat matrix's
    diagonal (Allen's PRESS, 1974).
    """
    rows, width = features.shape
    mean, scale = standardization(features)
    centred = ((features - mean) / scale).astype(np.float64)
    targets = np.eye(classes)[labels]
    offset = targets.mean(0)
    targets -= offset
    if width <= rows:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        keep = values > 1e-9 * values[-1]
        values = values[keep]
        left = centred @ vectors[:, keep] / np.sqrt(values)
    else:
        values, left = np.linalg.eigh(centred @ centred.T)
        keep = values > 1e-9 * values[-1]
        values, left = values[keep], left[:, keep]
    rotated, squared = left.T @ targets, left**2
    best = RidgeScores(0.0, -1.0, np.empty((0, classes), np.float32))
    for penalty in RIDGE_PENALTIES:
        shrink = values / (values + penalty * rows)
        hat = np.minimum(squared @ shrink + 1.0 / rows, 1 - 1e-6)
        residual = (targets - left @ (shrink[:, None] * rotated)) / (1.0 - hat)[:, None]
        left_out = (targets - residual + offset).astype(np.float32)
        accuracy = float((left_out.argmax(1) == labels).mean())
        if accuracy > best.accuracy:
            best = RidgeScores(penalty, accuracy, left_out)
    return best


def logistic_path(
    features: np.ndarray, labels: np.ndarray, classes: int, penalties: Sequence[float]
) -> Iterator[LinearHead]:
    """Multinomial logistic regression at each of `penalties`, each warmed up by the one before it.

    features ``[rows, width] float32``, labels ``[rows] int64``. Standardizes inside and folds that into the head.
    """
    mean, scale = standardization(features)
    inputs = torch.from_numpy(((features - mean) / scale).astype(np.float32))
    targets = torch.from_numpy(labels)
    weight = torch.zeros(inputs.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    for penalty in penalties:
        solver = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe", tolerance_change=1e-6)

        def loss(penalty: float = penalty, solver: torch.optim.Optimizer = solver) -> torch.Tensor:
            solver.zero_grad()
            value = torch.nn.functional.cross_entropy(inputs @ weight + bias, targets)
            value = value + penalty * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        solver.step(loss)  # type: ignore[arg-type,no-untyped-call]
        unscaled = weight.detach().numpy() / scale[:, None]
        shift = bias.detach().numpy() - mean @ unscaled
        yield LinearHead(unscaled.astype(np.float32), shift.astype(np.float32))


def fit_logistic(features: np.ndarray, labels: np.ndarray, classes: int, penalty: float) -> LinearHead:
    """Multinomial logistic regression: features ``[rows, width] float32``, labels ``[rows] int64``."""
    (head,) = logistic_path(features, labels, classes, [penalty])
    return head


def choose_logistic_penalty(features: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> float:
    """The penalty with the lowest log loss on a fifth of the rows that the others are fitted without."""
    order = np.random.default_rng(seed).permutation(len(labels))
    cut = max(len(labels) // 5, 1)
    inner, outer = order[cut:], order[:cut]
    losses = []
    for head in logistic_path(features[inner], labels[inner], classes, LOGISTIC_PENALTIES):
        logits = torch.from_numpy(head.logits(features[outer]))
        losses.append(float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[outer]))))
    return LOGISTIC_PENALTIES[int(np.argmin(losses))]


def log_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """``[classes] float32``: logarithms of the classes' shares of labels ``[rows] int64``, one row each at least."""
    rows = np.maximum(np.bincount(labels, minlength=classes), 1)
    logarithms: np.ndarray = np.log(rows / rows.sum()).astype(np.float32)
    return logarithms


def balanced(head: LinearHead, labels: np.ndarray) -> LinearHead:
    """A head that was fitted to `labels`, with the advantage of frequent classes taken off (Menon et al. 2021)."""
    return LinearHead(head.weight, head.bias - log_shares(labels, len(head.bias)))
