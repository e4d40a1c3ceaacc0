"""Which model is the answer so far, and what it takes to replace it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autotl.data.groups import groups_among
from autotl.data.task import Task
from autotl.events import BAG_OF_WORDS_NUMBER, DEFAULT_TRIAL, is_head
from autotl.predictor import metrics

#: With fewer training rows fine-tuning is as likely to lose to the head that it starts from as to win (VTAB-1k: full
#: fine-tuning 69.0, tuning a few parameters 76.6; Jie and Deng 2022), so it has to show that it won.
ENOUGH_TO_FINE_TUNE = 1000


#: Standard errors of a difference that luck does not explain.
CLEARLY = 2.0


#: The same of what is looked at for every backbone, and turns something off; or `CLEARLY`, where less than such a share
#: is left of what a model has more than one answer for all: of arrows that point left or right, mirrored, nothing is.
FAR, HARDLY_ANY = 4.0, 0.5


@dataclass(frozen=True)
class Judged:
    """A model's answers on the validation rows ``[rows, outputs] float32``; `trial` is its number, be it a head's."""

    trial: int
    permille: int
    score: float
    valid: np.ndarray
    answers: np.ndarray

    @property
    def is_head(self) -> bool:
        return is_head(self.trial)

    @property
    def finished(self) -> bool:
        return self.permille >= 1000

    @property
    def hurried(self) -> bool:
        """Whether it is the first state of a head, which few of the rows judged: no part of what they all judged."""
        return self.is_head and not self.finished

    def on(self, rows: np.ndarray) -> Judged:
        """The same by these of its rows alone; what `score` says stays that of all."""
        return replace(self, valid=rows, answers=self.answers[np.searchsorted(self.valid, rows)])


class Incumbent:
    """Stays until it is beaten by more than the noise of the comparison.

    The published recipe (trial 0) only has to be as good as what stands, given `ENOUGH_TO_FINE_TUNE`; everyone else
    must lead by one standard error of the paired difference, because among many trials the luckiest looks best
    (Schneider et al. 2025). The best of several looks at one curve is luck too: a trial that is not at its end must
    lead clearly, and a later state of the same trial, which has seen more at a rate that cools down, must not be
    clearly worse. Among heads the favoured one must not be worse by a standard error: screening ranks it first by all
    training rows, of which there are more than of those that validate. With 75 and 25 rows of photographs, two draws,
    the first head held the place with 0.51 right of 800 test rows, where the favoured one has 0.57, and with 0.60 each.
    A head that was in a hurry, and judged by few rows, holds it against nobody who is no worse on these.
    """

    def __init__(self, task: Task, targets: np.ndarray, *, training_rows: int) -> None:
        """targets ``[table rows, …]``, indexed by `Judged.valid`."""
        self._task = task
        self._trusted = DEFAULT_TRIAL if training_rows >= ENOUGH_TO_FINE_TUNE else None
        self._targets = targets
        self.groups: np.ndarray | None = None  #: ``[table rows] int64``, where rows of one are alike
        self.held_by: Judged | None = None
        self.favoured: int | None = None  #: the number of the head on the backbone that screening ranks first

    def yields_to(self, challenger: Judged) -> bool:
        """Whether `challenger` should take its place."""
        holder = self.held_by
        if holder is None:
            return True
        lead, error = self.lead(challenger, holder)
        if challenger.trial == self._trusted != holder.trial:
            return lead >= 0.0
        if challenger.trial == holder.trial:
            return lead >= -CLEARLY * error
        on_a_backbone = holder.is_head and holder.trial != BAG_OF_WORDS_NUMBER
        if holder.hurried or (challenger.trial == self.favoured and on_a_backbone):
            return lead >= -error
        return lead > (error if challenger.finished else CLEARLY * error)

    def is_clearly_worse(self, one: Judged, other: Judged) -> bool:
        """Whether the first answers are worse than the others by far more than luck explains, or hardly worth more
        than one answer for all.
        """
        lead, error = self.lead(other, one)
        if lead > FAR * error:
            return True
        targets = self._targets[other.valid]
        same = self._task.rules.constant(targets, other.answers.shape[1])
        floor = metrics.score_if_any(self._task, targets, np.tile(same, (len(targets), 1)))
        return bool(np.isfinite(floor)) and lead > max(CLEARLY * error, HARDLY_ANY * (self.score(other) - floor))

    def lead(self, ours: Judged, theirs: Judged) -> tuple[float, float]:
        """Our score less theirs on the rows that judged both, and its standard error."""
        both, in_ours, in_theirs = np.intersect1d(ours.valid, theirs.valid, return_indices=True)
        answers = ours.answers[in_ours], theirs.answers[in_theirs]
        return metrics.advantage(self._task, self._targets[both], *answers, groups_among(self.groups, both))

    @property
    def noise(self) -> float:
        """The standard error of the score of the model that holds the place."""
        holder = self.held_by
        if holder is None:
            return 0.0
        groups = groups_among(self.groups, holder.valid)
        return metrics.standard_error(self._task, self._targets[holder.valid], holder.answers, groups)

    def score(self, judged: Judged) -> float:
        """Of its answers, by the task's metric."""
        return metrics.score(self._task, self._targets[judged.valid], judged.answers)
