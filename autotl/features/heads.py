"""Heads on frozen features that need no training loop: ridge in closed form, and logistic ones by L-BFGS.

Ridge with leave-one-out scores every penalty from one eigendecomposition; it ranks backbones, and where the task's loss
is a squared error it is the head too. Elsewhere the head has the least loss of the task's kind (logistic regression for
classes), which makes it calibrated. Heads start fine-tuning (linear probing then fine-tuning, Kumar et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from autotl.budget import Clock
from autotl.data.groups import members_of
from autotl.data.task import Task
from autotl.features.descent import least

#: Relative to the mean eigenvalue of the features' covariance, so that they mean the same for every width.
RIDGE_PENALTIES = tuple(float(10.0**power) for power in np.arange(-4, 4.01, 0.5))

#: Weight penalties of a logistic head on standardized features, strongest first so that each warms up the next.
PENALTIES = (1.0, 3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)

#: Penalties that may be worse than the best so far before no weaker one is tried.
_PATIENCE = 2

#: Up to so many rows each fifth of them is held out once: of 8 to 40 rows one fifth says little. With 20 a class,
#: seven sets, six draws, the log loss of what is chosen falls by 0.01 to 0.13, and accuracy is the same.
FOLDED, FOLDS = 200, 5

#: Rows of which ridge leaves out group after group, which takes a system of equations a group and penalty: a second or
#: two where four groups have 5000 rows of 1500 columns, and 0.1 of these. So many tell backbones apart.
GROUPED_ROWS = 2000

#: Rows of which ridge leaves out one after the other: in float64, 20 000 of 1536 columns take a quarter of a gigabyte
#: three times over, and a share of them that are right is known to 0.3 points. Fewer where there are many outputs: rows
#: times columns times outputs are what each of the penalties multiplies, and so many some tenths of a second.
RIDGE_ROWS, RIDGE_PRODUCTS = 20_000, 10**10

#: Rows that are in float64 at a time where sums over them will do.
_ROWS_AT_A_TIME = 8192

#: Of the loss, at most so much of the features' covariance (softmax: Böhning 1992 has a half; a quarter did as well).
_CURVATURE = 0.25


#: Of the seconds that there are, for each of the two parts of fitting a head, and what each may take in any case. With
#: some hundred classes both are done long before; 16 000 rows of a thousand would take minutes.
FITTING_SHARE, LEAST_FITTING = 0.1, 10.0


@dataclass(frozen=True)
class LinearHead:
    """``logits = features @ weight + bias``; weight ``[width, outputs] float32``, bias ``[outputs] float32``."""

    weight: np.ndarray
    bias: np.ndarray

    @classmethod
    def zeros(cls, width: int, outputs: int) -> LinearHead:
        """One that knows nothing."""
        return cls(np.zeros((width, outputs), np.float32), np.zeros(outputs, np.float32))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """By torch: threads of numpy's BLAS would keep cores busy for a tenth of a second, beside the next network."""
        told = [np.ascontiguousarray(part, np.float32) for part in (self.bias, features, self.weight)]
        logits: np.ndarray = torch.addmm(*map(torch.from_numpy, told)).numpy()
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


