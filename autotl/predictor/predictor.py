"""From a bundle to predictions, on any machine that has the family's package."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from autotl.data.inspection import read_inputs
from autotl.data.tables import Table, read_table, table_of
from autotl.data.task import Task, encode_labels
from autotl.errors import BundleError, DataError
from autotl.plugins.contracts import Unreadable
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import find_bundle, read_card
from autotl.predictor.display import as_html, described_score
from autotl.predictor.mixing import Combination, mixed, softmax

if TYPE_CHECKING:
    import pandas as pd

    from autotl.plugins.contracts import InputEncoder
    from autotl.predictor.bundle import Member
    from autotl.training.model import Classifier

#: Rows encoded and predicted at a time: enough to fill batches of like length, little enough to hold in memory.
ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Predictions:
    """`probabilities` ``[rows, classes] float32`` in the table's order; NaN where `unreadable` has the row."""

    probabilities: np.ndarray
    unreadable: dict[int, str]


@dataclass(frozen=True)
class Evaluation:
    """Scores on labelled rows; `confusion` ``[true, predicted] int64`` over `classes`."""

    metric: str
    score: float
    interval: tuple[float, float]  #: 95 %
    rows: int
    scores: dict[str, float]  #: every metric that fits the task
    classes: tuple[str, ...]
    confusion: np.ndarray
    left_out: int  #: rows without a label, or that cannot be read


#: What is predicted: a file, a folder of class folders or a DataFrame, whose target column may be missing; or inputs by
#: themselves, a list of texts or of paths of images, or of tuples where an input has several columns.
Data: TypeAlias = "str | Path | pd.DataFrame | Iterable[str | Path | Sequence[str | None]]"


