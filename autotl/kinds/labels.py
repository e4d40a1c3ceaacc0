"""Any of several labels: a row has none, one or more of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from autotl.data.cells import (
    are_numbers,
    have_grouped_thousands,
    is_date,
    is_missing,
    is_nested,
    is_number,
    number_and_unit,
    spelled_list,
)
from autotl.data.labels import in_natural_order, label_of, without_missing_words
from autotl.data.wording import counted, did_you_mean, listed, option, shortened
from autotl.errors import DataError, TaskError
from autotl.kinds.kind import Breakdown, Calibration, Kind, Reading, Scorer, area_under_roc, in_halves, rounded
from autotl.kinds.rare import FEWEST_ROWS, can_be_spared

if TYPE_CHECKING:
    import torch

    from autotl.data.tables import Table
    from autotl.data.task import Task

#: What stands between labels in a cell, the least ambiguous first; Chinese and Arabic have signs of their own.
DELIMITERS = ("|", ";", "\uff1b", "\u3001", "\u061b", "\uff0c", "\u060c", ",")

#: Combinations of labels that a column must have more of than labels, times this, to be taken for one of several: names
#: of classes may hold a comma too, and then their pieces are more than they are.
_MORE_COMBINATIONS = 1.0

#: Cells with several labels below which a delimiter is a slip.
_FEWEST_SEVERAL = 3

#: Rows with a label below which they do not say from where on it is given: one row that ranks last of 30 would have all
#: rows get it.
FEWEST_TO_DECIDE = 5

#: How 0 and 1 are written where each label has a column.
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no", "")

#: The share of 0 and 1 from which on what else a column holds is a slip.
_MOSTLY = 0.95

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
            return all(_are_mostly_flags(table.column(column)) for column in columns)
        cells = _with_lists(table, columns).column(columns[0])
        return any(map(_is_list, cells)) or _find_delimiter(cells) is not None

    def read_targets(self, table: Table, columns: Sequence[str], metric: str | None) -> Reading:
        if len(columns) > 1:
            names, delimiter = tuple(columns), ""
        else:
            table = _with_lists(table, columns)
            cells = table.column(columns[0])
            _refuse_vectors(table, columns[0], cells)
            delimiter = "" if any(map(_is_list, cells)) else _find_delimiter(cells) or _most_used_delimiter(cells)
            several = {label for cell in cells if len(given := _split(cell, delimiter)) > 1 for label in given}
            table = _without_missing_words(table, columns, several)
            cells = table.column(columns[0])
            names = tuple(in_natural_order({label for cell in cells for label in _split(cell, delimiter)}))
        if len(names) < 2:
            raise TaskError(
                f"{table.name}: {counted(len(names), 'label')} in {listed(columns)}; several are needed. Labels of a "
                f"cell are separated by {' or '.join(filter(str.isascii, DELIMITERS))}, or have a column of 0 and 1 "
                "each (--target A B …)"
            )
        rows = [_labels_of(table, row, columns, delimiter) for row in range(table.rows)]
        counts = Counter(label for found in rows for label in found)
        rare = [name for name in names if counts[name] < FEWEST_ROWS]
        alone = sum(counts[name] for name in rare)
        if rare and not can_be_spared(len(rare), len(names), alone=alone, given=counts.total()):
            _refuse_rare(table, columns, rows, rare)
        if everywhere := [name for name in names if counts[name] == table.rows]:
            raise DataError(f"{table.name}: every row has the label {shortened(everywhere[0])}: take it out")
        notes = []
        if rare:
            notes.append(_rare_note(table, rows, rare))
        if len(columns) > 1 and all(len(found) == 1 for found in rows):
            notes.append(
                "each row has exactly one of the labels: if it always has, one column with their names (in pandas "
                f"frame[columns].idxmax(axis=1)) is learned as classes; here each of {len(names)} is decided by itself"
            )
        if len(columns) > 1:
            notes += _empty_notes(table, columns)
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
        table = _without_missing_words(_with_lists(table, task.targets), task.targets, places)
        encoded = np.zeros((table.rows, len(places)), np.float32)
        for row in range(table.rows):
            for label in _labels_of(table, row, task.targets, task.delimiter):
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
    hits = known[order].cumsum()
    last = int((2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])).argmax())
    outside = float(answers[order[last + 1]]) if last + 1 < len(order) else 0.0
    return (float(answers[order[last]]) + outside) / 2


def _split(cell: Any, delimiter: str) -> list[str]:
    """The labels of a cell, each once."""
    if is_nested(cell):
        pieces = [label_of(piece) for piece in cell]
    elif is_missing(cell):
        return []
    else:
        pieces = [label_of(piece) for piece in (str(cell).split(delimiter) if delimiter else [cell])]
    return list(dict.fromkeys(piece for piece in pieces if piece))


def _with_lists(table: Table, columns: Sequence[str]) -> Table:
    """The table with lists in place of texts that spell them, where all filled cells of the one column do."""
    if len(columns) > 1:
        return table
    lists: list[list[Any] | None] = []
    for cell in table.column(columns[0]):
        found = None if is_missing(cell) else spelled_list(cell)
        if found is None and not is_missing(cell):
            return table
        lists.append(found)
    return table.labelled(columns, lists)


def _without_missing_words(table: Table, columns: Sequence[str], labels: Container[str]) -> Table:
    """The table with nothing in place of a word for a missing value, such as NA, unless it is one of the labels."""
    if len(columns) > 1:
        return table
    cells = table.column(columns[0])
    plain = without_missing_words(cells)
    return table.labelled(
        columns,
        [cell if other is cell or label_of(cell) in labels else None for cell, other in zip(cells, plain, strict=True)],
    )


def _find_delimiter(cells: Sequence[Any]) -> str | None:
    """What separates labels in a column of text, where that is plain: cells combine fewer labels in many ways."""
    present = [str(cell) for cell in without_missing_words(cells) if not is_missing(cell)]
    if all(are_numbers([text]) or number_and_unit(text) for text in present) or have_grouped_thousands(present):
        return None
    if sum(map(is_date, present)) >= _MOSTLY * len(present):  # March 4, 2021
        return None
    for delimiter in DELIMITERS:
        several = [text for text in present if delimiter in text.strip().strip(delimiter)]
        if len(several) < _FEWEST_SEVERAL:
            continue
        ways = {frozenset(_split(text, delimiter)) for text in present}
        rows = Counter(label for text in present for label in _split(text, delimiter))
        combined = Counter(label for way in ways if len(way) > 1 for label in way)
        usual = sum(count >= FEWEST_ROWS for count in combined.values())
        if len(ways) > _MORE_COMBINATIONS * len(rows) and 2 * usual > len(rows):
            return delimiter
    return None


def _most_used_delimiter(cells: Sequence[Any]) -> str:
    """Where a person has said that there are several labels."""
    uses = {delimiter: sum(delimiter in str(cell) for cell in cells) for delimiter in DELIMITERS}
    most = max(uses, key=uses.__getitem__)
    return most if uses[most] else ""


def _is_list(cell: Any) -> bool:
    return is_nested(cell) and not isinstance(cell, dict | bytes | bytearray | memoryview)


def _refuse_vectors(table: Table, column: str, cells: Sequence[Any]) -> None:
    """Raises `TaskError` for lists of zeros and ones, whose places mean labels that nobody has named."""
    rows = [list(cell) for cell in cells if _is_list(cell)]
    alike = len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    if alike and all(is_number(piece) and float(piece) in (0, 1) for row in rows for piece in row):
        raise TaskError(
            f"{table.name}: {column!r} holds lists of {len(rows[0])} zeros and ones. Give each label a column with its "
            "name, and say --target A B …"
        )


def _refuse_rare(table: Table, columns: Sequence[str], rows: Sequence[Sequence[str]], rare: Sequence[str]) -> NoReturn:
    """Raises `DataError` naming the first of the labels that too few rows have, and its row where it has one."""
    label = rare[0]
    row = next((row for row, found in enumerate(rows) if label in found), None)
    where = table.name if row is None else table.describe_row(row)
    which = f"label {shortened(label)} has {'no row' if row is None else 'only one row'}"
    if len(rare) > 1:
        which = f"{len(rare)} labels have fewer than two rows, such as {shortened(label)}"
    way_out = f"leave {shortened(label)} out of --target" if len(columns) > 1 else f"take it out of {columns[0]!r}"
    raise DataError(f"{where}: {which}; learning and checking need at least two. Add rows, or {way_out}")


def _rare_note(table: Table, rows: Sequence[Sequence[str]], rare: Sequence[str]) -> str:
    """What a person should know of labels that a task goes without."""
    row = next((row for row, found in enumerate(rows) if not set(rare).isdisjoint(found)), None)
    label = rare[0] if row is None else next(label for label in rows[row] if label in rare)
    where = shortened(label) if row is None else f"{shortened(label)} in {table.describe_row(row)}"
    those = f"label {where} has" if len(rare) == 1 else f"{len(rare)} labels, such as {where}, have"
    return (
        f"not learned: {those} fewer than two rows: learning and checking need two. In a table to test on, such a "
        "label counts as missed"
    )


def _empty_notes(table: Table, columns: Sequence[str]) -> list[str]:
    """On columns whose cells are empty where others say no: nobody may have looked."""
    empty = {}
    for column in columns:
        cells = table.column(column)
        missing = sum(map(is_missing, cells))
        if missing and any(_flag(cell) is False and not is_missing(cell) for cell in cells):
            empty[column] = missing
    if not empty:
        return []
    which = ", ".join(f"{count} of {column!r}" for column, count in list(empty.items())[:3])
    return [f"empty cells count as no, though others say so with a 0: {which}. Leave rows out where nobody looked"]


def _are_mostly_flags(cells: Sequence[Any]) -> bool:
    """Whether a column is that of a label, but for a slip or two, which `read_targets` refuses: it is no quantity."""
    present = [cell for cell in cells if not is_missing(cell)]
    return sum(_flag(cell) is not None for cell in present) >= _MOSTLY * len(present)


def _flag(cell: Any) -> bool | None:
    """Whether a cell of a label's own column gives it; None for one that says neither."""
    if is_missing(cell) or (isinstance(cell, float) and math.isnan(cell)):
        return False
    word = (label_of(cell) or "").casefold().removesuffix(".0")
    return True if word in _YES else False if word in _NO else None


def _labels_of(table: Table, row: int, columns: Sequence[str], delimiter: str) -> list[str]:
    """Raises `DataError` naming the row for a cell that holds no labels."""
    if len(columns) == 1:
        cell = table.column(columns[0])[row]
        if is_nested(cell) and not _is_list(cell):
            raise DataError(
                f"{table.describe_row(row)}: {columns[0]!r} holds a value of type {type(cell).__name__}, not labels. "
                "Several labels of a row are a list of them"
            )
        return _split(cell, delimiter)
    found = []
    for column in columns:
        cell = table.column(column)[row]
        given = _flag(cell)
        if given is None:
            numbers = (
                f", or say {option('--task', 'regression')}, which takes them as numbers" if is_number(cell) else ""
            )
            raise DataError(
                f"{table.describe_row(row)}: {column!r} is {shortened(str(cell))}; the column of a label holds 0 or 1. "
                f"Mend the cell{numbers}"
            )
        if given:
            found.append(column)
    return found
