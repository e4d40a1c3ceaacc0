"""What a kind of task decides: how targets are read, what is learned, how answers are judged, and how they are told.

Everything that differs between kinds is here and in the modules beside it. Nobody asks a kind's name; others ask
whether a row has one class (`exclusive`) or the loss is squared.

Arrays: *targets* are what a table says, ``[rows] int64`` codes where a row has exactly one class, and
``[rows, outputs] float32`` otherwise. *Answers* are what a model says, ``[rows, outputs] float32``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from autotl.errors import TaskError

if TYPE_CHECKING:
    import torch

    from autotl.data.tables import Table
    from autotl.data.task import Task

#: What has been learned of an answer's use from the rows that judged it, as JSON: thresholds, widths of intervals.
Calibration = Mapping[str, Sequence[Sequence[float]]]

#: Bins of a quantity, where rows have to be told apart roughly: so that each side of a split has all sizes.
BINS = 10


class Scale(BaseModel):
    """How a number is learned: less the mean, over the deviation, of itself or of its logarithm."""

    model_config = ConfigDict(frozen=True)

    mean: float
    deviation: float
    log: bool = False
    comma: bool = False  #: whether the training table wrote it with a decimal comma
    unit: str = ""  #: that the training table wrote at each
    thousands: bool = False  #: whether it had commas between thousands

    def rounded(self, numbers: np.ndarray) -> np.ndarray:
        """To a millionth of how far apart they usually lie, ``float64``; of logarithms to six digits."""
        if self.log:
            return np.array([float(f"{number:.6g}") for number in numbers.ravel()]).reshape(numbers.shape)
        return np.round(numbers, 6 - math.floor(math.log10(self.deviation)))


@dataclass(frozen=True)
class Scorer:
    """How a metric is computed, of targets and answers or what is decided by these; larger is better."""

    score: Callable[[np.ndarray, np.ndarray], float]
    of_decisions: bool = False


@dataclass(frozen=True)
class Reading:
    """What a kind makes of the target columns of a training table."""

    kind: str  #: the name that the task gets
    metric: str  #: the default
    classes: tuple[str, ...] = ()  #: or labels
    unlearned: tuple[str, ...] = ()  #: classes or labels that too few rows have
    delimiter: str = ""  #: between the labels of a cell
    scales: tuple[Scale, ...] = ()  #: of each number
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Breakdown:
    """Where an answer is right and where not, as a table: `values` ``[rows, columns]``."""

    name: str
    corner: str  #: what rows and columns are
    rows: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray


class Kind(ABC):
    """One row of the table of kinds. All that touches torch imports it late."""

    names: tuple[str, ...]  #: of tasks of this kind
    activation: Literal["softmax", "sigmoid", "identity"]  #: from a network's outputs to answers
    dtype: type[np.generic]  #: of targets
    exclusive: bool  #: whether each row has exactly one of the classes
    squared: bool = False  #: whether the loss is a squared error
    ranks_by: str  #: the metric that `ranking` is
    cost_metric: str | None = None  #: that counts what errors cost; None where a person cannot say it
    module: str  #: of `autotl.report`, which shows what is wrong, and of what exports take along, which tells answers
    metrics: ClassVar[Mapping[str, Scorer]]  #: by name

    # ---------------------------------------------------------------- the table

    @abstractmethod
    def recognises(self, table: Table, columns: Sequence[str]) -> bool:
        """Whether target columns look as this kind's do."""

    @abstractmethod
    def read_targets(self, table: Table, columns: Sequence[str], metric: str | None) -> Reading:
        """What is to be learned from the target columns of a training table.

        Raises `TaskError` for what this kind cannot learn, and `DataError` for cells that are no targets.
        """

    @abstractmethod
    def encode(self, table: Table, task: Task) -> tuple[np.ndarray, np.ndarray]:
        """Targets, and ``[rows] bool`` which of them are known. Raises `DataError` naming a row that has another."""

    def unlearned(self, task: Task, targets: np.ndarray) -> np.ndarray:
        """``[rows] bool``: which have a class or label that the task does not learn. targets: of `Task.whole`."""
        return np.zeros(len(targets), dtype=bool)

    def learned(self, task: Task, targets: np.ndarray) -> np.ndarray:
        """Targets of the task itself. targets: of `Task.whole`; where rows have one class, it is a learned one."""
        return targets

    @abstractmethod
    def strata(self, targets: np.ndarray) -> np.ndarray:
        """``[rows] int64``: a code that is equal for rows whose targets are alike, of which each side needs some."""

    def shared_out(self, targets: np.ndarray) -> np.ndarray:
        """What each side of a split gets its share of, as `data.splits.holdout` takes it."""
        return self.strata(targets)

    @abstractmethod
    def counts(self, task: Task, targets: np.ndarray) -> dict[str, int]:
        """How many rows have what, in words."""

    @abstractmethod
    def said(self, task: Task, target: Any) -> str:
        """One row's target in words."""

    @abstractmethod
    def conflicts(self, targets: np.ndarray) -> np.ndarray | None:
        """``[rows] int64``: equal for rows that agree, by which rows of equal content contradict each other.

        None where they never do: people who measure or rate differ, and their mean is what there is to learn.
        """

    # ---------------------------------------------------------------- learning

    @abstractmethod
    def dense(self, targets: torch.Tensor, outputs: int) -> torch.Tensor:
        """``[batch, outputs] float32`` of targets, as `loss` takes them and regularizers may mix them."""

    @abstractmethod
    def row_losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """``[batch] float32``: what is minimized, of outputs ``[batch, outputs] float32`` and targets."""

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """The mean of `row_losses`, a scalar. weights ``[batch] float32``: what each row counts."""
        losses = self.row_losses(outputs, targets)
        return losses.mean() if weights is None else (losses * weights).mean()

    @abstractmethod
    def ranking(self, targets: np.ndarray, outputs: np.ndarray, balance: float = 0.0) -> float:
        """How well outputs of a ridge head order or hit the targets, 1 at best: what backbones are ranked by.

        balance: as `Task.balance` has it.
        """

    @abstractmethod
    def guess(self, targets: np.ndarray, balance: float = 0.0) -> float:
        """What `ranking` gives to answers that know nothing of a row."""

    @abstractmethod
    def constant(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        """``[outputs] float32``: the best answer that is the same for all rows."""

    # ---------------------------------------------------------------- judging

    @abstractmethod
    def stakes(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """``[…, rows, …]``: all that a loss asks of answers ``[…, rows, outputs]``, linear: a mean's are the mean."""

    @abstractmethod
    def losses_of(self, stakes: np.ndarray) -> np.ndarray:
        """``[…, rows]``: the loss of each row. What mixtures and temperatures are chosen by."""

    def mistaken(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Targets by which each row's answer would be the likeliest mistake; the same where nothing is decided."""
        return targets

    def losses(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """``[rows]``: the loss of each row's answer."""
        return self.losses_of(self.stakes(targets, answers))

    def row_weights(self, task: Task, targets: np.ndarray) -> np.ndarray:
        """``[rows] float64`` with a mean of 1: what a row counts in a loss that goes with the metric."""
        return np.ones(len(targets))

    @abstractmethod
    def decide(self, task: Task, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """What is decided by answers whose targets are known, each without the help of its own."""

    def metric(self, name: str) -> Scorer | None:
        """One of `metrics`, of a plugin, or of scikit-learn's scorers; None where there is none for this kind."""
        from autotl.kinds.elsewhere import from_elsewhere

        return self.metrics.get(name) or from_elsewhere(name, self)

    def known_metric(self, name: str) -> Scorer:
        """Raises `TaskError` where it is not to be had here, such as that of a plugin that is not installed."""
        if (found := self.metric(name)) is None:
            raise TaskError(f"metric {name!r} is not to be had here: install the plugin, or scikit-learn, that has it")
        return found

    def score(self, task: Task, targets: np.ndarray, answers: np.ndarray, *, metric: str) -> float:
        """By a metric that `metric` knows; larger is better. answers: or decisions, where it asks these."""
        return self.known_metric(metric).score(targets, answers)

    def can_score(self, task: Task, metric: str, targets: np.ndarray) -> bool:
        """Whether such targets can be scored by a metric."""
        return True

    @abstractmethod
    def calibrate(
        self, task: Task, targets: np.ndarray, answers: np.ndarray, groups: np.ndarray | None = None
    ) -> Calibration:
        """What can be learned of the use of these answers from the rows that judged them. groups: as in a split."""

    # ---------------------------------------------------------------- telling

    @abstractmethod
    def decisions(self, task: Task, answers: np.ndarray, calibration: Calibration) -> np.ndarray:
        """What is decided by answers, as metrics take it."""

    @abstractmethod
    def told(self, task: Task, answers: np.ndarray, calibration: Calibration) -> np.ndarray:
        """``[rows] object``: what `predict` says of each row; also ``[rows, targets] float64`` for several numbers."""

    @abstractmethod
    def written(self, task: Task, answers: np.ndarray, calibration: Calibration) -> list[dict[str, Any]]:
        """Each row's answer by column, as tables and JSON have it; the first is ``prediction``."""

    def intervals(self, task: Task, answers: np.ndarray, calibration: Calibration, coverage: float) -> np.ndarray:
        """``[rows, outputs, 2] float64``: between which the share `coverage` of new rows should lie.

        Raises `TaskError` for a share that nothing was kept for, and where answers are no numbers.
        """
        raise TaskError(f"a {task.kind} model has no intervals: its probabilities say how sure it is")

    @abstractmethod
    def columns(self, task: Task) -> list[str]:
        """Of `written`."""

    @abstractmethod
    def answered(self, task: Task, answers: np.ndarray, calibration: Calibration) -> list[dict[str, Any]]:
        """Each row's answer as a service gives it: ``prediction``, and ``probabilities`` or ``intervals``."""

    @abstractmethod
    def portable(self, task: Task, calibration: Calibration) -> dict[str, Any]:
        """What an export needs to tell answers by itself, as JSON."""

    @abstractmethod
    def in_torch(self, task: Task, outputs: str, calibration: Calibration) -> str:
        """The expression of torch that makes answers ``[rows, columns]`` of a network's `outputs`: for a README."""

    @abstractmethod
    def breakdown(self, task: Task, targets: np.ndarray, decided: np.ndarray) -> Breakdown:
        """Where decisions are right."""

    @abstractmethod
    def describe(self, task: Task) -> str:
        """What is asked, such as ``5 classes``."""


def rounded(answers: np.ndarray) -> list[list[float]]:
    """Probabilities as they are written: six places say all that float32 knows."""
    return [[round(value, 6) for value in row] for row in answers.tolist()]


def in_halves(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows ``[half] int64``, and the others, from which something is learned for them; both halves. Always the same."""
    order = np.random.default_rng(0).permutation(count)
    yield order[::2], order[1::2]
    yield order[1::2], order[::2]


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """``[rows]``, from 1 upwards; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def area_under_roc(truth: np.ndarray, answers: np.ndarray) -> float:
    """The chance that a row which is so gets more than one which is not (Mann and Whitney 1947); NaN for rows of one.

    truth ``[rows] bool``, answers ``[rows]``.
    """
    ranks = mean_ranks(answers)
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
