"""Heads on frozen features that need no training loop: ridge in closed form, and logistic ones by L-BFGS.

Ridge with leave-one-out scores every penalty from one eigendecomposition; it ranks backbones, and where the task's loss
is a squared error it is the head too. Elsewhere the head has the least loss of the task's kind (logistic regression for
classes), which makes it calibrated. Heads start fine-tuning (linear probing then fine-tuning, Kumar et al. 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autotl.data.task import Task

#: Relative to the mean eigenvalue of the features' covariance, so that they mean the same for every width.
RIDGE_PENALTIES = tuple(float(10.0**power) for power in np.arange(-4, 4.01, 0.5))

#: Weight penalties of a logistic head on standardized features, strongest first so that each warms up the next.
PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)

#: The one of these that inner holdouts choose most often; for a head on a part of the rows, in a hurry.
_USUAL_PENALTY = 1e-2


@dataclass(frozen=True)
class LinearHead:
    """``logits = features @ weight + bias``; weight ``[width, outputs] float32``, bias ``[outputs] float32``."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        logits: np.ndarray = features @ self.weight + self.bias
        return logits


@dataclass(frozen=True)
class RidgeScores:
    """What leave-one-out says of ridge heads: `predictions` ``[rows, outputs] float32`` at the best penalty.

    `score` is that of `Kind.ranking`.
    """

    penalty: float
    score: float
    predictions: np.ndarray


