"""The task: what is to be learned from which column, with its refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from autotl.data.columns import ColumnRole
from autotl.data.labels import (
    balance_note,
    in_natural_order,
    is_dominated,
    label_of,
    look_like_quantities,
    name_classes,
    no_label,
    spelling_notes,
    without_fraction,
)
from autotl.data.tables import Table
from autotl.data.wording import counted, did_you_mean, in_words, listed, option, shortened
from autotl.errors import DataError, TaskError
from autotl.plugins.contracts import Modality

if TYPE_CHECKING:
    import numpy.typing as npt

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "neg_log_loss", "roc_auc")

#: Those to which every class counts alike.
BALANCED_METRICS = ("balanced_accuracy", "macro_f1")

#: More than this share without a label is more likely a wrong column or a bad join than a gap.
_MOST_UNLABELLED = 0.2


class InputColumn(BaseModel):
    """A column that the model reads; what it reads of a row are its columns together (`data.joining`)."""

    model_config = ConfigDict(frozen=True)

    name: str
    modality: Modality  #: of the whole input: each half of a pair has that of the pair


class Task(BaseModel):
    """What is to be learned. Travels in the bundle, so its fields are a file format."""

    model_config = ConfigDict(frozen=True)

    target: str
    kind: Literal["binary", "multiclass", "multilabel", "regression"]
    classes: tuple[str, ...]  #: in natural order; a label's code is its position
    inputs: tuple[InputColumn, ...] = Field(min_length=1)  #: two for a pair; several texts are joined into one
    metric: str  #: one of `METRICS`

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the input, in its order."""
        return tuple(column.name for column in self.inputs)

    @property
    def input_name(self) -> str:
        """The columns of the input in words, such as ``sentence1 and sentence2``."""
        return in_words(self.columns)

    @property
    def modality(self) -> Modality:
        return self.inputs[0].modality

    @property
    def balanced(self) -> bool:
        """Whether every class counts alike."""
        return self.metric in BALANCED_METRICS


@dataclass(frozen=True)
class Inference:
    """A task, and what a person should know of how it was found."""

    task: Task
    notes: tuple[str, ...]


def infer_task(table: Table, roles: Sequence[ColumnRole], *, metric: str | None = None) -> Inference:
    """The classification task of a table whose columns have roles.

    `metric` None is accuracy, or balanced accuracy where one class would decide what accuracy is.

    Raises `TaskError` for a target of quantities, a single class, or a metric that is unknown or does not
    fit, and `DataError` for too many missing labels, a cell that is no label, or a class with one row.
    """
    target = next(role.name for role in roles if role.role == "target")
    cells = table.column(target)
    labels = [label_of(cell) for cell in cells]
    notes = _unlabelled_notes(table, target, labels)
    if look_like_quantities(cells):
        raise TaskError(
            f"{table.name}: the target {target!r} holds numbers with {len(set(labels) - {None})} different values; "
            "that is regression, which comes in a later version. Choose another column with --target, or put the "
            "numbers into a few classes."
        )
    for row, cell in enumerate(cells):
        if wrong := no_label(cell):
            raise DataError(f"{table.describe_row(row)}: {target!r} {wrong}")
    names = name_classes(label for label in labels if label is not None)
    labels = [None if label is None else names[label] for label in labels]
    counts = Counter(label for label in labels if label is not None)
    _check_classes(table, target, labels, counts)
    _check_metric(metric, classes=len(counts))
    notes += spelling_notes(cells)
    dominated = metric is None and is_dominated(counts)
    if metric is None and (note := balance_note(counts, dominated=dominated)):
        notes.append(note)
    task = Task(
        target=target,
        kind="binary" if len(counts) == 2 else "multiclass",
        classes=tuple(in_natural_order(counts)),
        inputs=input_columns(roles),
        metric=metric or ("balanced_accuracy" if dominated else "accuracy"),
    )
    return Inference(task, tuple(notes))


def input_columns(roles: Sequence[ColumnRole]) -> tuple[InputColumn, ...]:
    """The columns of the input, in its order."""
    found = [role for role in roles if role.role not in ("target", "ignore")]
    return tuple(
        InputColumn.model_validate({"name": role.name, "modality": role.role})
        for role in sorted(found, key=lambda role: role.place)
    )


def encode_labels(table: Table, task: Task) -> npt.NDArray[np.int64]:
    """``[rows] int64``: the position of each row's label in `task.classes`, -1 where it is missing.

    Raises `DataError` for a table without the target, and naming the row for a label that is not a class.
    """
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
                f"{table.describe_row(row)}: {task.target!r} is {shortened(label)}, which is not one of the classes "
                f"({listed(task.classes)}).{did_you_mean(label, task.classes)}"
            )
        encoded[row] = code
    return encoded


def _compared(label: str) -> str:
    """A label as it is compared; classes of bundles may have been named when spaces counted."""
    return without_fraction(label_of(label) or label)


def _unlabelled_notes(table: Table, target: str, labels: Sequence[str | None]) -> list[str]:
    missing = [row for row, label in enumerate(labels) if label is None]
    if not missing:
        return []
    found = f"{len(missing)} of {table.rows} rows have no label in column {target!r}"
    if len(missing) > _MOST_UNLABELLED * table.rows:
        raise DataError(
            f"{table.describe_row(missing[0])}: no label; {found}, more than {_MOST_UNLABELLED:.0%}. "
            "Fill them in, remove the rows, or choose another column with --target"
        )
    return [f"left out: {found}, the first is {table.describe_row(missing[0])}"]


def _check_classes(table: Table, target: str, labels: Sequence[Any], counts: Counter[str]) -> None:
    if len(counts) == 1:
        raise TaskError(
            f"{table.name}: every row has the label {shortened(next(iter(counts)))} in column {target!r}. "
            "At least two classes are needed: add rows of another class, or choose another column with --target"
        )
    single = in_natural_order(label for label, count in counts.items() if count == 1)
    if not single:
        return
    which = f"class {shortened(single[0])} has only one row"
    if len(single) > 1:
        which = f"{counted(len(single), 'class', 'classes')} have only one row, such as {shortened(single[0])}"
    hint = f" If {target!r} is not the target, choose it with --target" if 2 * len(single) > len(counts) else ""
    raise DataError(
        f"{table.describe_row(labels.index(single[0]))}: {which}; learning and checking need at least two. "
        f"Add rows, or remove this one.{hint}"
    )


def _check_metric(metric: str | None, *, classes: int) -> None:
    if metric is None:
        return
    if metric not in METRICS:
        raise TaskError(f"metric {metric!r} is unknown.{did_you_mean(metric, METRICS)} It can be {', '.join(METRICS)}.")
    if metric == "roc_auc" and classes > 2:
        raise TaskError(
            f"metric 'roc_auc' is for two classes, here are {classes}. Use {option('--metric', 'balanced_accuracy')}"
        )