def ridge_leave_one_out(
    task: Task, features: np.ndarray, targets: np.ndarray, groups: np.ndarray | None = None
) -> RidgeScores:
    """Leave-one-out score of ridge regression on the targets, one-hot for classes; the best of all penalties.

    features ``[rows, width] float32``, targets ``[rows, …]``, of which the first `RIDGE_ROWS` are used; they are in
    random order. One eigendecomposition of the smaller Gram matrix serves all penalties; the residual without row i is
    the plain residual over ``1 - h_i``, h the hat matrix's diagonal (Allen's PRESS, 1974). groups ``[rows] int64``:
    those of one are left out together, of the first `GROUPED_ROWS` rows then; their residuals are the plain ones times
    the inverse of ``1 - H``, H their block of the hat matrix.
    """
    width, outputs = features.shape[1], len(task.outputs)
    most = min(RIDGE_ROWS if groups is None else GROUPED_ROWS, max(RIDGE_PRODUCTS // (width * outputs), outputs))
    features, targets, groups = features[:most], targets[:most], None if groups is None else groups[:most]
    rows = len(features)
    together = _with_company(groups)
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
        plain = dense - left @ (shrink[:, None] * rotated)
        residual = plain / (1.0 - hat)[:, None]
        for members in together:
            blocks = (left[members] * shrink) @ left[members].transpose(0, 2, 1) + 1.0 / rows
            residual[members] = np.linalg.solve((1 + 1e-9) * np.eye(members.shape[1]) - blocks, plain[members])
        left_out = (dense - residual + offset).astype(np.float32)
        score = task.rules.ranking(targets, left_out, task.balance)
        if score > best.score:
            best = RidgeScores(penalty, score, left_out)
    return best


def _with_company(groups: np.ndarray | None) -> list[np.ndarray]:
    """The rows of each group that has several: ``[groups, rows of each] int64`` for each size that groups have."""
    if groups is None:
        return []
    parts = members_of(groups)
    sizes = sorted({len(part) for part in parts} - {1})
    return [np.stack([part for part in parts if len(part) == size]) for size in sizes]


def random_parts(rows: int, parts: int, seed: int, groups: np.ndarray | None = None) -> list[np.ndarray]:
    """Row numbers ``int64`` in random parts of nearly equal size, the one nearest to that first.

    Or, with groups, the one of most of them: a large group is a part by itself, and says nothing of others.
    groups ``[rows] int64``: are divided by no part, unless there is one group alone.
    """
    random = np.random.default_rng(seed)
    numbers, sizes = np.unique(np.arange(rows) if groups is None else groups, return_inverse=True, return_counts=True)[
        1:
    ]
    if len(sizes) in (1, rows):
        return np.array_split(random.permutation(rows), min(parts, rows))
    home, filled = np.empty(len(sizes), np.int64), np.zeros(parts, np.int64)
    order = random.permutation(len(sizes))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        home[group] = filled.argmin()
        filled[home[group]] += sizes[group]
    each = [
        (np.count_nonzero(home == part), random.permutation(np.flatnonzero(home[numbers] == part)))
        for part in range(parts)
    ]
    each.sort(key=lambda part: (-part[0], abs(len(part[1]) - rows / parts)))
    return [part for _, part in each if len(part)]


def _logistic_path(
    task: Task,
    features: np.ndarray,
    targets: np.ndarray,
    penalties: Sequence[float],
    weights: np.ndarray | None,
    clock: Clock | None,
) -> Iterator[LinearHead]:
    """The head at each of `penalties`, each warmed up by the one before, as far as it comes by the clock.

    features ``[rows, width] float32``, targets ``[rows, …]``. Standardizes inside and folds that into the head. Where
    rows determine all weights the loss is bent as their covariance is, and L-BFGS goes along its axes: on 6920 rows of
    1536 columns and two classes 12 in place of 60 evaluations a penalty, 1.3 in place of 6.6 s.
    """
    mean, scale = standardization(features)
    inputs = torch.from_numpy(((features - mean) / scale).astype(np.float32, copy=False))
    wanted, outputs = torch.from_numpy(targets), len(task.outputs)
    counting = None if weights is None else torch.from_numpy(weights)
    rows, width = inputs.shape
    covariance = inputs.T @ inputs / rows if rows > width else None
    weight, bias = torch.zeros(width, outputs), torch.zeros(outputs)
    for penalty in penalties:

        def loss(weight: torch.Tensor, bias: torch.Tensor, penalty: float = penalty) -> torch.Tensor:
            return task.rules.loss(inputs @ weight + bias, wanted, counting) + penalty * weight.square().sum()

        bent = None
        if covariance is not None:
            bent = torch.linalg.cholesky(_CURVATURE * covariance + 2 * penalty * torch.eye(width)).T
        weight, bias = _descended(loss, weight, bias, bent, clock)
        unscaled = weight.numpy() / scale[:, None]
        shift = bias.numpy() - mean @ unscaled
        yield LinearHead(unscaled.astype(np.float32), shift.astype(np.float32))


def _descended(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    weight: torch.Tensor,
    bias: torch.Tensor,
    bent: torch.Tensor | None,
    clock: Clock | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the least loss, by L-BFGS from these, until the clock ends.

    bent: an upper triangle; in the coordinates ``bent @ weight`` the loss is about as steep in each direction.
    """

    def straight(free: torch.Tensor) -> torch.Tensor:
        return free if bent is None else torch.linalg.solve_triangular(bent, free, upper=True)

    # A smaller change of the loss is hardly worth a step: 1e-4 took up to 40 % less time than 1e-5, with the same
    # accuracy on four sets, but left logits 0.06 off. This lies between; it was not timed by itself.
    free, bias = least(
        lambda free, bias: loss(straight(free), bias),
        (weight if bent is None else bent @ weight, bias),
        evaluations=75,
        smallest_change=3e-5,
        smallest_gradient=1e-4,
        clock=clock,
    )
    return straight(free), bias


def fit_head(
    task: Task,
    features: np.ndarray,
    targets: np.ndarray,
    penalty: float,
    weights: np.ndarray | None = None,
    *,
    clock: Clock | None = None,
) -> LinearHead:
    """The head with the least loss of the task's kind: features ``[rows, width] float32``, targets ``[rows, …]``.

    penalty: as `choose_penalty` has it. weights ``[rows] float32``: what each row counts. clock: when descending ends.
    """
    if task.rules.squared:
        return _ridge_head(features, targets, penalty, weights)
    (head,) = _logistic_path(task, features, targets, [penalty], weights, clock)
    return head


def _ridge_head(features: np.ndarray, targets: np.ndarray, penalty: float, weights: np.ndarray | None) -> LinearHead:
    """Ridge regression of targets ``[rows, outputs] float32``; the penalty is relative, as `RIDGE_PENALTIES` are."""
    _, scale = standardization(features)
    rows, width = features.shape
    counts = np.ones(rows) if weights is None else weights.astype(np.float64)
    parts = [slice(start, start + _ROWS_AT_A_TIME) for start in range(0, rows, _ROWS_AT_A_TIME)]
    mean = np.sum([counts[part] @ features[part] for part in parts], 0) / counts.sum()
    offset = np.average(targets, axis=0, weights=counts)

    def weighted(part: slice) -> tuple[np.ndarray, np.ndarray]:
        roots = np.sqrt(counts[part])[:, None]  # a row that counts twice is there twice
        return (features[part] - mean) / scale * roots, (targets[part] - offset) * roots

    strength = penalty * rows
    if width <= rows:
        gram, wanted = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
        for part in parts:
            inputs, outputs = weighted(part)
            gram += inputs.T @ inputs
            wanted += inputs.T @ outputs
        solved = np.linalg.solve(gram + strength * np.eye(width), wanted)
    else:
        inputs, outputs = weighted(slice(None))
        solved = inputs.T @ np.linalg.solve(inputs @ inputs.T + strength * np.eye(rows), outputs)
    weight = solved / scale[:, None]
    return LinearHead(weight.astype(np.float32), (offset - mean @ weight).astype(np.float32))


def choose_penalty(
    task: Task,
    features: np.ndarray,
    targets: np.ndarray,
    seed: int,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    *,
    clock: Clock | None = None,
) -> float:
    """The penalty with the lowest loss on a fifth of the rows that the others are fitted without.

    On each fifth in turn where there are few rows, or few groups. Of ridge the one with the best score on rows that are
    left out one by one. groups ``[rows] int64``: whose rows stay together; new rows will come from other groups, which
    ask for stronger penalties than the other rows of the same do. clock: after which no weaker penalty is tried.
    """
    if task.rules.squared:
        ridge = ridge_leave_one_out(task, features, targets, groups)
        chose, every = len(ridge.predictions), np.arange(len(targets)) if groups is None else groups
        # as strong for all rows as for those that chose it: the more there are, or groups, the less it is beside them
        return ridge.penalty * len(np.unique(every[:chose])) / len(np.unique(every))
    order = np.arange(len(targets))
    parts = random_parts(len(order), FOLDS, seed, groups)
    folds = []
    # rows of a group say little more than one of them
    few = len(order) <= FOLDED if groups is None else len(order) <= GROUPED_ROWS and len(np.unique(groups)) <= FOLDED
    for outer in parts if few else parts[:1]:
        inner = np.setdiff1d(order, outer)
        counting = None if weights is None else weights[inner]
        folds.append((_logistic_path(task, features[inner], targets[inner], PENALTIES, counting, clock), outer))
    losses: list[float] = []
    best = 0
    while len(losses) < len(PENALTIES) and len(losses) - best <= _PATIENCE:
        if losses and clock is not None and clock.remaining <= 0:
            break
        losses.append(sum(_loss(task, next(path), features[outer], targets[outer]) for path, outer in folds))
        best = int(np.argmin(losses))
    return PENALTIES[best]


def choose_and_fit(
    task: Task,
    features: np.ndarray,
    targets: np.ndarray,
    seed: int,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    *,
    seconds: float = math.inf,
) -> tuple[float, LinearHead]:
    """The penalty that is best, and the head with it, of all rows. seconds: that there are for it and all else."""
    penalty = choose_penalty(task, features, targets, seed, weights, groups, clock=fitting_clock(seconds))
    return penalty, fit_head(task, features, targets, penalty, weights, clock=fitting_clock(seconds))


def fitting_clock(seconds: float) -> Clock:
    """For one of the two parts of fitting a head, choosing a penalty and descending with it; begins now."""
    return Clock(max(FITTING_SHARE * seconds, LEAST_FITTING))


def _loss(task: Task, head: LinearHead, features: np.ndarray, targets: np.ndarray) -> float:
    """Added up over rows."""
    logits = torch.from_numpy(head.logits(features))
    return len(targets) * float(task.rules.loss(logits, torch.from_numpy(targets)))


def log_shares(labels: np.ndarray, classes: int, weights: np.ndarray | None) -> np.ndarray:
    """``[classes] float32``: logarithms of the classes' shares of labels ``[rows] int64``, one row each at least.

    weights ``[rows] float32``: what each row counts, 1 in the mean.
    """
    rows = np.maximum(np.bincount(labels, weights, minlength=classes), 1)
    logarithms: np.ndarray = np.log(rows / rows.sum()).astype(np.float32)
    return logarithms


def balanced(head: LinearHead, labels: np.ndarray, balance: float, weights: np.ndarray | None) -> LinearHead:
    """A head that was fitted to `labels`, with so much of frequent classes' advantage taken off (Menon et al. 2021).

    balance: as `Task.balance` has it; with 0 the head is what it was, of whatever the labels are. weights: as in
    `log_shares`.
    """
    if not balance:
        return head
    return LinearHead(head.weight, head.bias - balance * log_shares(labels, len(head.bias), weights))
