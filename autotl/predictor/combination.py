"""From many models to one answer: which share each has, how sure the answer is, and how good it is on new rows.

All of it from the models' answers to the validation rows. Choices made on these rows look better there than they
are, so whatever is said about a choice comes from halves: it is made on one half and looked at on the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from autotl.data.groups import members_of, several
from autotl.data.task import Task
from autotl.kinds.mixing import Combination, mixed, tempered
from autotl.predictor import metrics

#: Picks of the greedy selection, with replacement (Caruana et al. 2004 find that weights settle within some 20).
PICKS = 25

#: A model with less of a share costs a pass for every prediction and changes next to none.
LEAST_SHARE = 0.08

#: Few rows cannot tell which models are the best, and a mean of all good ones is a safe choice: fewer rows than this
#: are believed in proportion. With 25 and 30 rows, eight searches of small tables (two draws of 20 a class of trec6 and
#: of flowers), the choice of these rows had 0.85, 0.90, 0.89, 0.82, 0.82 and 0.63, 0.63, 0.61 right of the test rows,
#: the answer so made 0.85, 0.90, 0.89, 0.88, 0.89 and 0.63, 0.64, 0.66; with 290 rows both are the same.
ROWS_TO_BELIEVE = 300

#: How many models such a mean has at most. A model that is behind the best by so many standard errors is no good one;
#: one whose answers differ by less than this from another's is the same, as a head and the trial that fits it again.
MOST_IN_A_MEAN, FAR_BEHIND, ALIKE = 6, 2.0, 1e-3

#: Of the halvings, for the optimism of a choice that is only told of: every model is scored on each.
_FEW_HALVES = 10

#: Random halvings. Forty choices are enough for the mean of their optimism to be known to a fifth of a point.
HALVINGS = 20

#: Logarithms of the temperatures between which the best is looked for: eight times surer to eight times less sure.
_SUREST, _LEAST_SURE = -2.08, 2.08

#: Mistakes that rows without one are imagined to have (Platt 1999): the sharpest answers would always be the best for
#: them, and 40 rows that were all right with 0.8 made 0.99998 of it.
DOUBT = 0.5

#: Rows that tell one temperature from another, and as many of them at least where there are so many classes that their
#: answers have more numbers than this: every model's temperature is fitted again whenever another one is judged.
_ENOUGH_ROWS, _FEWEST_ROWS, _ENOUGH_NUMBERS = 2000, 500, 200_000


@dataclass(frozen=True)
class Decision:
    """What the answer is made of, and what is known of it.

    `score` is what new rows will show, as far as these rows can tell: the score of `answers` ``[rows, outputs]`` less
    the `optimism` of having chosen.
    """

    combination: Combination
    answers: np.ndarray
    score: float
    optimism: float
    single_score: float  #: of the best model alone, less what choosing that one added
    lead: float  #: in loss, of the best mixture over the best model, on rows that had no part in mixing
    error: float  #: standard error of the lead

    def less(self, optimism: float) -> Decision:
        """The same with so much more taken off, for a choice that was made before."""
        return replace(
            self,
            score=self.score - optimism,
            single_score=self.single_score - optimism,
            optimism=self.optimism + optimism,
        )


def fit_temperature(task: Task, targets: np.ndarray, answers: np.ndarray) -> float:
    """The temperature with the least loss on these targets (Guo et al. 2017); 1 for numbers, which have none.

    As if a share of the rows, `DOUBT` of them in all, were the likeliest mistakes.
    """
    rules = task.rules
    if rules.squared:
        return 1.0
    enough = min(_ENOUGH_ROWS, max(_FEWEST_ROWS, _ENOUGH_NUMBERS // answers.shape[1]))
    if len(targets) > enough:  # from everywhere: a folder of class folders is read one class after the other
        rows = np.linspace(0, len(targets) - 1, enough).astype(np.int64)
        targets, answers = targets[rows], answers[rows]
    weights, mistaken = rules.row_weights(task, targets), rules.mistaken(targets, answers)
    doubt = DOUBT / (len(targets) + 2 * DOUBT)

    def loss(logarithm: float) -> float:
        said = tempered(answers, float(np.exp(logarithm)), rules.activation)
        losses = (1 - doubt) * rules.losses(targets, said) + doubt * rules.losses(mistaken, said)
        return float(losses @ weights)

    low, high, golden = _SUREST, _LEAST_SURE, (5**0.5 - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > 0.02:  # the loss has one minimum: it is convex in the inverse of the temperature
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - golden * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + golden * (high - low)
            at_right = loss(right)
    return round(float(np.exp((low + high) / 2)), 4)


def decide(
    task: Task,
    targets: np.ndarray,
    each: np.ndarray,
    best: int,
    usable: np.ndarray,
    groups: np.ndarray | None = None,
) -> Decision:
    """The model `best` alone, or a mixture of those that are `usable` ``[models] bool``.

    targets of the rows; each ``[models, rows, outputs] float32``, of all models that were looked at; groups as
    `metrics.standard_error` has them. A mixture costs as many passes as it has members, so it must be better on rows
    that had no part in mixing: in loss, which tells near equals apart long before they differ in accuracy, and by the
    metric not behind by a standard error. No more, as the single model was chosen by these very rows and looks better
    than it is, and the mixture was not. Where rows are few, it only must not be far behind the single model, which is
    the luckiest of all.

    Simulated, 500 rows to choose by, five models of four classes, 30 times each, right of 6000 new rows: equals with 60
    and 85 % of their noise in common 0.9774 and 0.9661 by this, 0.9755 and 0.9617 where a standard error in loss and
    the same metric were asked for, as it was before; skills that differ by a tenth 0.9809 and 0.9777, before 0.9797 and
    0.9763; one far better than the others 0.9806 and 0.9786, before 0.9790 and 0.9785. Always mixing is as good.
    """
    rules, weights = task.rules, task.rules.row_weights(task, targets)
    apart = len(targets) if groups is None else len(np.unique(groups))
    # where ten rows of a class weigh as much as 500 of another, they are as few as some forty (Kish 1965)
    apart = apart * weights.sum() ** 2 / (len(weights) * (weights**2).sum())
    trust = min(apart / ROWS_TO_BELIEVE, 1.0)
    temperatures = np.array([fit_temperature(task, targets, answers) for answers in each])
    calibrated = np.stack([tempered(a, float(t), rules.activation) for a, t in zip(each, temperatures, strict=True)])
    stakes = rules.stakes(targets, calibrated)  # all that a mixture is chosen by
    members = np.flatnonzero(usable)

    def shares_by(rows: np.ndarray, members: np.ndarray = members) -> np.ndarray:
        shares = np.zeros(len(each))
        together = None if groups is None else groups[rows]
        shares[members] = shares_of(task, stakes[members][:, rows], weights[rows], trust, together)
        return shares

    halves = _halves(task, targets, groups)
    by_half = [shares_by(rows) for rows, _ in halves]
    chosen_by_others = _on_the_other_half(halves, calibrated, by_half)
    gain = (rules.losses_of(stakes[best]) - rules.losses(targets, chosen_by_others)) * weights
    lead, error = float(gain.mean()), float(metrics.error_of_mean(gain, groups))
    single_score = metrics.score(task, targets, calibrated[best])
    behind, mix = FAR_BEHIND * (1 - trust), False
    if lead > -behind * error:
        noise = metrics.standard_error(task, targets, calibrated[best], groups)
        mix = metrics.score(task, targets, chosen_by_others) - single_score >= -max(behind, 1.0) * noise

    def ranked(rows: np.ndarray) -> np.ndarray:
        scores = [metrics.score_if_any(task, targets[rows], answers[rows]) for answers in calibrated]
        return np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")

    def alone(rows: np.ndarray) -> np.ndarray:
        return _one(int(ranked(rows)[0]), len(each))

    def choices() -> Iterable[np.ndarray]:
        """As if each half alone had decided, also which models are usable: those that did best on it were kept."""
        if mix and usable.all():
            return by_half
        return (shares_by(rows, ranked(rows)[: len(members)]) if mix else alone(rows) for rows, _ in halves)

    shares = shares_by(np.arange(len(targets))) if mix else _one(best, len(each))
    # how sure the mixture may be is read from rows that did not choose it
    final = fit_temperature(task, targets, chosen_by_others) if mix else 1.0
    combination = Combination(shares, temperatures, final)
    answers = mixed(each, combination, rules.activation)
    optimism = _optimism(task, targets, halves, calibrated, choices())
    score = metrics.score(task, targets, answers) - optimism
    if mix:  # the best one alone was chosen in another way, and looks better than it is by more
        few = halves[:_FEW_HALVES]
        single_score -= _optimism(task, targets, few, calibrated, (alone(rows) for rows, _ in few))
    else:
        single_score -= optimism
    return Decision(combination, answers, score, optimism, single_score, lead, error)


def shares_of(
    task: Task, stakes: np.ndarray, weights: np.ndarray, trust: float, groups: np.ndarray | None
) -> np.ndarray:
    """Shares ``[models]``: `greedy_shares` as far as the rows are to be trusted, and else alike for all good models.

    trust: from 0 to 1. Models with next to no share give it up. stakes, weights as in `greedy_shares`.
    """
    losses = task.rules.losses_of(stakes) * weights
    behind = losses - losses[int(np.argmin(losses.mean(1)))]
    good = behind.mean(1) <= FAR_BEHIND * metrics.error_of_mean(behind, groups)
    among: list[int] = []
    for model in np.argsort(losses.mean(1), kind="stable"):
        if good[model] and all(np.abs(stakes[model] - stakes[other]).max() > ALIKE for other in among):
            among.append(int(model))
    mean = np.isin(np.arange(len(stakes)), among[:MOST_IN_A_MEAN]) / min(len(among), MOST_IN_A_MEAN)
    return _worth_a_model(trust * greedy_shares(task, stakes, weights) + (1 - trust) * mean)


def greedy_shares(task: Task, stakes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shares ``[models]`` by adding, again and again, the model that lowers the loss of the mean most.

    stakes ``[models, rows, …]``: of the answers, by the task's kind. weights ``[rows]``: what each row counts.
    The steps up to the lowest loss count; models with next to no share give it up.
    """
    counts = np.zeros(len(stakes))
    total = np.zeros(stakes.shape[1:])
    best_loss, best_counts = np.inf, counts
    for pick in range(1, PICKS + 1):
        losses = task.rules.losses_of((total + stakes) / pick) @ weights / len(weights)
        model = int(np.argmin(losses))
        total, counts = total + stakes[model], counts + np.eye(len(stakes))[model]
        if losses[model] < best_loss - 1e-9:
            best_loss, best_counts = losses[model], counts
    return _worth_a_model(best_counts / best_counts.sum())


