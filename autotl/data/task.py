"""The task: what is to be learned from which columns. Of what kind it is, and what follows, is in `autotl.kinds`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from autotl.data.columns import ColumnRole
from autotl.data.costs import Costs, read_costs
from autotl.data.tables import Table
from autotl.data.wording import did_you_mean, in_words, listed, option, shortened
from autotl.errors import TaskError
from autotl.kinds import KINDS, METRICS, TABLE
from autotl.kinds.classes import BALANCE
from autotl.kinds.elsewhere import has_positive_class
from autotl.kinds.kind import Kind, Scale
from autotl.plugins.contracts import Modality


class InputColumn(BaseModel):
    """A column that the model reads; what it reads of a row are its columns together (`data.joining`)."""

    model_config = ConfigDict(frozen=True)

    name: str
    modality: Modality  #: of the whole input: each half of a pair has that of the pair, and so with images


class Task(BaseModel):
    """What is to be learned. Travels in the bundle, so its fields are a file format."""

    model_config = ConfigDict(frozen=True)

    targets: tuple[str, ...]  #: columns
    kind: Literal["binary", "multiclass", "multilabel", "regression"]
    classes: tuple[str, ...] = ()  #: or labels, in natural order; a code is a position
    unlearned: tuple[str, ...] = ()  #: classes or labels that too few rows had, and no answer gives
    delimiter: str = ""  #: between the labels of a cell; empty where each has a column, or cells are lists
    scales: tuple[Scale, ...] = ()  #: of each number
    inputs: tuple[InputColumn, ...] = Field(min_length=1)  #: two for a pair; several texts are joined
    group: str = ""  #: column whose equal cells stay together; empty where there is none
    metric: str  #: that `rules.metric` knows
    costs: Costs = ()  #: of taking a row of each class, then of each unlearned, for each class; none: all cost alike

    @property
    def rules(self) -> Kind:
        """What follows from its kind."""
        return KINDS[self.kind]

    @property
    def target(self) -> str:
        """The target column, or all of them, for people."""
        return ", ".join(self.targets)

    @property
    def whole(self) -> Task:
        """The same with the unlearned classes or labels behind the others: what a table to score on may hold."""
        return self.model_copy(update={"classes": self.classes + self.unlearned, "unlearned": ()})

    @property
    def outputs(self) -> tuple[str, ...]:
        """What each number of an answer is for: a class, a label or a target."""
        return self.classes or self.targets

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
    def balance(self) -> float:
        """How much of their advantage frequent classes are to lose, from 0 to 1, where every class counts alike.

        Not where errors have costs: these are multiplied with probabilities, which have to be what they are.
        """
        return BALANCE.get(self.metric, 0.0) if self.rules.exclusive and not self.costs else 0.0

    @property
    def ranks_by(self) -> str:
        """The metric that backbones are ranked by, or nearly so."""
        return "balanced_accuracy" if self.balance else self.rules.ranks_by


@dataclass(frozen=True)
class Inference:
    """A task, and what a person should know of how it was found."""

    task: Task
    notes: tuple[str, ...]


def infer_task(
    table: Table,
    roles: Sequence[ColumnRole],
    *,
    metric: str | None = None,
    kind: str | None = None,
    costs: str | Path | None = None,
) -> Inference:
    """The task of a table whose columns have roles.

    kind: as in `Task.kind`, where a person says it; else the targets do, or a metric that only one kind has. `metric`
    None is that kind's own. costs: path of what errors cost, as `data.costs` reads it; the metric counts them, unless a
    person names another.

    Raises `TaskError` for targets of which nothing can be learned, a metric that is unknown or does not fit, or costs
    of what is no class, and `DataError` for too many missing targets, a cell that is none, too many classes with one
    row, or costs that cannot be read.
    """
    targets = [role.name for role in roles if role.role == "target"]
    rules = _rules(table, targets, metric, kind)
    if metric is not None and rules.metric(metric) is None:
        scorers = ", or a scorer of scikit-learn" if rules.exclusive or rules.squared else ""
        names = f"It can be {', '.join(rules.metrics)}{scorers or ','}, or that of a plugin."
        if metric in METRICS:
            raise TaskError(f"metric {metric!r} does not fit, as {table.name} is a {rules.names[0]} task. {names}")
        raise TaskError(f"metric {metric!r} is unknown.{did_you_mean(metric, rules.metrics)} {names}")
    if costs is not None and rules.cost_metric is None:
        raise TaskError(f"--costs says what wrong classes cost, and {table.name} is a {rules.names[0]} task")
    if costs is None and metric is not None and metric == rules.cost_metric:
        raise TaskError(f"metric {metric!r} counts what errors cost: say it with --costs FILE")
    metric = metric or (None if costs is None else rules.cost_metric)
    reading = rules.read_targets(table, targets, metric)
    if kind == "binary" != reading.kind:
        found = f"{listed(targets)} has {len(reading.classes)} classes: {listed(reading.classes)}"
        raise TaskError(f"{table.name}: --task binary asks for two classes, and {found}")
    task = Task(
        targets=tuple(targets),
        kind=reading.kind,  # type: ignore[arg-type]
        classes=reading.classes,
        unlearned=reading.unlearned,
        delimiter=reading.delimiter,
        scales=reading.scales,
        inputs=input_columns(roles),
        metric=metric or reading.metric,
        costs=() if costs is None else read_costs(costs, reading.classes, unlearned=reading.unlearned),
    )
    if not rules.can_score(task, task.metric, np.arange(len(task.classes))):
        raise TaskError(f"metric {task.metric!r} cannot score {rules.describe(task)}.{_of_many(task)}")
    notes = reading.notes
    if task.rules.exclusive and len(task.classes) == 2 and has_positive_class(task.rules.known_metric(task.metric)):
        notes += (
            f"{task.metric} asks about {shortened(task.classes[1])}, which comes last in order: where it should be "
            f"{shortened(task.classes[0])}, write 1 for it and 0 for the other",
        )
    return Inference(task, notes)


def _of_many(task: Task) -> str:
    """The way out where a metric of two classes has one for many."""
    name = f"{task.metric}_macro"
    return f" {option('--metric', name)} is the mean over classes" if task.rules.metric(name) else ""


def _rules(table: Table, targets: Sequence[str], metric: str | None, kind: str | None) -> Kind:
    """Those of the kind that is told, that the metric tells, or that the targets look like."""
    if kind is not None and kind not in KINDS:
        raise TaskError(f"task {kind!r} is unknown.{did_you_mean(kind, KINDS)} It can be {', '.join(KINDS)}.")
    if kind is not None:
        return KINDS[kind]
    owners = [rules for rules in TABLE if metric in rules.metrics]
    if metric is not None and not owners:
        owners = [rules for rules in TABLE if rules.metric(metric)]
    if len(owners) == 1 and not owners[0].exclusive:
        return owners[0]
    if table.of_class_folders:  # whatever their names are like
        return TABLE[-1]
    return next((rules for rules in TABLE if rules.recognises(table, targets)), TABLE[-1])


def input_columns(roles: Sequence[ColumnRole]) -> tuple[InputColumn, ...]:
    """The columns of the input, in its order."""
    found = [role for role in roles if role.role not in ("target", "ignore")]
    return tuple(
        InputColumn.model_validate({"name": role.name, "modality": role.role})
        for role in sorted(found, key=lambda role: role.place)
    )


def encode_targets(table: Table, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The targets of all rows, as `autotl.kinds.kind` has them, and ``[rows] bool`` which of them are known.

    They are those of `Task.whole`: `Kind.unlearned` says which rows have what is not learned. Raises `DataError` for a
    table without the targets, and naming the row for a cell that is none.
    """
    return task.rules.encode(table, task.whole)
