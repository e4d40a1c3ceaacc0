"""Scores from labels and probabilities. Every score here is better when larger; log loss is negated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn import metrics as sk

_Score = Callable[[np.ndarray, np.ndarray], float]


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return -float(sk.log_loss(labels, probabilities.astype(np.float64), labels=np.arange(probabilities.shape[1])))


def _of_predictions(score: Callable[..., float], **options: object) -> _Score:
    return lambda labels, probabilities: float(score(labels, probabilities.argmax(1), **options))


METRICS: dict[str, _Score] = {
    "accuracy": _of_predictions(sk.accuracy_score),
    "balanced_accuracy": lambda labels, probabilities: float(
        np.mean([(probabilities.argmax(1)[labels == c] == c).mean() for c in np.unique(labels)])
    ),
    "macro_f1": _of_predictions(sk.f1_score, average="macro", zero_division=0.0),
    "log_loss": _log_loss,
    "roc_auc": lambda labels, probabilities: float(sk.roc_auc_score(labels, probabilities[:, 1])),
}

#: Bootstrap rounds: the standard error is known to 5 % then, and a round takes about a millisecond.
ROUNDS = 200


def score(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """labels ``[rows] int64``, probabilities ``[rows, classes] float32``; larger is better."""
    return METRICS[metric](labels, probabilities)


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
        n, hits, z = len(labels), float((probabilities.argmax(1) == labels).sum()), 1.96
        centre = (hits + z * z / 2) / (n + z * z)
        half = z / (n + z * z) * float(np.sqrt(hits * (n - hits) / n + z * z / 4))
        return centre - half, centre + half
    scores = [score(metric, labels[rows], probabilities[rows]) for rows in _resamples(labels)]
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)
