"""Answers rows, without AutoTL and without the library that the networks were built with.

    python predict.py new.csv > predictions.csv

or ``from predict import predict, predict_proba``. It reads what lies beside it; README.md says what it needs.
"""

from __future__ import annotations

import csv
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
ANSWER: dict[str, Any] = json.loads((FOLDER / "answer.json").read_text(encoding="utf-8"))
OUTPUTS: list[str] = ANSWER["outputs"]

#: Rows read and answered at a time: enough for a network's speed, little enough for any memory.
ROWS_AT_A_TIME = 32


def predict(cells: Sequence[Any]) -> list[Any]:
    """What is said of each, a class, labels or numbers; None where it cannot be read."""
    answers = predict_proba(cells)
    readable = ~np.isnan(answers[:, 0])
    said = iter(_telling().told(ANSWER, answers[readable]))
    return [next(said) if there else None for there in readable]


def predict_proba(cells: Sequence[Any]) -> np.ndarray:
    """``[cells, outputs] float32``: probabilities, or numbers as they were learned; NaN where one cannot be read.

    cells: texts, paths of images, or tuples of either where the model reads several columns.
    """
    answers = np.full((len(cells), len(OUTPUTS)), np.nan, np.float32)
    for start in range(0, len(cells), ROWS_AT_A_TIME):
        chunk = cells[start : start + ROWS_AT_A_TIME]
        read: dict[str, list[Any]] = {}  # networks that read alike share what was read
        for member, inputs, _ in _members():
            if member["reads"] not in read:
                read[member["reads"]] = inputs.encode(chunk)
        usable = [row for row in range(len(chunk)) if not any(isinstance(rows[row], str) for rows in read.values())]
        if not usable:
            continue
        each = [
            network(inputs.batch([read[member["reads"]][row] for row in usable]))
            for member, inputs, network in _members()
        ]
        answers[[start + row for row in usable]] = _mixed(np.stack(each))
    return answers


def _mixed(logits: np.ndarray) -> np.ndarray:
    """``[rows, outputs] float32`` from ``[networks, rows, outputs]``."""
    mixing = _module(FOLDER / "mixing.py")
    combination = mixing.Combination(
        np.array([member["share"] for member in ANSWER["members"]]),
        np.array([member["temperature"] for member in ANSWER["members"]]),
        ANSWER["temperature"],
    )
    activation = ANSWER["activation"]
    each = np.stack([mixing.activated(one, activation) for one in logits])
    answers: np.ndarray = mixing.mixed(each, combination, activation)
    return answers


@functools.cache
def _members() -> list[tuple[dict[str, Any], Any, Any]]:
    """Each member with how it reads and what answers, loaded at the first call."""
    runtime = _module(FOLDER / "network.py")
    paths = {member["network"] for member in ANSWER["members"]}
    networks = {path: runtime.Network(FOLDER / path) for path in paths}
    return [
        (
            member,
            _module(FOLDER / member["folder"] / "preprocess.py").Inputs(FOLDER / member["folder"]),
            networks[member["network"]],
        )
        for member in ANSWER["members"]
    ]


def _telling() -> ModuleType:
    return _module(FOLDER / "telling.py")


@functools.cache
def _module(path: Path) -> ModuleType:
    """A file as a module of its own, named by its path: other exports and members have files of the same names."""
    module = ModuleType(str(path))
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def main() -> None:
    """Adds predictions to a CSV file that has the input's columns, and prints it."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    table = Path(sys.argv[1])
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    columns = ANSWER["columns"]
    if lacking := [column for column in columns if column not in (reader.fieldnames or [])]:
        sys.exit(f"{table} has no column {lacking[0]!r}, which the model reads")
    one_input = _module(FOLDER / "joining.py").one_input
    filled = [[row[column] if (row[column] or "").strip() else None for column in columns] for row in rows]
    if ANSWER["modality"] in ("image", "images"):  # paths are relative to the table
        filled = [[None if path is None else str(table.parent / path) for path in values] for values in filled]
    cells = [one_input(columns, values, ANSWER["modality"]) for values in filled]
    answers = predict_proba(cells)
    readable = ~np.isnan(answers[:, 0])
    added, written = _telling().columns(ANSWER), iter(_telling().written(ANSWER, answers[readable]))
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*(reader.fieldnames or []), *added])
    for row, there in zip(rows, readable, strict=True):
        writer.writerow([*row.values(), *(next(written) if there else [""] * len(added))])


if __name__ == "__main__":
    main()
