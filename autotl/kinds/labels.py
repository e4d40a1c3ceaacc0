"""Any of several labels: a row has none, one or more of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from autotl.data.labels import in_natural_order
from autotl.data.wording import counted, did_you_mean, listed, shortened
from autotl.errors import DataError, TaskError
from autotl.kinds.kind import Breakdown, Calibration, Kind, Reading, Scorer, area_under_roc, in_halves, rounded
from autotl.kinds.label_cells import (
    DELIMITERS,
    are_mostly_flags,
    empty_notes,
    find_delimiter,
    is_list,
    labels_of,
    most_used_delimiter,
    rare_note,
    refuse_rare,
    refuse_vectors,
    split,
    with_lists,
    with_zeros,
    without_words_for_missing,
)
from autotl.kinds.rare import FEWEST_ROWS, can_be_spared

if TYPE_CHECKING:
    import torch

    from autotl.data.tables import Table
    from autotl.data.task import Task

#: Rows with a label below which they do not say from where on it is given: one row that ranks last of 30 would have all
#: rows get it.
FEWEST_TO_DECIDE = 5

#: Probabilities further from 0 and 1 than this count as they are in a log loss.
_SMALLEST = float(np.finfo(np.float32).eps)


def _true_positives(targets: np.ndarray, decided: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``[labels]``: rows that have a label and get it; twice those, and all that are missed or wrong besides."""
    truth = targets > 0.5
    hits = (truth & decided).sum(0)
    return hits, truth.sum(0) + decided.sum(0)


def _macro_f1(targets: np.ndarray, decided: np.ndarray) -> float:
    """The mean F1 of the labels that occur or are given."""
    hits, named = _true_positives(targets, decided)
    return float((2 * hits[named > 0] / named[named > 0]).mean()) if (named > 0).any() else 0.0


def _micro_f1(targets: np.ndarray, decided: np.ndarray) -> float:
    """F1 of all labels' decisions taken together."""
    hits, named = _true_positives(targets, decided)
    return float(2 * hits.sum() / max(int(named.sum()), 1))


def _exact_match(targets: np.ndarray, decided: np.ndarray) -> float:
    """The share of rows whose labels are all right."""
    return float(((targets > 0.5) == decided).all(1).mean())


def _average_precision(targets: np.ndarray, answers: np.ndarray) -> float:
    """The mean over labels that occur of the mean precision at each row that has it; rows that tie come together."""
    order = np.argsort(-answers, axis=0, kind="stable")
    hits, ordered = (np.take_along_axis(values, order, 0) for values in (targets > 0.5, answers))
    precision = np.cumsum(hits, 0) / np.arange(1, len(hits) + 1)[:, None]
    # of a tie the precision is that of its last row
    last = np.where(np.diff(ordered, axis=0, append=np.nan) != 0, np.arange(len(hits))[:, None], len(hits) - 1)
    precision = np.take_along_axis(precision, np.minimum.accumulate(last[::-1], 0)[::-1], 0)
    rows = hits.sum(0)
    if not rows.any():
        return 0.0
    return float(((precision * hits).sum(0)[rows > 0] / rows[rows > 0]).mean())


def _roc_auc(targets: np.ndarray, answers: np.ndarray) -> float:
    """The mean over labels of the chance that a row which has it gets more than one which has not."""
    truth = targets > 0.5
    both = [label for label in range(truth.shape[1]) if 0 < truth[:, label].sum() < len(truth)]
    return float(np.mean([area_under_roc(truth[:, label], answers[:, label]) for label in both])) if both else 0.5


def _log_loss(targets: np.ndarray, answers: np.ndarray) -> float:
    given = np.where(targets > 0.5, answers, 1 - answers).astype(np.float64)
    return float(np.log(np.maximum(given, _SMALLEST)).mean())


