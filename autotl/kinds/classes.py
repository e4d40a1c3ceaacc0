"""One of several classes: a row has exactly one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from autotl.data.cells import are_numbers, have_decimal_commas, is_missing, may_be_thousands, with_point
from autotl.data.labels import (
    MOST_SINGLE,
    SMALLEST_CODE,
    are_codes,
    balance_note,
    in_natural_order,
    is_dominated,
    label_of,
    name_classes,
    no_label,
    spelling_notes,
    without_fraction,
)
from autotl.data.wording import counted, did_you_mean, listed, option, shortened
from autotl.errors import DataError, TaskError
from autotl.kinds.kind import Breakdown, Calibration, Kind, Reading, Scorer, area_under_roc, rounded
from autotl.kinds.missing import missing_notes
from autotl.kinds.rare import FEWEST_ROWS, can_be_spared

if TYPE_CHECKING:
    import torch

    from autotl.data.tables import Table
    from autotl.data.task import Task

#: How much of their advantage frequent classes are to lose for a metric, from 0 to 1, where all classes count alike.
#: Logistic heads on 27 simulated tables of 600 rows: macro-F1 was 0.034 more with a half than with 1, and 0.003 more
#: than with nothing.
BALANCE = {"balanced_accuracy": 1.0, "recall_macro": 1.0, "macro_f1": 0.5, "f1_macro": 0.5}

#: Different numbers from which on a person is told that they are taken for classes: marks are ten.
_MANY_NUMBERS = 10

#: Probabilities below it count as this much in a log loss, so that one row does not decide it.
_SMALLEST = float(np.finfo(np.float32).eps)


def _accuracy(labels: np.ndarray, taken: np.ndarray) -> float:
    return float((taken == labels).mean())


def _balanced_accuracy(labels: np.ndarray, taken: np.ndarray) -> float:
    """The mean recall of the classes that occur."""
    classes = int(max(labels.max(), taken.max())) + 1
    hits = np.bincount(labels, taken == labels, minlength=classes)
    rows = np.bincount(labels, minlength=classes)
    return float((hits[rows > 0] / rows[rows > 0]).mean())


def _macro_f1(labels: np.ndarray, taken: np.ndarray) -> float:
    """The mean F1 of the classes that occur or are predicted."""
    classes = int(max(labels.max(), taken.max())) + 1
    hits = np.bincount(labels[taken == labels], minlength=classes)
    named = np.bincount(labels, minlength=classes) + np.bincount(taken, minlength=classes)
    return float((2 * hits[named > 0] / named[named > 0]).mean())


def _mean_cost(labels: np.ndarray, taken: np.ndarray) -> float:
    """Less, where no costs were given: every error costs 1."""
    return -float((taken != labels).mean())


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.log(np.maximum(chosen, _SMALLEST)).mean())


def _roc_auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return area_under_roc(labels == 1, probabilities[:, 1])


class Classes(Kind):
    """Softmax and cross-entropy; accuracy, or balanced accuracy where one class would decide what accuracy is.

    A row is taken for its most probable class, or, where the task says what errors cost, for the class that costs least
    in expectation (Elkan 2001, "The foundations of cost-sensitive learning"): networks learn probabilities either way.
    """

    names = ("multiclass", "binary")
    activation = "softmax"
    dtype = np.int64
    exclusive = True
    ranks_by = "accuracy"
    cost_metric = "neg_mean_cost"
    module = "classes"
    metrics: ClassVar[Mapping[str, Scorer]] = {
        "accuracy": Scorer(_accuracy, of_decisions=True),
        "balanced_accuracy": Scorer(_balanced_accuracy, of_decisions=True),
        "macro_f1": Scorer(_macro_f1, of_decisions=True),
        "neg_log_loss": Scorer(_log_loss),
        "roc_auc": Scorer(_roc_auc),
        cost_metric: Scorer(_mean_cost, of_decisions=True),
    }

    def recognises(self, table: Table, columns: Sequence[str]) -> bool:
        return len(columns) == 1

    def read_targets(self, table: Table, columns: Sequence[str], metric: str | None) -> Reading:
        if len(columns) > 1:
            raise TaskError(
                f"{table.name}: {len(columns)} target columns, and a row has one class. Name one with --target, or say "
                f"what they are with {option('--task', 'multilabel')} or {option('--task', 'regression')}"
            )
        (target,) = columns
        cells = table.column(target)
        labels = [label_of(cell) for cell in cells]
        notes = missing_notes(table, [target], [label is None for label in labels])
        for row, cell in enumerate(cells):
            if wrong := no_label(cell):
                raise DataError(f"{table.describe_row(row)}: {target!r} {wrong}")
        names = name_classes(label for label in labels if label is not None)
        labels = [None if label is None else names[label] for label in labels]
        counts = Counter(label for label in labels if label is not None)
        rare = _rare_classes(table, target, labels, counts)
        if rare:
            notes.append(_rare_note(table, target, labels, rare))
        counts = Counter({label: count for label, count in counts.items() if label not in rare})
        if metric == "roc_auc" and len(counts) > 2:
            raise TaskError(
                f"metric 'roc_auc' is for two classes, here are {len(counts)}. "
                f"Use {option('--metric', 'balanced_accuracy')}"
            )
        notes += spelling_notes(cells)
        if have_decimal_commas(cells) and are_numbers([cell for cell in cells if not is_missing(cell)]):
            notes.append(
                f"{target!r} has numbers with a comma, each a class: {option('--task', 'regression')} takes them as "
                f"numbers, and {option('--task', 'multilabel')} for labels with commas between them"
            )
        numbers = {float(with_point(label)) for label in counts} if are_numbers(list(counts)) else set()
        alike = bool(counts) and min(counts.values()) * len(counts) >= SMALLEST_CODE * counts.total()
        if len(numbers) > _MANY_NUMBERS and not (alike and are_codes(numbers)):
            notes.append(
                f"{target!r} has {len(counts)} different numbers, each a class, and a neighbour of the right one is as "
                f"wrong as any; where they are quantities, say {option('--task', 'regression')}"
            )
        dominated = metric is None and is_dominated(counts)
        if metric is None and (note := balance_note(counts, dominated=dominated)):
            notes.append(note)
        return Reading(
            kind="binary" if len(counts) == 2 else "multiclass",
            metric="balanced_accuracy" if dominated else "accuracy",
            classes=tuple(in_natural_order(counts)),
            unlearned=tuple(rare),
            notes=tuple(notes),
        )

    def encode(self, table: Table, task: Task) -> tuple[np.ndarray, np.ndarray]:
        exact = {label: code for code, label in enumerate(task.classes)}
        codes = {_compared(label): code for label, code in exact.items()} | exact
        encoded = np.full(table.rows, -1, dtype=np.int64)
        for row, cell in enumerate(table.column(task.target)):
            label = label_of(cell)
            if label is None:
                continue
            code = codes.get(label, codes.get(_compared(label)))
            if code is None:
                raise DataError(
                    f"{table.describe_row(row)}: {task.target!r} is {shortened(label)}, which is not one of the "
                    f"classes ({listed(task.classes)}).{did_you_mean(label, task.classes)}"
                )
            encoded[row] = code
        return encoded, encoded >= 0

    def unlearned(self, task: Task, targets: np.ndarray) -> np.ndarray:
        beyond: np.ndarray = targets >= len(task.classes)
        return beyond

    def strata(self, targets: np.ndarray) -> np.ndarray:
        return targets

    def counts(self, task: Task, targets: np.ndarray) -> dict[str, int]:
        return dict(zip(task.classes, np.bincount(targets, minlength=len(task.classes)).tolist(), strict=True))

    def said(self, task: Task, target: Any) -> str:
        return task.classes[int(target)]

    def conflicts(self, targets: np.ndarray) -> np.ndarray:
        return targets

    def dense(self, targets: torch.Tensor, outputs: int) -> torch.Tensor:
        import torch

        return torch.nn.functional.one_hot(targets, outputs).float()

    def row_losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy; targets ``[batch] int64``, or shares of the classes ``[batch, outputs] float32``."""
        import torch

        return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

    def ranking(self, targets: np.ndarray, outputs: np.ndarray, balance: float = 0.0) -> float:
        """Accuracy; with a balance, of outputs without that much of the classes' shares, a row of few counting more.

        Without it nearly every backbone of a table of 95 to 5 had 0.95, by one answer for all.
        """
        counts = np.maximum(np.bincount(targets, minlength=outputs.shape[1]), 1.0)
        weights = counts[targets] ** -balance
        right = (np.maximum(outputs, 0.0) / counts**balance).argmax(1) == targets
        return float((weights * right).sum() / weights.sum())

    def guess(self, targets: np.ndarray, balance: float = 0.0) -> float:
        counts = np.bincount(targets)
        weights = counts[counts > 0] ** (1.0 - balance)
        return float(weights.max() / weights.sum())

    def constant(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        shares: np.ndarray = np.bincount(targets, minlength=outputs) / len(targets)
        return shares.astype(np.float32)

    def stakes(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        right: np.ndarray = answers[..., np.arange(len(targets)), targets]
        return right.astype(np.float64)

    def mistaken(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """The most probable of the other classes."""
        others = answers.copy()
        others[np.arange(len(targets)), targets] = -1.0
        likeliest: np.ndarray = others.argmax(1)
        return likeliest

    def losses_of(self, stakes: np.ndarray) -> np.ndarray:
        losses: np.ndarray = -np.log(np.maximum(stakes, _SMALLEST))
        return losses

    def row_weights(self, task: Task, targets: np.ndarray) -> np.ndarray:
        weights: np.ndarray = np.bincount(targets)[targets] ** -task.balance
        weights /= weights.mean()
        return weights

    def decide(self, task: Task, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        return _taken(task, answers)

    def score(self, task: Task, targets: np.ndarray, answers: np.ndarray, *, metric: str) -> float:
        if metric == self.cost_metric and task.costs:
            return -float(np.array(task.costs)[targets, answers].mean())
        return super().score(task, targets, answers, metric=metric)

    def can_score(self, task: Task, metric: str, targets: np.ndarray) -> bool:
        if metric == self.cost_metric:
            return bool(task.costs)
        if metric == "roc_auc":
            return len(task.classes) == 2 and set(targets.tolist()) == {0, 1}
        if metric in self.metrics:
            return True
        from autotl.kinds.elsewhere import takes

        if task.kind == "binary" and targets.max() > 1:  # a row of an unlearned class is a third one
            return False
        scorer = self.metric(metric)
        return scorer is not None and takes(scorer, np.unique(targets), len(task.classes))

    def calibrate(
        self, task: Task, targets: np.ndarray, answers: np.ndarray, groups: np.ndarray | None = None
    ) -> Calibration:
        return {}

    def decisions(self, task: Task, answers: np.ndarray, calibration: Calibration) -> np.ndarray:
        return _taken(task, answers)

    def told(self, task: Task, answers: np.ndarray, calibration: Calibration) -> np.ndarray:
        named: np.ndarray = np.array(task.classes, dtype=object)[_taken(task, answers)]
        return named

    def written(self, task: Task, answers: np.ndarray, calibration: Calibration) -> list[dict[str, Any]]:
        columns = self.columns(task)
        return [
            dict(zip(columns, [label, *row], strict=True))
            for label, row in zip(self.told(task, answers, calibration).tolist(), rounded(answers), strict=True)
        ]

    def columns(self, task: Task) -> list[str]:
        return ["prediction", *(f"probability_{name}" for name in task.classes)]

    def answered(self, task: Task, answers: np.ndarray, calibration: Calibration) -> list[dict[str, Any]]:
        return [
            {"prediction": label, "probabilities": dict(zip(task.classes, row, strict=True))}
            for label, row in zip(self.told(task, answers, calibration).tolist(), rounded(answers), strict=True)
        ]

    def portable(self, task: Task, calibration: Calibration) -> dict[str, Any]:
        return {"costs": task.costs[: len(task.classes)]} if task.costs else {}

    def in_torch(self, task: Task, outputs: str, calibration: Calibration) -> str:
        return f"{outputs}.softmax(1)"

    def breakdown(self, task: Task, targets: np.ndarray, decided: np.ndarray) -> Breakdown:
        counts = np.zeros((len(task.classes),) * 2, np.int64)
        np.add.at(counts, (targets, decided), 1)
        return Breakdown("confusion", "true \\ predicted", task.classes, task.classes, counts)

    def describe(self, task: Task) -> str:
        return f"{len(task.classes)} classes"


def _taken(task: Task, answers: np.ndarray) -> np.ndarray:
    """``[rows] int64``: the class that each row is taken for. answers ``[rows, classes] float32``."""
    if not task.costs:
        most: np.ndarray = answers.argmax(1)
        return most
    taken: np.ndarray = (answers @ np.array(task.costs[: answers.shape[1]])).argmin(1)
    return taken


def _compared(label: str) -> str:
    """A label as it is compared; classes of bundles may have been named when spaces counted.

    4,5 is 4.5 and TRUE is True, as it depends on the program that wrote a table; 1,000 may be a thousand.
    """
    label = label_of(label) or label
    if label.casefold() in ("true", "false"):
        return label.capitalize()
    return without_fraction(label if may_be_thousands([label]) else with_point(label))


def _rare_classes(table: Table, target: str, labels: Sequence[str | None], counts: Counter[str]) -> list[str]:
    """Classes of one row, in their order, where the task can go without them.

    Raises `TaskError` for a table of one class, and `DataError` naming the first of the rows where they are too many.
    """
    if len(counts) == 1:
        raise TaskError(
            f"{table.name}: every row has the label {shortened(next(iter(counts)))} in column {target!r}. "
            "At least two classes are needed: add rows of another class, or choose another column with --target"
        )
    single = in_natural_order(label for label, count in counts.items() if count < FEWEST_ROWS)
    numbers = are_numbers(list(counts))
    tailed = numbers and len(single) > MOST_SINGLE  # as quantities are
    if not tailed and can_be_spared(len(single), len(counts), alone=len(single), given=counts.total()):
        return single
    which, those = f"class {shortened(single[0])} has only one row", "this one"
    if len(single) > 1:
        those = "these"
        which = f"{counted(len(single), 'class', 'classes')} have only one row, such as {shortened(single[0])}"
    hint = ""
    if numbers:
        hint = f" If {target!r} holds quantities, say {option('--task', 'regression')}"
    elif 2 * len(single) > len(counts):
        hint = f" If {target!r} is not the target, choose it with --target"
    raise DataError(
        f"{table.describe_row(labels.index(single[0]))}: {which}; learning and checking need at least two. "
        f"Add rows, or remove {those}.{hint}"
    )


def _rare_note(table: Table, target: str, labels: Sequence[str | None], rare: Sequence[str]) -> str:
    """What a person should know of classes that a task goes without."""
    first = f"{table.describe_row(labels.index(rare[0]))} ({shortened(rare[0])})"
    those = f"1 row that is the only one of its class, {first}"
    if len(rare) > 1:
        those = f"{len(rare)} rows that are the only ones of their classes, such as {first}"
    hint = f". If {target!r} holds quantities, say {option('--task', 'regression')}" if are_numbers(rare) else ""
    return (
        f"set aside: {those}: learning and checking need two. In a table to test on, rows of such a class count as "
        f"errors{hint}"
    )
