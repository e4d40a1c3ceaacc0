"""Scores from labels and probabilities. Every score here is better when larger; log loss is negated.

Written out in numpy: the library that has them takes a second and a half to import, twice in every search.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autotl.data.task import BALANCED_METRICS

_Score = Callable[[np.ndarray, np.ndarray], float]

#: Bootstrap rounds: the standard error is known to 5 % then.
ROUNDS = 200


def _accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(1) == labels).mean())


def _balanced_accuracy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean recall of the classes that occur."""
    hits = np.bincount(labels, probabilities.argmax(1) == labels, minlength=probabilities.shape[1])
    rows = np.bincount(labels, minlength=probabilities.shape[1])
    return float((hits[rows > 0] / rows[rows > 0]).mean())


def _macro_f1(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean F1 of the classes that occur or are predicted."""
    predicted, classes = probabilities.argmax(1), probabilities.shape[1]
    hits = np.bincount(labels[predicted == labels], minlength=classes)
    named = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    return float((2 * hits[named > 0] / named[named > 0]).mean())


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.log(np.maximum(chosen, np.finfo(np.float32).eps)).mean())


def _roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The chance that a row of class 1 gets more than one of class 0 (Mann and Whitney 1947)."""
    _, inverse, counts = np.unique(probabilities[:, 1], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # equal values share their mean rank
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


METRICS: dict[str, _Score] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "neg_log_loss": _log_loss,
    "roc_auc": _roc_auc,
}


def score(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """labels ``[rows] int64``, probabilities ``[rows, classes] float32``; larger is better."""
    return METRICS[metric](labels, probabilities)


def row_weights(metric: str, labels: np.ndarray) -> np.ndarray:
    """``[rows] float64`` with a mean of 1: what a row counts in a log loss that goes with the metric."""
    if metric not in BALANCED_METRICS:
        return np.ones(len(labels))
    rows = np.bincount(labels)
    weights: np.ndarray = (len(labels) / ((rows > 0).sum() * rows.clip(min=1)))[labels]
    return weights


def _resamples(labels: np.ndarray) -> np.ndarray:
    """``[ROUNDS, rows]`` indices drawn within each class, so that no round lacks one. Always the same."""
    generator = np.random.default_rng(0)
    rows = np.empty((ROUNDS, len(labels)), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rows[:, members] = generator.choice(members, (ROUNDS, len(members)))
    return rows


def standard_error(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Bootstrap standard error of a score."""
    return float(np.std([score(metric, labels[rows], probabilities[rows]) for rows in _resamples(labels)]))


def advantage(metric: str, labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Score of `ours` minus that of `theirs`, and the paired bootstrap standard error of that difference."""
    difference = score(metric, labels, ours) - score(metric, labels, theirs)
    rounds = [
        score(metric, labels[rows], ours[rows]) - score(metric, labels[rows], theirs[rows])
        for rows in _resamples(labels)
    ]
    return difference, float(np.std(rounds))


def interval(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """95 % interval of a score: Wilson's for accuracy, the bootstrap's for others."""
    if metric == "accuracy":
        return wilson(int((probabilities.argmax(1) == labels).sum()), len(labels))
    scores = [score(metric, labels[rows], probabilities[rows]) for rows in _resamples(labels)]
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    z = 1.96
    centre = (hits + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * (hits * (count - hits) / count + z * z / 4) ** 0.5
    return centre - half, centre + half
