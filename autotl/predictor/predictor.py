"""From a bundle to predictions, on any machine that has the family's package."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.data.inspection import read_inputs
from autotl.data.tables import Table, read_table
from autotl.data.task import Task, encode_labels
from autotl.errors import BundleError, DataError
from autotl.plugins.contracts import Unreadable
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import find_bundle, read_card
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


class Predictor:
    """A model that predicts: ``autotl.load("runs/flowers")``.

    Takes what `fit` takes: a file, a folder of class folders, or a DataFrame; the target column may be missing.
    """

    def __init__(self, bundle: str | Path, *, device: str | None = None) -> None:
        """Reads the bundle of a run folder, or a bundle's own folder.

        device: of torch, such as ``"cpu"``; by default an accelerator where there is one. Raises `BundleError` when
        there is no bundle or it is torn, and `PluginError` when its family is not installed.
        """
        import torch

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

    def predict(self, data: str | Path | pd.DataFrame) -> np.ndarray:
        """The most probable class of each row ``[rows] object``; None where a row cannot be read."""
        return self.labels(self.predictions(read_table(data)))

    def predict_proba(self, data: str | Path | pd.DataFrame) -> np.ndarray:
        """``[rows, classes] float32``, columns as `classes_`; NaN where a row cannot be read."""
        return self.predictions(read_table(data)).probabilities

    def labels(self, predictions: Predictions) -> np.ndarray:
        """``[rows] object``: the classes that `predictions` favours."""
        readable = ~np.isnan(predictions.probabilities[:, 0])
        labels = np.full(len(readable), None, dtype=object)
        labels[readable] = self.classes_[predictions.probabilities[readable].argmax(1)]
        return labels

    def predictions(self, table: Table) -> Predictions:
        """Predicts every row, in order. Raises `DataError` when the table lacks the input or no row can be read."""
        cells = read_inputs(table, self.task)
        probabilities = np.full((len(cells), len(self.task.classes)), np.nan, np.float32)
        unreadable: dict[int, str] = {}
        for start in range(0, len(cells), ROWS_AT_A_TIME):
            for index, row in self._predict(cells[start : start + ROWS_AT_A_TIME]):
                if isinstance(row, Unreadable):
                    unreadable[start + index] = row.reason
                else:
                    probabilities[start + index] = row
        if cells and len(unreadable) == len(cells):
            first = min(unreadable)
            raise DataError(f"{table.describe_row(first)}: {unreadable[first]}; no row of {table.name} can be read")
        return Predictions(probabilities, unreadable)

    def _predict(self, cells: list[Any]) -> Iterator[tuple[int, np.ndarray | Unreadable]]:
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

    def evaluate(self, data: str | Path | pd.DataFrame) -> Evaluation:
        """Scores the model on labelled rows. Raises `DataError` when no row has both a label and an input."""
        from autotl.predictor import metrics

        table = read_table(data)
        labels = encode_labels(table, self.task)
        probabilities = self.predictions(table).probabilities
        usable = (labels >= 0) & ~np.isnan(probabilities[:, 0])
        if not usable.any():
            raise DataError(f"{table.name}: no row has a label in {self.task.target!r}")
        truth, answers = labels[usable], probabilities[usable]
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