class Predictor:
    """A model that predicts: ``autotl.load("runs/flowers")``. A fitted classifier, as scikit-learn knows them."""

    def __init__(self, bundle: str | Path, *, device: str | None = None) -> None:
        """Reads the bundle of a run folder, or a bundle's own folder.

        device: of torch, such as ``"cpu"``; by default an accelerator where there is one. Raises `BundleError` when
        there is no bundle or it is torn, and `PluginError` when its family is not installed.
        """
        import torch

        self.bundle, self.device = bundle, device
        self.folder = find_bundle(bundle)
        self.card = read_card(self.folder)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._models = [(model.to(self._device), encoder) for _, model, encoder in self.members()]

    @property
    def task(self) -> Task:
        return self.card.task

    @property
    def classes_(self) -> np.ndarray:
        """The classes ``[classes]``, in the order of `predict_proba`'s columns."""
        return np.array(self.task.classes, dtype=object)

    def members(self) -> Iterator[tuple[Member, Classifier, InputEncoder]]:
        """Each model of the answer with its network, on the CPU and loaded anew, and how it reads inputs."""
        from autotl.training.model import load_model

        for member in self.card.members:
            folder = self.folder / self.card.weights / member.folder
            model, encoder = load_model(plugins().family(member.family), folder)
            if model.head.out_features != len(self.task.classes):
                answers = f"{model.head.out_features} answers for {len(self.task.classes)} classes"
                raise BundleError(f"{folder}: the model has {answers}: its files are not of one bundle")
            yield member, model, encoder

    def predict(self, data: Data) -> np.ndarray:
        """The most probable class of each row ``[rows] object``; None where a row cannot be read."""
        return self.labels(self.predictions(self._table(data)))

    def predict_proba(self, data: Data) -> np.ndarray:
        """``[rows, classes] float32``, columns as `classes_`; NaN where a row cannot be read."""
        return self.predictions(self._table(data)).probabilities

    def score(self, data: Data, labels: Iterable[Any] | None = None) -> float:
        """By the task's metric, higher is better; `evaluate` says more, and takes the same."""
        return self.evaluate(data, labels).score

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What it was made with, by the names of the constructor."""
        return {"bundle": self.bundle, "device": self.device}

    def labels(self, predictions: Predictions) -> np.ndarray:
        """``[rows] object``: the classes that `predictions` favours."""
        readable = ~np.isnan(predictions.probabilities[:, 0])
        labels = np.full(len(readable), None, dtype=object)
        labels[readable] = self.classes_[predictions.probabilities[readable].argmax(1)]
        return labels

    def predictions(self, table: Table) -> Predictions:
        """Predicts every row, in order. Raises `DataError` when the table lacks the input or no row can be read."""
        predictions = self.answers(read_inputs(table, self.task))
        if len(predictions.unreadable) == table.rows:
            first = min(predictions.unreadable)
            reason = predictions.unreadable[first]
            raise DataError(f"{table.describe_row(first)}: {reason}; no row of {table.name} can be read")
        return predictions

    def answers(self, cells: Sequence[Any]) -> Predictions:
        """Predicts inputs, in order: texts, pairs of them, or paths of images; None counts as unreadable.

        Not for two threads.
        """
        probabilities = np.full((len(cells), len(self.task.classes)), np.nan, np.float32)
        unreadable: dict[int, str] = {}
        for start in range(0, len(cells), ROWS_AT_A_TIME):
            for index, row in self._predict(cells[start : start + ROWS_AT_A_TIME]):
                if isinstance(row, Unreadable):
                    unreadable[start + index] = row.reason
                else:
                    probabilities[start + index] = row
        return Predictions(probabilities, unreadable)

    def _predict(self, cells: Sequence[Any]) -> Iterator[tuple[int, np.ndarray | Unreadable]]:
        from autotl.features.rows import EncodedRows
        from autotl.features.speed import Precision
        from autotl.features.store import FeatureStore

        store = FeatureStore(None)
        shared: dict[str, EncodedRows] = {}
        each, readable = [], np.arange(len(cells))
        for model, encoder in self._models:
            rows = shared.setdefault(
                encoder.fingerprint, EncodedRows(encoder, cells, modality=self.task.modality, store=store)
            )
            rows = rows if rows.encoder == encoder else rows.seen_by(encoder)
            readable = rows.readable(readable)
            # fp32: one model on one pass has no time to find out what is fastest, and predictions stay comparable;
            # channels last: ResNet-18 1.3 and MobileNetV2-1.0 1.6 times as fast on two cores, ViT and ConvNeXt as fast
            precision = Precision(channels_last=self.task.modality == "image")
            precision.arrange(model.backbone)
            answers = np.full((len(cells), len(self.task.classes)), np.nan, np.float32)
            answers[readable] = softmax(model.logits(rows, readable, precision, self._device))
            each.append(answers)
            yield from ((index, Unreadable(reason)) for index, reason in rows.unreadable.items())
        members = self.card.members
        combination = Combination(
            np.array([member.share for member in members]),
            np.array([member.temperature for member in members]),
            self.card.temperature,
        )
        yield from zip(readable.tolist(), mixed(np.stack(each)[:, readable], combination), strict=True)

    def evaluate(self, data: Data, labels: Iterable[Any] | None = None) -> Evaluation:
        """Scores the model on labelled rows. labels: one a row, by default those of the target column.

        Raises `DataError` when no row has both a label and an input.
        """
        from autotl.predictor import metrics

        table = self._table(data)
        if labels is not None:
            table = table.labelled(self.task.target, list(labels))
        codes = encode_labels(table, self.task)
        probabilities = self.predictions(table).probabilities
        usable = (codes >= 0) & ~np.isnan(probabilities[:, 0])
        if not usable.any():
            raise DataError(f"{table.name}: no row has a label in {self.task.target!r}")
        truth, answers = codes[usable], probabilities[usable]
        fitting = [name for name in metrics.METRICS if name != "roc_auc" or set(truth.tolist()) == {0, 1}]
        confusion = np.zeros((len(self.task.classes),) * 2, np.int64)
        np.add.at(confusion, (truth, answers.argmax(1)), 1)
        metric = self.task.metric if self.task.metric in fitting else "accuracy"
        return Evaluation(
            metric=metric,
            score=metrics.score(metric, truth, answers),
            interval=metrics.interval(metric, truth, answers),
            rows=int(usable.sum()),
            scores={name: metrics.score(name, truth, answers) for name in fitting},
            classes=self.task.classes,
            confusion=confusion,
            left_out=int((~usable).sum()),
        )

    def _table(self, data: Data) -> Table:
        if isinstance(data, str | os.PathLike) or hasattr(data, "columns"):
            return read_table(cast("str | Path | pd.DataFrame", data))
        return table_of(data, self.task.columns)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.card.describe()}: {described_score(self.card)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return as_html(self.card)

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks before it scores a classifier."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
        )
