"""Metrics that come from elsewhere: from plugins, and from scikit-learn by the names of its scorers.

Ours are written out, since scikit-learn takes a second and a half to import; it is imported for a name of its own only.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from autotl.kinds.kind import Kind, Scorer
from autotl.plugins.manager import plugins


def from_elsewhere(name: str, rules: Kind) -> Scorer | None:
    """The metric of a plugin for this kind of task, or the scorer of scikit-learn; None where nobody has that name.

    Scorers are had for classes and for numbers; one of numbers would take the places of classes for such.
    """
    for brought in plugins().metrics:
        if brought.name == name and set(brought.kinds) & set(rules.names):
            return Scorer(brought.score, brought.of_decisions)
    if not (rules.exclusive or rules.squared) or name not in _scorers():
        return None
    if rules.exclusive and _of_scikit_learn(name, numbers=True):
        return None
    return _of_scikit_learn(name, numbers=rules.squared)


def takes(scorer: Scorer, codes: np.ndarray, outputs: int) -> bool:
    """Whether a metric from elsewhere scores rows of these classes, ``[rows] int64``, of so many that answers are for.

    Scorers of two classes refuse a third, and some want each class to occur.
    """
    answers = codes if scorer.of_decisions else np.eye(outputs)[codes]
    try:
        scorer.score(codes, answers)
    except Exception:  # a foreign plugin's metric may fail in any way, and says no by it
        return False
    return True


def has_positive_class(scorer: Scorer) -> bool:
    """Whether a metric of two classes is another one when these are exchanged, as precision and recall are."""
    codes, chances = np.array([0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.7, 0.3])
    answers = (chances > 0.5).astype(np.int64) if scorer.of_decisions else np.stack([1 - chances, chances], 1)
    others = 1 - answers if scorer.of_decisions else answers[:, ::-1]
    with suppress(Exception):  # a foreign plugin's metric may fail in any way, and is asked about no such rows
        return not math.isclose(scorer.score(codes, answers), scorer.score(1 - codes, others))
    return False


@functools.cache
def _scorers() -> Sequence[str]:
    """Names of scikit-learn's scorers; none where it is not installed."""
    try:
        from sklearn.metrics import get_scorer_names
    except ImportError:
        return ()
    names: list[str] = get_scorer_names()
    return names


@functools.cache
def _of_scikit_learn(name: str, *, numbers: bool) -> Scorer | None:
    """None where it does not score such a task, which is tried on answers to four rows."""
    from sklearn.metrics import get_scorer

    scorer = get_scorer(name)

    def score(targets: np.ndarray, answers: np.ndarray) -> float:
        truth = targets[:, 0] if numbers and targets.shape[1] == 1 else targets
        return float(scorer(_said(answers, numbers=numbers), np.arange(len(targets)), truth))

    trial = np.array([[0.1], [0.4], [0.5], [0.9]])
    cases = [(trial, False)] if numbers else [(np.array([0, 1, 1, 0]), True), (np.hstack([trial, 1 - trial]), False)]
    for answers, of_decisions in cases:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # which is all that scorers of clusters say to numbers
                score(trial if numbers else np.array([0, 1, 0, 1]), answers)
        except (ValueError, AttributeError, IndexError, TypeError, UserWarning):
            continue
        return Scorer(score, of_decisions)
    return None


def _said(answers: np.ndarray, *, numbers: bool) -> Any:
    """What a scorer takes for a fitted model: it gives what is known of the rows that it is asked for."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    mixin = RegressorMixin if numbers else ClassifierMixin

    class Said(mixin, BaseEstimator):  # type: ignore[misc, valid-type]
        """Fitted, as it has an attribute that ends like one."""

        classes_ = (
            None if numbers else np.arange(answers.shape[1] if answers.ndim > 1 else max(int(answers.max()) + 1, 2))
        )

        def predict(self, rows: np.ndarray) -> np.ndarray:
            if not numbers and answers.ndim > 1 and answers.dtype.kind == "f":
                raise AttributeError("there are probabilities")
            said: np.ndarray = answers[rows, 0] if numbers and answers.shape[1] == 1 else answers[rows]
            return said

        def predict_proba(self, rows: np.ndarray) -> np.ndarray:
            if answers.ndim == 1:
                raise AttributeError("there are decisions")
            given: np.ndarray = answers[rows]
            return given

    return Said()
