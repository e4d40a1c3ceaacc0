"""One look at a table: its roles, its task, the rows that can be used, and what a person should know."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.data.cells import (
    have_decimal_commas,
    in_whole_characters,
    is_missing,
    is_nested,
    is_number,
    with_point,
)
from autotl.data.columns import IMAGES_INSIDE, ColumnRole, is_picture, judge_images, unended_note
from autotl.data.folders import IMAGE_SUFFIXES
from autotl.data.groups import holds, number_groups, tied
from autotl.data.joining import APART, one_input
from autotl.data.labels import label_of
from autotl.data.paths import image_path
from autotl.data.roles import Overrides, infer_roles, other_targets, rows_of_other_parts
from autotl.data.tables import Table, read_table
from autotl.data.task import InputColumn, Task, encode_targets, infer_task, input_columns
from autotl.data.text_files import JSON_LINES
from autotl.data.wording import counted, in_words, listed, option, shortened
from autotl.errors import DataError
from autotl.plugins.contracts import PICTORIAL, TEXTUAL

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

#: One bad row in twenty is the untidiness of real tables; more is a fault that a person should see.
SKIP_LIMIT = 0.05
#: In a table of some ten rows a share says nothing.
_ALWAYS_SKIPPED = 3


@dataclass(frozen=True)
class Inspection:
    """What is known of a training table before any model has seen it."""

    table: Table  #: all rows
    roles: tuple[ColumnRole, ...]  #: in the order of the columns
    task: Task
    kept: npt.NDArray[np.int64]  #: ``[kept]``: rows of `table` with an input and a target, ascending
    targets: np.ndarray  #: of these, as `autotl.kinds.kind` has them
    groups: npt.NDArray[np.int64]  #: ``[kept]``: equal for rows that stay on one side in `autotl.data.splits.holdout`
    weights: npt.NDArray[np.float32] | None  #: ``[kept]``: what each counts in training, 1 in the mean; None: all alike
    set_aside: tuple[tuple[int, str], ...]  #: rows of `table` that are not kept, each with its reason
    notes: tuple[str, ...]

    def without(self, leaving: Mapping[int, str]) -> Inspection:
        """The same with more rows set aside. leaving: the reason for each, by its row of `table`, all of them kept."""
        stays = np.array([row not in leaving for row in self.kept.tolist()], dtype=bool)
        return replace(
            self,
            kept=self.kept[stays],
            targets=self.targets[stays],
            groups=number_groups(self.groups[stays].tolist()),
            weights=None if self.weights is None else self.weights[stays],
            set_aside=tuple(sorted([*self.set_aside, *leaving.items()])),
        )


def inspect_table(
    source: str | Path | pd.DataFrame,
    overrides: Overrides | None = None,
    *,
    metric: str | None = None,
    kind: str | None = None,
    costs: str | Path | None = None,
    skip_limit: float = SKIP_LIMIT,
) -> Inspection:
    """Reads a training table and finds out what can be learned from it. Opens no image.

    metric, kind: of the task, None where the table decides. costs: path of what errors cost.
    skip_limit: share of the rows whose input may be empty. Raises `DataError` and `TaskError` as `read_table`,
    `infer_roles` and `infer_task` do, and `DataError` naming the first row when too many inputs are empty.
    """
    table = read_table(source)
    overrides = overrides or Overrides()
    roles = infer_roles(table, overrides)
    columns = input_columns(roles)
    cells = _input_cells(table, columns)
    empty = [row for row, cell in enumerate(cells) if cell is None]
    _refuse_too_many(table, _quoted(columns), empty, skip_limit)

    filled = np.array([row for row, cell in enumerate(cells) if cell is not None], dtype=np.int64)
    usable = table.select(filled)
    inference = infer_task(usable, roles, metric=metric, kind=kind, costs=costs)
    task = inference.task.model_copy(update={"group": table.name_of(overrides.group) if overrides.group else ""})
    rules = task.rules
    targets, known = encode_targets(usable, task)
    # of several labels the others are learned
    alone = known & rules.unlearned(task, targets) & rules.exclusive
    kept, targets = filled[known & ~alone], rules.learned(task, targets[known & ~alone])
    equal = number_groups(cells[row] for row in kept)
    groups = equal if overrides.group is None else tied(told_groups(table, overrides.group, kept), equal)

    set_aside = [(row, "no input") for row in empty] + [(row, "no label") for row in filled[~known].tolist()]
    set_aside += [(row, "the only row of its class") for row in filled[alone].tolist()]
    notes = [*table.notes]
    if task.modality in TEXTUAL:
        notes += [note for column in columns if (note := unended_note(table, column.name))]
    notes += [*_header_notes(table, roles), *_part_notes(table, roles), *_target_notes(table, roles)]
    if empty:
        notes.append(f"left out: {counted(len(empty), 'row')} with nothing in {_quoted(columns)}")
    notes += [*inference.notes, *_repeat_notes(table, task, kept, targets, equal, together=holds(groups, equal))]
    return Inspection(
        table=table,
        roles=tuple(roles),
        task=task,
        kept=kept,
        targets=targets,
        groups=groups,
        weights=None if overrides.weight is None else _weights(table, overrides.weight, kept),
        set_aside=tuple(sorted(set_aside)),
        notes=tuple(notes),
    )


def read_inputs(table: Table, task: Task) -> list[Any]:
    """The input of each row, in order: text, or the absolute path of an image, as str, a pair of texts and several
    images as tuple; None where missing, and where one of these is.

    Raises `DataError` with the closest name when the table lacks the column, and naming the row for a cell that is
    neither text nor a path.
    """
    return _input_cells(named_as(table, task), task.inputs)


def named_as(table: Table, task: Task) -> Table:
    """A table of class folders under the names of the task's columns, where these are one image and one target."""
    if task.modality != "image" or len(task.targets) > 1:
        return table
    return table.named(task.columns[0], task.targets[0])


