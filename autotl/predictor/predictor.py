"""From a bundle to predictions, on any machine that has the family's package."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from autotl.data.inspection import groups_of, named_as, read_inputs
from autotl.data.tables import Table, plain_list, read_table, table_of
from autotl.data.task import Task, encode_targets
from autotl.errors import BundleError, DataError, TaskError
from autotl.kinds.kind import Breakdown
from autotl.kinds.mixing import activated, mixed
from autotl.plugins.contracts import PICTORIAL, Unreadable
from autotl.predictor.bundle import find_bundle, read_card
from autotl.predictor.display import as_html, described_score

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from autotl.features.precision import Precision
    from autotl.features.rows import Readers
    from autotl.plugins.contracts import InputEncoder
    from autotl.predictor.bundle import Member
    from autotl.training.model import Classifier

#: Rows encoded and predicted at a time: of texts enough to fill batches of like length, of pictures so few that memory
#: holds them for every member.
ROWS_AT_A_TIME, PICTURES_AT_A_TIME = 1024, 256

#: A class that pandas reads as a whole number, of 64 bits at most.
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_WHOLE_WITH_POINT = re.compile(r"(0|-?[1-9][0-9]{0,14})\.0")


@dataclass(frozen=True)
class Predictions:
    """`answers` ``[rows, outputs] float32`` in the table's order; NaN where `unreadable` has the row.

    Probabilities, or numbers as they were learned (`autotl.kinds`).
    """

    answers: np.ndarray
    unreadable: dict[int, str]


@dataclass(frozen=True)
class Evaluation:
    """Scores on labelled rows, and where the answers are right and where not."""

    metric: str
    score: float
    interval: tuple[float, float]  #: 95 %
    rows: int
    scores: dict[str, float]  #: every metric that fits the task
    breakdown: Breakdown
    unlearned: int  #: rows among `rows` with a class or label that the model was not taught
    left_out: int = 0  #: rows without a target, or that cannot be read
    notes: tuple[str, ...] = ()  #: what reading the table left out


#: What is predicted: a file, a folder of class folders or a DataFrame, whose target column may be missing; or inputs by
#: themselves, a list of texts or of paths of images, or where an input has several columns of tuples, or an array
#: ``[rows, columns]``, in the order of `Task.columns`. A table of Arrow counts as a DataFrame, and so does one of a
#: library that knows its protocol, such as polars.
Data: TypeAlias = "str | Path | pd.DataFrame | Iterable[str | Path | Sequence[str | None]]"


class Predictor:
    """A model that predicts: ``autotl.load("runs/flowers")``. A fitted estimator, as scikit-learn knows them."""

    def __init__(self, bundle: str | os.PathLike[str], *, device: str | None = None) -> None:
        """Reads the bundle of a run folder, or a bundle's own folder.

        device: of torch, such as ``"cpu"``; by default an accelerator where there is one. Raises `BundleError` when
        there is no bundle or it is torn, and `PluginError` when its family is not installed.
        """
        self._find(bundle, device)
        _ = self._models  # now, so that faults of them show here and the first answer is not the slow one

    def _find(self, bundle: str | os.PathLike[str], device: str | None = None) -> None:
        """All but its models, which are loaded at their first use then."""
        self.bundle, self.device = bundle, device
        self.folder = find_bundle(bundle).absolute()  # wherever the program works later
        self.card = read_card(self.folder)
        self._one_at_a_time = threading.RLock()

    def __fspath__(self) -> str:
        """Where it lies, for whatever takes a run or a bundle by its path."""
        return str(self.folder)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: where the bundle lies, whose models are loaded again where they are used first."""
        left_out = {"_models", "_device", "_readers", "_one_at_a_time"}
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _one_at_a_time=threading.RLock())

    @cached_property
    def _device(self) -> torch.device:
        import torch

        from autotl.features.device import best_device

        return torch.device(self.device) if self.device else best_device()

    @cached_property
    def _models(self) -> list[tuple[Classifier, InputEncoder]]:
        from autotl.features.layers import folded

        while True:
            try:
                models = [(model, encoder) for _, model, encoder in self.members()]
                break
            except BundleError:
                if not self._was_replaced():
                    raise
        for model, _ in models:
            model.backbone = folded(model.backbone)  # it only predicts
            self._precision.arrange(model.to(self._device).backbone)
        return models

    def _was_replaced(self) -> bool:
        """Whether a search has found a better answer meanwhile, which is known then."""
        with suppress(BundleError):
            before, self.card = self.card, read_card(self.folder)
            return before.weights != self.card.weights
        return False

    @cached_property
    def _readers(self) -> Readers:
        from autotl.features.rows import Readers

        return Readers(self.task.modality)

    @property
    def _precision(self) -> Precision:
        """fp32: one model on one pass has no time to find out what is fastest, and answers are the same everywhere.

        Channels last: ResNet-18 1.3 and MobileNetV2-1.0 1.6 times as fast on two cores, ViT and ConvNeXt as fast.
        """
        from autotl.features.precision import Precision

        return Precision(channels_last=self.task.modality in PICTORIAL)

    @property
    def task(self) -> Task:
        return self.card.task

    @property
    def classes_(self) -> np.ndarray:
        """The classes or labels ``[classes]``, in the order of `predict_proba`'s columns. Numbers have none.

        Classes that are all whole numbers are ``int64``, or ``float64`` where they are written as 1.0, and true and
        false are ``bool``, as pandas reads such a column; all others are strings, ``object``.
        """
        if not self.task.classes:
            raise AttributeError(f"a {self.task.kind} model has no classes")
        names = np.array(self.task.classes, dtype=object)
        if not self.task.rules.exclusive:
            return names
        if all(map(_WHOLE.fullmatch, names)):
            return names.astype(np.int64)
        if all(map(_WHOLE_WITH_POINT.fullmatch, names)):
            return names.astype(np.float64)
        if sorted(name.casefold() for name in names) == ["false", "true"]:
            return np.array([name.casefold() == "true" for name in names])
        return names

    def members(self) -> Iterator[tuple[Member, Classifier, InputEncoder]]:
        """Each model of the answer with its network, on the CPU and loaded anew, and how it reads inputs."""
        from autotl.features.bag_of_words import family_of
        from autotl.training.model import load_model

        for member in self.card.members:
            folder = self.folder / self.card.weights / member.folder
            model, encoder = load_model(family_of(member.family), folder)
            if model.head.out_features != len(self.task.outputs):
                answers = f"{model.head.out_features} answers for {len(self.task.outputs)} classes"
                raise BundleError(f"{folder}: the model has {answers}: its files are not of one bundle")
            yield member, model, encoder

    def predict(self, data: Data) -> np.ndarray:
        """What the model says of each row, in order.

        The most probable class ``[rows]``, as `classes_` has it; a tuple of its labels, ``object``; or numbers
        ``[rows] float64``, ``[rows, targets]`` for several. None, among ``object``, or NaN where a row cannot be read.
        """
        return self.told(self.predictions(self._table(data)))

    def predict_proba(self, data: Data) -> np.ndarray:
        """``[rows, classes] float32``, columns as `classes_`; NaN where a row cannot be read.

        Raises `TaskError` for a model of numbers.
        """
        if not self.task.classes:
            raise TaskError(
                f"a {self.task.kind} model has no probabilities: predict and predict_interval have its numbers"
            )
        return self.predictions(self._table(data)).answers

    def predict_interval(self, data: Data, coverage: float = 0.9) -> np.ndarray:
        """``[rows, targets, 2] float64``: between which a share `coverage` of new rows lies, NaN where unreadable.

        Split conformal intervals, by the rows that judged the model. Raises `TaskError` for a model of classes or
        labels, and for a coverage other than 0.5, 0.8, 0.9 and 0.95.
        """
        answers = self.predictions(self._table(data)).answers
        return self.task.rules.intervals(self.task, answers, self.card.calibration, coverage)

    def score(self, data: Data, labels: Iterable[Any] | None = None) -> float:
        """By the task's metric, higher is better; `evaluate` says more, and takes the same."""
        return self.evaluate(data, labels).score

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What it was made with, by the names of the constructor."""
        return {"bundle": self.bundle, "device": self.device}

    def fit(self, *data: Any, **more: Any) -> None:
        """Raises `TaskError`: it is fitted, and stays so. Scikit-learn takes nothing for an estimator that has none."""
        raise TaskError("this model is fitted already, and stays as it is: autotl.fit makes another")

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def told(self, predictions: Predictions) -> np.ndarray:
        """What `predict` makes of them."""
        answers, task = predictions.answers, self.task
        readable = ~np.isnan(answers[:, 0])
        told = task.rules.told(task, answers[readable], self.card.calibration)
        if task.rules.exclusive:
            values = dict(zip(task.classes, self.classes_, strict=True))
            told = np.array([values[name] for name in told], self.classes_.dtype)
        if readable.all():
            return told
        numbers = told.dtype == np.float64 and not task.rules.exclusive
        found = np.full((len(answers), *told.shape[1:]), np.nan if numbers else None, told.dtype if numbers else object)
        found[readable] = told
        return found

    def written(self, predictions: Predictions) -> list[dict[str, Any]]:
        """Each row's answer by column, as tables and JSON have it; None everywhere where a row cannot be read."""
        answers, task = predictions.answers, self.task
        readable = ~np.isnan(answers[:, 0])
        rows = iter(task.rules.written(task, answers[readable], self.card.calibration))
        columns = task.rules.columns(task)
        return [next(rows) if there else dict.fromkeys(columns) for there in readable.tolist()]

    def predictions(self, table: Table) -> Predictions:
        """Predicts every row, in order. Raises `DataError` when the table lacks the input or no row can be read."""
        ((_, predictions),) = self.in_parts([table])
        return predictions

    def in_parts(self, parts: Iterable[Table]) -> Iterator[tuple[Table, Predictions]]:
        """Each part of a table with its predictions. Raises as `predictions` does, before the first part."""
        unread: list[tuple[Table, Predictions]] = []
        readable = False
        for part in parts:
            unread.append((part, self.answers(read_inputs(part, self.task))))
            readable = readable or len(unread[-1][1].unreadable) < part.rows
            if readable:
                yield from unread
                unread = []
        if not readable:
            part, predictions = unread[0]
            first = min(predictions.unreadable)
            reason = predictions.unreadable[first]
            raise DataError(f"{part.describe_row(first)}: {reason}; no row of {part.name} can be read")

    def answers(self, cells: Sequence[Any]) -> Predictions:
        """Predicts inputs, in order: texts, paths of images, or tuples of either; None counts as unreadable.

        One thread predicts at a time, which uses all cores; others wait.
        """
        answers = np.full((len(cells), len(self.task.outputs)), np.nan, np.float32)
        unreadable: dict[int, str] = {}
        with self._one_at_a_time:
            at_a_time = PICTURES_AT_A_TIME if self.task.modality in PICTORIAL else ROWS_AT_A_TIME
            for start in range(0, len(cells), at_a_time):
                for index, row in self._predict(cells[start : start + at_a_time]):
                    if isinstance(row, Unreadable):
                        unreadable[start + index] = row.reason
                    else:
                        answers[start + index] = row
        return Predictions(answers, unreadable)

    def _predict(self, cells: Sequence[Any]) -> Iterator[tuple[int, np.ndarray | Unreadable]]:
        from autotl.features.precision import in_whole_fp32
        from autotl.features.rows import EncodedRows, identity
        from autotl.features.store import FeatureStore

        store = FeatureStore(None)
        shared: dict[str, EncodedRows] = {}
        each, readable = [], np.arange(len(cells))
        for model, encoder in self._models:
            rows = shared.setdefault(
                identity(encoder),
                EncodedRows(encoder, cells, modality=self.task.modality, store=store, readers=self._readers),
            )
            rows = rows if rows.encoder == encoder else rows.seen_by(encoder)
            readable = rows.readable(readable)
            answers = np.full((len(cells), len(self.task.outputs)), np.nan, np.float32)
            with in_whole_fp32(self._device):
                outputs = model.logits(rows, readable, self._precision, self._device)
            answers[readable] = activated(outputs, self.task.rules.activation)
            each.append(answers)
            yield from ((index, Unreadable(reason)) for index, reason in rows.unreadable.items())
        answers = mixed(np.stack(each)[:, readable], self.card.combination, self.task.rules.activation)
        yield from zip(readable.tolist(), answers, strict=True)

    def evaluate(self, data: Data, labels: Iterable[Any] | None = None) -> Evaluation:
        """Scores the model on labelled rows.

        labels: one a row, or a DataFrame with the target column or columns; by default those of `data` itself.

        A class that the model was not taught, as too few rows had it, is an error, and so is such a label. Raises
        `DataError` when no row has both a target and an input.
        """
        table, task = self._table(data, labelled=labels is None), self.task
        if labels is not None:
            table = table.labelled(task.targets, _given(labels, task.targets))
        targets, known = encode_targets(table, task)
        answers = self.predictions(table).answers
        usable = known & ~np.isnan(answers[:, 0])
        if not usable.any():
            raise DataError(f"{table.name}: no row has a label in {task.target!r}")
        left_out = int((~usable).sum())
        groups = groups_of(table, task, np.flatnonzero(usable))
        return replace(self.judged(targets[usable], answers[usable], groups), left_out=left_out, notes=table.notes)

    def judged(self, targets: np.ndarray, answers: np.ndarray, groups: np.ndarray | None = None) -> Evaluation:
        """Scores answers of this model ``[rows, outputs] float32`` by the targets of their rows, at least one.

        targets: as `autotl.kinds.kind` has them. groups ``[rows] int64``: rows of one are alike.
        """
        from autotl.predictor import metrics

        task = self.task
        decided = task.rules.decisions(task, answers, self.card.calibration)
        unlearned = int(task.rules.unlearned(task, targets).sum())
        if unlearned:  # no answer gives them
            answers, decided = (_with_nothing(given, len(task.unlearned)) for given in (answers, decided))
            task = task.whole
        else:
            targets = task.rules.learned(task, targets)
        fitting = [name for name in task.rules.metrics if task.rules.can_score(task, name, targets)]
        if not task.rules.can_score(task, task.metric, targets):
            task = task.model_copy(update={"metric": task.rules.ranks_by})
        return Evaluation(
            metric=task.metric,
            score=metrics.score(task, targets, answers, decided=decided),
            interval=metrics.interval(task, targets, answers, groups, decided=decided),
            rows=len(targets),
            scores={name: metrics.score(task, targets, answers, metric=name, decided=decided) for name in fitting},
            breakdown=task.rules.breakdown(task, targets, decided),
            unlearned=unlearned,
        )

    def _table(self, data: Data, *, labelled: bool = False) -> Table:
        if isinstance(data, str | Path) or hasattr(data, "columns"):
            return named_as(read_table(cast("str | Path | pd.DataFrame", data), labelled=labelled), self.task)
        return table_of(data, self.task.columns)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.card.describe()}: {described_score(self.card)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return as_html(self.card)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks before it scores an estimator."""
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        of_classes = bool(self.task.classes)
        return Tags(
            estimator_type="classifier" if of_classes else "regressor",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags() if of_classes else None,
            regressor_tags=None if of_classes else RegressorTags(),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
        )


def _with_nothing(given: np.ndarray, columns: int) -> np.ndarray:
    """``[rows, outputs + columns]``: with zeros behind what each output is given; decided classes ``[rows]`` stay."""
    return given if given.ndim == 1 else np.pad(given, ((0, 0), (0, columns)))


def _given(labels: Iterable[Any], targets: Sequence[str]) -> list[Any]:
    """A label a row, or a tuple of them for several targets; of a frame those in the columns of these names."""
    if not hasattr(labels, "columns"):
        return plain_list(labels)
    table = read_table(cast("pd.DataFrame", labels))
    columns = [table.column(target) for target in targets]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