def _worth_a_model(shares: np.ndarray) -> np.ndarray:
    """Shares ``[models]`` without the least; of many models that are alike in worth all may have less than that."""
    shares = np.where(shares < min(LEAST_SHARE, shares.max()), 0.0, shares)
    kept: np.ndarray = shares / shares.sum()
    return kept


def _halves(task: Task, targets: np.ndarray, groups: np.ndarray | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers of random halves, every class in both as far as it can be; each pair also the other way round.

    Groups are divided by none. With one group alone nothing can be chosen apart from it, so rows are.
    """
    generator, strata = np.random.default_rng(0), task.rules.strata(targets)
    members = None if (groups := several(groups)) is None else members_of(groups)
    if members is not None:
        strata = strata[[rows[0] for rows in members]]
    found = []
    for _ in range(HALVINGS):
        order = generator.permutation(len(strata))
        order = order[np.argsort(strata[order], kind="stable")]
        one, other = order[::2], order[1::2]
        if members is not None:
            one, other = (np.concatenate([members[place] for place in half]) for half in (one, other))
        found += [(one, other), (other, one)]
    return found


def _on_the_other_half(
    halves: Iterable[tuple[np.ndarray, np.ndarray]], each: np.ndarray, shares: Iterable[np.ndarray]
) -> np.ndarray:
    """Mean over halvings of each row's mixture, chosen on the half without it: ``[rows, outputs] float32``.

    shares ``[models]``: that the first half of each pair has chosen.
    """
    total = np.zeros(each.shape[1:], np.float64)
    for (_, rows), chosen in zip(halves, shares, strict=True):
        total[rows] += _mixture(chosen, each, rows)
    return (total / HALVINGS).astype(np.float32)


def _optimism(
    task: Task,
    targets: np.ndarray,
    halves: Iterable[tuple[np.ndarray, np.ndarray]],
    each: np.ndarray,
    choices: Iterable[np.ndarray],
) -> float:
    """How much better a choice looks on the rows that made it than on others.

    choices: shares ``[models]`` that the first half of each pair has chosen.
    Halves are noisier than the whole by the root of two, and so is what luck adds on them.
    """
    if len(each) == 1:
        return 0.0
    differences = []
    for (rows, others), shares in zip(halves, choices, strict=True):
        seen, unseen = (_mixture(shares, each, part).astype(np.float32) for part in (rows, others))
        differences.append(
            metrics.score_if_any(task, targets[rows], seen) - metrics.score_if_any(task, targets[others], unseen)
        )
    scored = np.array(differences)[np.isfinite(differences)]
    return max(float(scored.mean()) / np.sqrt(2.0), 0.0) if len(scored) else 0.0


def _mixture(shares: np.ndarray, each: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``[rows, outputs]`` by the models that have a share, few of many."""
    first, *others = np.flatnonzero(shares).tolist()
    mixture: np.ndarray = each[first][rows]
    mixture *= each.dtype.type(shares[first])
    for model in others:  # as one product of matrices it was half of what a decision among 77 classes took
        mixture += each.dtype.type(shares[model]) * each[model][rows]
    return mixture


def _one(model: int, models: int) -> np.ndarray:
    shares: np.ndarray = np.eye(models)[model]
    return shares