def read_test(source: str | Path | pd.DataFrame, task: Task) -> Table:
    """A labelled table to score on. Raises `DataError` for whatever would keep it from that, before time is spent."""
    table = named_as(read_table(source), task)
    if not isinstance(source, str | Path):
        table = replace(table, name=f"the test {table.name}")  # the other one may be a frame too
    inputs = read_inputs(table, task)
    _, known = encode_targets(table, task)
    if task.modality in PICTORIAL:
        for column in task.columns:
            judge_images(table, column)
    if not known.any():
        raise DataError(f"{table.name}: no row has a label in {task.target!r}")
    if all(cell is None or not there for cell, there in zip(inputs, known, strict=True)):
        raise DataError(f"{table.name}: no row with a label has anything in {_quoted(task.inputs)}")
    return table


def _quoted(columns: Sequence[InputColumn]) -> str:
    """What is empty where there is no input: ``'text'``, ``'title' and 'body'``, of a pair one or the other."""
    names = [repr(column.name) for column in columns]
    return " or ".join(names) if columns[0].modality in APART else in_words(names)


def _input_cells(table: Table, columns: Sequence[InputColumn]) -> list[Any]:
    """The input of each row, as `read_inputs` says."""
    names, modality = [column.name for column in columns], columns[0].modality
    values = [_column_cells(table, column) for column in columns]
    return [one_input(names, row, modality) for row in zip(*values, strict=True)]


def _column_cells(table: Table, column: InputColumn) -> list[str | None]:
    cells = table.column(column.name)
    if (odd := next((row for row, cell in enumerate(cells) if is_nested(cell) or is_picture(cell)), None)) is not None:
        if is_picture(cells[odd]) and column.modality not in TEXTUAL:
            raise DataError(f"{table.describe_row(odd)}: column {column.name!r}: {IMAGES_INSIDE}")
        wanted = "a text" if column.modality in TEXTUAL else "the path of an image"
        raise DataError(
            f"{table.describe_row(odd)}: column {column.name!r} holds a value of type {type(cells[odd]).__name__}, not "
            f"{wanted}. Give it a column that has one in each row"
        )
    texts = [None if is_missing(cell) else str(cell) for cell in cells]
    if column.modality in TEXTUAL:
        return [None if text is None else in_whole_characters(text) for text in texts]
    return [None if text is None else image_path(table.root, text) for text in texts]


def _refuse_too_many(table: Table, names: str, empty: Sequence[int], skip_limit: float) -> None:
    share = len(empty) / table.rows
    if len(empty) == table.rows:
        raise DataError(f"{table.name}: every cell of the input {names} is empty.")
    if len(empty) > max(_ALWAYS_SKIPPED if skip_limit else 0, skip_limit * table.rows):
        raise DataError(
            f"{table.describe_row(empty[0])}: {names} is empty; so it is in {len(empty)} of {table.rows} rows, more "
            f"than {skip_limit:.0%}. Fill them in, or pass --skip-unreadable {math.ceil(100 * share)}%"
        )


