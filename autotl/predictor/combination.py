"""From many models to one answer: which share each has, how sure the answer is, and how good it is on new rows.

All of it from the models' probabilities on the validation rows. Choices made on these rows look better there than they
are, so whatever is said about a choice comes from halves: it is made on one half and looked at on the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from autotl.predictor import metrics
from autotl.predictor.mixing import Combination, mixed, tempered

#: Picks of the greedy selection, with replacement (Caruana et al. 2004 find that weights settle within some 20).
PICKS = 25

#: A model with less of a share costs a pass for every prediction and changes next to none.
LEAST_SHARE = 0.08

#: Random halvings. Forty choices are enough for the mean of their optimism to be known to a fifth of a point.
HALVINGS = 20

#: Logarithms of the temperatures between which the best is looked for: eight times surer to eight times less sure.
_SUREST, _LEAST_SURE = -2.08, 2.08

#: Rows that tell one temperature from another.
_ENOUGH_ROWS = 2000

#: Probabilities below it count as this much in a log loss, so that one row does not decide it.
_SMALLEST = np.finfo(np.float32).eps


@dataclass(frozen=True)
class Decision:
    """What the answer is made of, and what is known of it.

    `score` is what new rows will show, as far as these rows can tell: the score of `probabilities` ``[rows, classes]``
    less the `optimism` of having chosen.
    """

    combination: Combination
    probabilities: np.ndarray
    score: float
    optimism: float
    single_score: float  #: of the best model alone, less the same
    lead: float  #: in log loss, of the best mixture over the best model, on rows that had no part in mixing
    error: float  #: standard error of the lead


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
    """The temperature with the least log loss on ``labels [rows] int64`` (Guo et al. 2017).

    weights ``[rows]``: what each row counts.
    """
    labels, probabilities, weights = labels[:_ENOUGH_ROWS], probabilities[:_ENOUGH_ROWS], weights[:_ENOUGH_ROWS]

    def loss(logarithm: float) -> float:
        return float(_log_losses(labels, tempered(probabilities, float(np.exp(logarithm)))) @ weights)

    low, high, golden = _SUREST, _LEAST_SURE, (5**0.5 - 1) / 2
    while high - low > 0.02:  # the loss has one minimum: it is convex in the inverse of the temperature
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return round(float(np.exp((low + high) / 2)), 4)


def decide(metric: str, labels: np.ndarray, each: np.ndarray, best: int, usable: np.ndarray) -> Decision:
    """The model `best` alone, or a mixture of those that are `usable` ``[models] bool``.

    labels ``[rows] int64``; each ``[models, rows, classes] float32``, of all models that were looked at. A mixture
    costs as many passes as it has members, so it must be better on rows that had no part in mixing: by a standard
    error in log loss, which tells near equals apart long before they differ in accuracy, and at least as good by the
    metric.
    """
    weights = metrics.row_weights(metric, labels)
    temperatures = np.array([fit_temperature(labels, probabilities, weights) for probabilities in each])
    calibrated = np.stack([tempered(p, float(t)) for p, t in zip(each, temperatures, strict=True)])
    members = np.flatnonzero(usable)
    chosen_by_others = _on_the_other_half(labels, calibrated[members], weights)
    gain = (_log_losses(labels, calibrated[best]) - _log_losses(labels, chosen_by_others)) * weights
    lead, error = float(gain.mean()), float(gain.std() / np.sqrt(len(labels)))
    single_score = metrics.score(metric, labels, calibrated[best])
    mix = lead > error and metrics.score(metric, labels, chosen_by_others) >= single_score

    def choose(rows: np.ndarray) -> np.ndarray:
        if mix:
            shares = np.zeros(len(each))
            shares[members] = greedy_shares(labels[rows], calibrated[members][:, rows], weights[rows])
            return shares
        scores = [metrics.score(metric, labels[rows], probabilities[rows]) for probabilities in calibrated]
        return _one(int(np.argmax(scores)), len(each))

    shares = choose(np.arange(len(labels))) if mix else _one(best, len(each))
    # how sure the mixture may be is read from rows that did not choose it
    final = fit_temperature(labels, chosen_by_others, weights) if mix else 1.0
    combination = Combination(shares, temperatures, final)
    probabilities = mixed(each, combination)
    optimism = _optimism(metric, labels, calibrated, choose)
    score = metrics.score(metric, labels, probabilities) - optimism
    return Decision(combination, probabilities, score, optimism, single_score - optimism, lead, error)


def greedy_shares(labels: np.ndarray, each: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shares ``[models]`` by adding, again and again, the model that lowers the mean's log loss most.

    weights ``[rows]``: what each row counts in it.
    The steps up to the lowest loss count; models with next to no share give it up.
    """
    right = each[:, np.arange(len(labels)), labels].astype(np.float64)  # all that log loss asks
    counts = np.zeros(len(each))
    total = np.zeros(len(labels))
    best_loss, best_counts = np.inf, counts
    for pick in range(1, PICKS + 1):
        losses = -np.log(np.maximum((total + right) / pick, _SMALLEST)) @ weights / len(labels)
        model = int(np.argmin(losses))
        total, counts = total + right[model], counts + np.eye(len(each))[model]
        if losses[model] < best_loss - 1e-9:
            best_loss, best_counts = losses[model], counts
    shares = best_counts / best_counts.sum()
    shares = np.where(shares < LEAST_SHARE, 0.0, shares)
    kept: np.ndarray = shares / shares.sum()
    return kept


def _halves(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers of random halves, every class in both as far as it can be; each pair also the other way round."""
    generator = np.random.default_rng(0)
    for _ in range(HALVINGS):
        order = generator.permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        yield order[::2], order[1::2]
        yield order[1::2], order[::2]


def _on_the_other_half(labels: np.ndarray, each: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over halvings of each row's mixture, chosen on the half without it: ``[rows, classes] float32``."""
    total = np.zeros(each.shape[1:], np.float64)
    for chosen_on, rows in _halves(labels):
        shares = greedy_shares(labels[chosen_on], each[:, chosen_on], weights[chosen_on])
        total[rows] += np.tensordot(shares, each[:, rows], 1)
    return (total / HALVINGS).astype(np.float32)


def _optimism(metric: str, labels: np.ndarray, each: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]) -> float:
    """How much better a choice looks on the rows that made it than on others.

    Halves are noisier than the whole by the root of two, and so is what luck adds on them.
    """
    if len(each) == 1:
        return 0.0
    differences = []
    for rows, others in _halves(labels):
        shares = choose(rows)
        seen, unseen = (np.tensordot(shares, each[:, part], 1).astype(np.float32) for part in (rows, others))
        try:
            differences.append(
                metrics.score(metric, labels[rows], seen) - metrics.score(metric, labels[others], unseen)
            )
        except (ZeroDivisionError, FloatingPointError):  # a half without one of the classes cannot be scored
            continue
    return max(float(np.mean(differences)) / np.sqrt(2.0), 0.0) if differences else 0.0


def _one(model: int, models: int) -> np.ndarray:
    shares: np.ndarray = np.eye(models)[model]
    return shares


def _log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    losses: np.ndarray = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _SMALLEST))
    return losses