class Labels(Kind):
    """A sigmoid and a binary cross-entropy for each label; mean average precision, which asks for no thresholds.

    Thresholds are chosen at the end, by the rows that judged; a metric that needed them would choose models by numbers
    that these rows have flattered.
    """

    names = ("multilabel",)
    activation = "sigmoid"
    dtype = np.float32
    exclusive = False
    ranks_by = "mean_average_precision"
    module = "labels"
    metrics: ClassVar[Mapping[str, Scorer]] = {
        "mean_average_precision": Scorer(_average_precision),
        "roc_auc": Scorer(_roc_auc),
        "macro_f1": Scorer(_macro_f1, of_decisions=True),
        "micro_f1": Scorer(_micro_f1, of_decisions=True),
        "exact_match": Scorer(_exact_match, of_decisions=True),
        "neg_log_loss": Scorer(_log_loss),
    }

    def recognises(self, table: Table, columns: Sequence[str]) -> bool:
        if len(columns) > 1:
            table = with_zeros(table, columns)
            return all(are_mostly_flags(table.column(column)) for column in columns)
        cells = with_lists(table, columns).column(columns[0])
        return any(map(is_list, cells)) or find_delimiter(cells) is not None

    def read_targets(self, table: Table, columns: Sequence[str], metric: str | None) -> Reading:
        if len(columns) > 1:
            table, names, delimiter = with_zeros(table, columns), tuple(columns), ""
        else:
            table = with_lists(table, columns)
            cells = table.column(columns[0])
            refuse_vectors(table, columns[0], cells)
            delimiter = "" if any(map(is_list, cells)) else find_delimiter(cells) or most_used_delimiter(cells)
            several = {label for cell in cells if len(given := split(cell, delimiter)) > 1 for label in given}
            table = without_words_for_missing(table, columns, several)
            cells = table.column(columns[0])
            names = tuple(in_natural_order({label for cell in cells for label in split(cell, delimiter)}))
        if len(names) < 2:
            raise TaskError(
                f"{table.name}: {counted(len(names), 'label')} in {listed(columns)}; several are needed. Labels of a "
                f"cell are separated by {' or '.join(filter(str.isascii, DELIMITERS))}, or have a column of 0 and 1 "
                "each (--target A B …)"
            )
        rows = [labels_of(table, row, columns, delimiter) for row in range(table.rows)]
        counts = Counter(label for found in rows for label in found)
        rare = [name for name in names if counts[name] < FEWEST_ROWS]
        alone = sum(counts[name] for name in rare)
        if rare and not can_be_spared(len(rare), len(names), alone=alone, given=counts.total()):
            refuse_rare(table, columns, rows, rare)
        if everywhere := [name for name in names if counts[name] == table.rows]:
            raise DataError(f"{table.name}: every row has the label {shortened(everywhere[0])}: take it out")
        notes = []
        if rare:
            notes.append(rare_note(table, rows, rare))
        if len(columns) > 1 and all(len(found) == 1 for found in rows):
            notes.append(
                "each row has exactly one of the labels: if it always has, one column with their names (in pandas "
                f"frame[columns].idxmax(axis=1)) is learned as classes; here each of {len(names)} is decided by itself"
            )
        if len(columns) > 1:
            notes += empty_notes(table, columns)
        if none := sum(not found for found in rows):
            notes.append(f"{counted(none, 'row')} of {table.rows} with none of the labels: they are taken to be so")
        return Reading(
            kind="multilabel",
            metric="mean_average_precision",
            classes=tuple(name for name in names if name not in rare),
            unlearned=tuple(rare),
            delimiter=delimiter,
            notes=tuple(notes),
        )

    def encode(self, table: Table, task: Task) -> tuple[np.ndarray, np.ndarray]:
        places = {name: place for place, name in enumerate(task.classes)}
        table = with_zeros(with_lists(table, task.targets), task.targets)
        table = without_words_for_missing(table, task.targets, places)
        encoded = np.zeros((table.rows, len(places)), np.float32)
        for row in range(table.rows):
            for label in labels_of(table, row, task.targets, task.delimiter):
                if label not in places:
                    raise DataError(
                        f"{table.describe_row(row)}: {task.target!r} has {shortened(label)}, which is not one of the "
                        f"labels ({listed(task.classes)}).{did_you_mean(label, task.classes)}"
                    )
                encoded[row, places[label]] = 1.0
        return encoded, np.ones(table.rows, dtype=bool)

    def unlearned(self, task: Task, targets: np.ndarray) -> np.ndarray:
        given: np.ndarray = targets[:, len(task.classes) :].sum(1) > 0
        return given

    def learned(self, task: Task, targets: np.ndarray) -> np.ndarray:
        return targets[:, : len(task.classes)]

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """The rarest label of each row, behind all labels where it has none."""
        counts = targets.sum(0)
        rarity = np.where(targets > 0.5, counts, np.inf)
        strata: np.ndarray = np.where(targets.any(1), rarity.argmin(1), targets.shape[1])
        return strata.astype(np.int64)

    def shared_out(self, targets: np.ndarray) -> np.ndarray:
        """Every label, and that a row has none."""
        given = targets > 0.5
        shared: np.ndarray = np.concatenate([given, ~given.any(1, keepdims=True)], axis=1)
        return shared

    def counts(self, task: Task, targets: np.ndarray) -> dict[str, int]:
        return dict(zip(task.classes, targets.sum(0).astype(int).tolist(), strict=True))

    def said(self, task: Task, target: Any) -> str:
        return ", ".join(name for name, there in zip(task.classes, target, strict=True) if there > 0.5) or "none"

    def conflicts(self, targets: np.ndarray) -> np.ndarray:
        numbers: dict[bytes, int] = {}  # not np.unique's, which compares rows label by label
        rows = (row.tobytes() for row in np.packbits(targets > 0.5, axis=1))
        return np.array([numbers.setdefault(row, len(numbers)) for row in rows], np.int64)

    def dense(self, targets: torch.Tensor, outputs: int) -> torch.Tensor:
        return targets

    def row_losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy, added up over labels: a row with many labels says as much as many rows with one."""
        import torch

        return torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(1)

    def ranking(self, targets: np.ndarray, outputs: np.ndarray, balance: float = 0.0) -> float:
        return _average_precision(targets, outputs)

    def guess(self, targets: np.ndarray, balance: float = 0.0) -> float:
        """The mean precision of rows in random order: far more than their share where that is small."""
        rows, given = len(targets), targets.sum(0)[targets.any(0)]
        if rows < 2 or not len(given):
            return float(targets.mean())
        others, harmonic = rows - given, (1 / np.arange(1, rows + 1)).sum()
        return float(((given - 1) / (rows - 1) + others * harmonic / (rows * (rows - 1))).mean())

    def constant(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        shares: np.ndarray = targets.mean(0)
        return shares.astype(np.float32)

    def stakes(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        given: np.ndarray = np.where(targets > 0.5, answers, 1 - answers)
        return given.astype(np.float64)

    def mistaken(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Each label the other way round."""
        return 1 - targets

    def losses_of(self, stakes: np.ndarray) -> np.ndarray:
        losses: np.ndarray = -np.log(np.maximum(stakes, _SMALLEST)).mean(-1)
        return losses

    def decide(self, task: Task, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """By thresholds from the other half of the rows."""
        decided = np.zeros(targets.shape, dtype=bool)
        for rows, others in in_halves(len(targets)):
            decided[rows] = answers[rows] >= thresholds(targets[others], answers[others])
        return decided

    def calibrate(
        self, task: Task, targets: np.ndarray, answers: np.ndarray, groups: np.ndarray | None = None
    ) -> Calibration:
        # as the halves of `decide`, of which the score is, take them
        return {"thresholds": [thresholds(targets, answers, fewest=2 * FEWEST_TO_DECIDE).round(6).tolist()]}

    def decisions(self, task: Task, answers: np.ndarray, calibration: Calibration) -> np.ndarray:
        decided: np.ndarray = answers >= np.array(calibration["thresholds"][0], np.float32)
        return decided

    def told(self, task: Task, answers: np.ndarray, calibration: Calibration) -> np.ndarray:
        found = np.empty(len(answers), dtype=object)
        for row, decided in enumerate(self.decisions(task, answers, calibration)):
            found[row] = tuple(name for name, given in zip(task.classes, decided, strict=True) if given)
        return found

    def written(self, task: Task, answers: np.ndarray, calibration: Calibration) -> list[dict[str, Any]]:
        columns, between = self.columns(task), task.delimiter or DELIMITERS[0]
        return [
            dict(zip(columns, [between.join(labels), *row], strict=True))
            for labels, row in zip(self.told(task, answers, calibration), rounded(answers), strict=True)
        ]

    def columns(self, task: Task) -> list[str]:
        return ["prediction", *(f"probability_{name}" for name in task.classes)]

    def answered(self, task: Task, answers: np.ndarray, calibration: Calibration) -> list[dict[str, Any]]:
        return [
            {"prediction": list(labels), "probabilities": dict(zip(task.classes, row, strict=True))}
            for labels, row in zip(self.told(task, answers, calibration), rounded(answers), strict=True)
        ]

    def portable(self, task: Task, calibration: Calibration) -> dict[str, Any]:
        return {"thresholds": list(calibration["thresholds"][0]), "delimiter": task.delimiter or DELIMITERS[0]}

    def in_torch(self, task: Task, outputs: str, calibration: Calibration) -> str:
        return f"{outputs}.sigmoid()"

    def breakdown(self, task: Task, targets: np.ndarray, decided: np.ndarray) -> Breakdown:
        truth = targets > 0.5
        hits, rows, given = (truth & decided).sum(0), truth.sum(0), decided.sum(0)
        with np.errstate(invalid="ignore"):
            values = np.stack([rows, hits / given, hits / rows, 2 * hits / (rows + given)], 1)
        return Breakdown("labels", "label", task.classes, ("rows", "precision", "recall", "f1"), values)

    def describe(self, task: Task) -> str:
        return f"any of {len(task.classes)} labels"


def thresholds(targets: np.ndarray, answers: np.ndarray, *, fewest: int = FEWEST_TO_DECIDE) -> np.ndarray:
    """``[labels] float32``: from which probability on a label is given, so that its F1 is largest on these rows.

    Labels of fewer rows than `fewest` share one, by all of their rows; one half where these are too few, too.
    """
    found = np.full(targets.shape[1], 0.5, np.float32)
    known, there = targets > 0.5, (targets > 0.5).sum(0)
    for label in np.flatnonzero(there >= fewest):
        found[label] = _threshold(known[:, label], answers[:, label])
    few = there < fewest
    if there[few].sum() >= fewest:
        found[few] = _threshold(known[:, few].reshape(-1), answers[:, few].reshape(-1))
    return found


def _threshold(known: np.ndarray, answers: np.ndarray) -> float:
    """Of the largest F1, between two answers ``[answers]``, so that either falls on its side."""
    order = np.argsort(-answers, kind="stable")
    ordered, hits = answers[order], known[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
    f1[:-1][ordered[1:] == ordered[:-1]] = -1.0  # no threshold divides equal answers
    last = int(f1.argmax())
    outside = float(answers[order[last + 1]]) if last + 1 < len(order) else 0.0
    return (float(answers[order[last]]) + outside) / 2