def groups_of(table: Table, task: Task, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """``[rows] int64``: equal where the task's group column is; None where rows are by themselves."""
    if not task.group:
        return None
    try:
        return told_groups(table, task.group, rows)
    except DataError:  # it need not have the column
        return None


def told_groups(table: Table, name: str, kept: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A number for each different value of a column; a row without one is alone."""
    cells = table.column(name)
    return number_groups(row if (value := label_of(cells[row])) is None else value for row in kept.tolist())


def _weights(table: Table, name: str, kept: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """What each row counts, 1 in the mean. Raises `DataError` naming the row that has no number above 0."""
    cells, found = table.column(name), np.empty(len(kept))
    if have_decimal_commas(cells):
        cells = list(map(with_point, cells))
    for place, row in enumerate(kept.tolist()):
        cell = cells[row]
        number = float(cell) if is_number(cell) else math.nan
        if not 0 < number < math.inf:
            raise DataError(
                f"{table.describe_row(row)}: {name!r} is {shortened(str(cell))}, and a weight is a number above 0. "
                "Mend it, or remove the row"
            )
        found[place] = number
    weights: npt.NDArray[np.float32] = (found / found.mean()).astype(np.float32)
    return weights


def _target_notes(table: Table, roles: Sequence[ColumnRole]) -> list[str]:
    """What a person should know of a target that little speaks for."""
    if not (others := other_targets(table, roles)):
        return []
    (target,) = (role for role in roles if role.role == "target")
    why, which = target.evidence.partition(";")[0], listed(others) if len(others) > 1 else repr(others[0])
    return [f"{target.name!r} is learned ({why}); {which} could be meant too: {option('--target', others[0])}"]


def _part_notes(table: Table, roles: Sequence[ColumnRole]) -> list[str]:
    """What a person should know of a column that says which rows are to be trained on: it is not asked."""
    others = {role.name: rows_of_other_parts(table, role.name) for role in roles if role.role == "ignore"}
    return [
        f"{name!r} is not used, and {counted(rows, 'row')} of other parts than training are learned from like all: to "
        "score on them, write them to a table of their own, and pass that with --test"
        for name, rows in others.items()
        if rows
    ]


def _header_notes(table: Table, roles: Sequence[ColumnRole]) -> list[str]:
    """What a person should know of a first line that may be a row: files are written without a header, too."""
    if table.lines is None or PurePath(table.name).suffix.lower() in {*JSON_LINES, ".json"}:
        return []
    targets = [role.name for role in roles if role.role == "target"]
    pictures = [role.name for role in roles if role.role in PICTORIAL]
    odd = [name for name in targets if name in map(label_of, table.column(name))]
    odd += [name for name in pictures if PurePath(name).suffix.lower() in IMAGE_SUFFIXES]
    if not odd:
        return []
    return [
        f"{table.name}: line 1 is taken for the names of the columns, and {shortened(odd[0])} could be a value: where "
        "it is a row, put a line with names before it"
    ]


def _repeat_notes(
    table: Table,
    task: Task,
    kept: npt.NDArray[np.int64],
    targets: np.ndarray,
    equal: npt.NDArray[np.int64],
    *,
    together: bool,
) -> list[str]:
    """together: whether equal inputs are in one group."""
    _, firsts, inverse, counts = np.unique(equal, return_index=True, return_inverse=True, return_counts=True)
    repeats = int((counts - 1).sum())
    if repeats == 0:
        return []
    repeat = "row of {} repeats" if repeats == 1 else "rows of {} repeat"
    split = "; equal inputs stay together in every split" if together else ""
    notes = [f"{repeats} {repeat.format(len(equal))} an input{split}"]
    agreeing = task.rules.conflicts(targets)
    if agreeing is None:
        return notes
    differs = agreeing != agreeing[firsts[inverse]]
    if differs.any():
        inputs = len(set(equal[differs].tolist()))
        row = int(np.flatnonzero(differs)[0])
        first = int(firsts[inverse[row]])
        notes.append(
            f"{counted(inputs, 'input')} with different labels on equal rows; {table.describe_row(int(kept[row]))} is "
            f"{task.rules.said(task, targets[row])!r}, row {table.numbers[kept[first]]} is "
            f"{task.rules.said(task, targets[first])!r}"
        )
    return notes