def standardization(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of each column; the floor on the scale keeps near-dead columns from exploding."""
    mean, deviation = features.mean(0), features.std(0)
    return mean, np.maximum(deviation, 1e-2 * deviation.mean() + 1e-6)


def ridge_leave_one_out(task: Task, features: np.ndarray, targets: np.ndarray) -> RidgeScores:
    """Leave-one-out score of ridge regression on the targets, one-hot for classes; the best of all penalties.

    features ``[rows, width] float32``, targets ``[rows, …]``. One eigendecomposition of the smaller Gram matrix
    serves all penalties; the residual without row i is the plain residual over ``1 - h_i``, h the hat matrix's
    diagonal (Allen's PRESS, 1974).
    """
    rows, width = features.shape
    mean, scale = standardization(features)
    centred = ((features - mean) / scale).astype(np.float64)
    dense = task.rules.dense(torch.from_numpy(targets), len(task.outputs)).numpy().astype(np.float64)
    offset = dense.mean(0)
    dense -= offset
    if width <= rows:
        values, vectors = np.linalg.eigh(centred.T @ centred)
        keep = values > 1e-9 * values[-1]
        values = values[keep]
        left = centred @ vectors[:, keep] / np.sqrt(values)
    else:
        values, left = np.linalg.eigh(centred @ centred.T)
        keep = values > 1e-9 * values[-1]
        values, left = values[keep], left[:, keep]
    rotated, squared = left.T @ dense, left**2
    best = RidgeScores(0.0, -np.inf, np.empty((0, len(task.outputs)), np.float32))
    for penalty in RIDGE_PENALTIES:
        shrink = values / (values + penalty * rows)
        hat = np.minimum(squared @ shrink + 1.0 / rows, 1 - 1e-6)
        residual = (dense - left @ (shrink[:, None] * rotated)) / (1.0 - hat)[:, None]
        left_out = (dense - residual + offset).astype(np.float32)
        score = task.rules.ranking(targets, left_out)
        if score > best.score:
            best = RidgeScores(penalty, score, left_out)
    return best


def _logistic_path(
    task: Task, features: np.ndarray, targets: np.ndarray, penalties: Sequence[float], weights: np.ndarray | None
) -> Iterator[LinearHead]:
    """The head at each of `penalties`, each warmed up by the one before.

    features ``[rows, width] float32``, targets ``[rows, …]``. Standardizes inside and folds that into the head.
    """
    mean, scale = standardization(features)
    inputs = torch.from_numpy(((features - mean) / scale).astype(np.float32))
    wanted, outputs = torch.from_numpy(targets), len(task.outputs)
    counting = None if weights is None else torch.from_numpy(weights)
    weight = torch.zeros(inputs.shape[1], outputs, requires_grad=True)
    bias = torch.zeros(outputs, requires_grad=True)
    for penalty in penalties:
        solver = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe", tolerance_change=1e-6)

        def loss(penalty: float = penalty, solver: torch.optim.Optimizer = solver) -> torch.Tensor:
            solver.zero_grad()
            value = task.rules.loss(inputs @ weight + bias, wanted, counting)
            value = value + penalty * weight.square().sum()
            value.backward()  # type: ignore[no-untyped-call]
            return value

        solver.step(loss)  # type: ignore[arg-type,no-untyped-call]
        unscaled = weight.detach().numpy() / scale[:, None]
        shift = bias.detach().numpy() - mean @ unscaled
        yield LinearHead(unscaled.astype(np.float32), shift.astype(np.float32))


def fit_head(
    task: Task, features: np.ndarray, targets: np.ndarray, penalty: float, weights: np.ndarray | None = None
) -> LinearHead:
    """The head with the least loss of the task's kind: features ``[rows, width] float32``, targets ``[rows, …]``.

    penalty: as `choose_penalty` or `usual_penalty` has it. weights ``[rows] float32``: what each row counts.
    """
    if task.rules.squared:
        return _ridge_head(features, targets, penalty, weights)
    (head,) = _logistic_path(task, features, targets, [penalty], weights)
    return head


def _ridge_head(features: np.ndarray, targets: np.ndarray, penalty: float, weights: np.ndarray | None) -> LinearHead:
    """Ridge regression of targets ``[rows, outputs] float32``; the penalty is one of `RIDGE_PENALTIES`."""
    _, scale = standardization(features)
    counts = np.ones(len(features)) if weights is None else weights.astype(np.float64)
    mean, offset = (np.average(values, axis=0, weights=counts) for values in (features, targets))
    roots = np.sqrt(counts)[:, None]  # a row that counts twice is there twice
    inputs, wanted = (features - mean) / scale * roots, (targets - offset) * roots
    rows, width = inputs.shape
    strength = penalty * rows
    if width <= rows:
        solved = np.linalg.solve(inputs.T @ inputs + strength * np.eye(width), inputs.T @ wanted)
    else:
        solved = inputs.T @ np.linalg.solve(inputs @ inputs.T + strength * np.eye(rows), wanted)
    weight = solved / scale[:, None]
    return LinearHead(weight.astype(np.float32), (offset - mean @ weight).astype(np.float32))


def choose_penalty(
    task: Task, features: np.ndarray, targets: np.ndarray, seed: int, weights: np.ndarray | None = None
) -> float:
    """The penalty with the lowest loss on a fifth of the rows that the others are fitted without.

    Of ridge the one with the best score on rows that are left out one by one.
    """
    if task.rules.squared:
        return ridge_leave_one_out(task, features, targets).penalty
    order = np.random.default_rng(seed).permutation(len(targets))
    cut = max(len(targets) // 5, 1)
    inner, outer = order[cut:], order[:cut]
    losses = []
    counting = None if weights is None else weights[inner]
    for head in _logistic_path(task, features[inner], targets[inner], PENALTIES, counting):
        logits = torch.from_numpy(head.logits(features[outer]))
        losses.append(float(task.rules.loss(logits, torch.from_numpy(targets[outer]))))
    return PENALTIES[int(np.argmin(losses))]


def usual_penalty(task: Task, features: np.ndarray, targets: np.ndarray) -> float:
    """One to be had at once: what is mostly chosen, or what costs no fit to choose."""
    return ridge_leave_one_out(task, features, targets).penalty if task.rules.squared else _USUAL_PENALTY


def log_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """``[classes] float32``: logarithms of the classes' shares of labels ``[rows] int64``, one row each at least."""
    rows = np.maximum(np.bincount(labels, minlength=classes), 1)
    logarithms: np.ndarray = np.log(rows / rows.sum()).astype(np.float32)
    return logarithms


def balanced(head: LinearHead, labels: np.ndarray) -> LinearHead:
    """A head that was fitted to `labels`, with the advantage of frequent classes taken off (Menon et al. 2021)."""
    return LinearHead(head.weight, head.bias - log_shares(labels, len(head.bias)))
