"""Answers rows, without AutoTL and without the library that the networks were built with.

    python predict.py new.csv > predictions.csv

or ``from predict import predict, predict_proba``. It reads what lies beside it; README.md says what it needs.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import reprlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
ANSWER: dict[str, Any] = json.loads((FOLDER / "answer.json").read_text(encoding="utf-8"))
OUTPUTS: list[str] = ANSWER["outputs"]

#: Rows read and answered at a time: enough for a network's speed, little enough for any memory.
ROWS_AT_A_TIME = 32

#: What makes a spreadsheet take a cell for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

#: Rows that cannot be read, whose reasons are told.
REASONS_TOLD = 5

#: How Python and pandas write what is missing.
MISSING = ("None", "nan", "<NA>", "NaT")


def predict(cells: Sequence[Any]) -> list[Any]:
    """What is said of each, a class, labels or numbers; None where it is missing or cannot be read."""
    answers = predict_proba(cells)
    readable = ~np.isnan(answers[:, 0])
    said = iter(_telling().told(ANSWER, answers[readable]))
    return [next(said) if there else None for there in readable]


def predict_proba(cells: Sequence[Any]) -> np.ndarray:
    """``[cells, outputs] float32``: probabilities, or numbers as they were learned; NaN where one is missing or cannot
    be read.

    cells: texts, paths of images, or tuples of either where the model reads several columns. Raises `TypeError` or
    `ValueError` for anything else.
    """
    rows = _inputs(cells)
    return _answered(rows)[0]


def _answered(rows: Sequence[Any]) -> tuple[np.ndarray, dict[int, str]]:
    """What `predict_proba` gives for inputs of networks, and why some cannot be read, by their places."""
    answers, reasons = np.full((len(rows), len(OUTPUTS)), np.nan, np.float32), _in_the_way(rows)
    there = [place for place, row in enumerate(rows) if row is not None and place not in reasons]
    for start in range(0, len(there), ROWS_AT_A_TIME):
        places = there[start : start + ROWS_AT_A_TIME]
        chunk = [rows[place] for place in places]
        read: dict[str, list[Any]] = {}  # networks that read alike share what was read
        for member, inputs, _ in _members():
            if member["reads"] not in read:
                read[member["reads"]] = inputs.encode(chunk)
        for row, place in enumerate(places):
            reason = next((encoded[row] for encoded in read.values() if isinstance(encoded[row], str)), None)
            if reason is not None:
                reasons[place] = reason
        usable = [row for row, place in enumerate(places) if place not in reasons]
        if not usable:
            continue
        each = [
            network(inputs.batch([read[member["reads"]][row] for row in usable]))
            for member, inputs, network in _members()
        ]
        answers[[places[row] for row in usable]] = _mixed(np.stack(each))
    return answers, reasons


def _in_the_way(rows: Sequence[Any]) -> dict[int, str]:
    """Where a path leads to what is no file, such as a pipe that nobody writes to, and what is there."""
    if ANSWER["modality"] not in ("image", "images"):
        return {}
    paths, found = _module(FOLDER / "paths.py"), dict[int, str]()
    for place, row in enumerate(rows):
        for path in () if row is None else paths.paths_of(row):
            if there := paths.obstacle(path):
                found.setdefault(place, f"{path} {there}")
    return found


def _inputs(cells: Iterable[Any]) -> list[Any]:
    """What networks read of each; None where that is missing."""
    if isinstance(cells, str | bytes | dict | os.PathLike) or hasattr(cells, "columns"):
        raise TypeError(f"a list of inputs is answered, such as predict([one, another]), and no {type(cells).__name__}")
    one_input = _module(FOLDER / "joining.py").one_input
    return [one_input(*_named(cell, place), ANSWER["modality"]) for place, cell in enumerate(cells)]


def _named(cell: Any, place: int) -> tuple[list[str], list[str | None]]:
    """The columns of an input, and their values."""
    columns = ANSWER["columns"]
    if _is_missing(cell):
        return columns, [None] * len(columns)
    if isinstance(cell, str) and ANSWER["modality"] == "text":  # several texts may have been joined already
        columns = columns[:1]
    values = cell if len(columns) > 1 and isinstance(cell, tuple | list) else (cell,)
    if len(values) != len(columns):
        wanted = f"a tuple of {len(columns)} values is read, {tuple(columns)}"
        raise ValueError(f"input {place}: {wanted}, not {reprlib.repr(cell)}")
    for value in values:
        if not isinstance(value, str | os.PathLike) and not _is_missing(value):
            raise TypeError(f"input {place}: texts and paths are read, not {reprlib.repr(value)}")
    return columns, [None if _is_missing(value) else str(value) for value in values]


def _is_missing(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else str(value) in MISSING


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
    if sys.argv[1:] in (["-h"], ["--help"]):
        print(__doc__)
        return
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="")
    table = Path(sys.argv[1])
    csv.field_size_limit(2**31 - 1)  # a cell may hold a long document
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)  # else a quote that never closes takes the rest for a cell
            rows, lines = [], []
            if repeated := [name for name, count in Counter(reader.fieldnames or []).items() if count > 1]:
                sys.exit(f"{table} has several columns {repeated[0]!r}; give each a name of its own")
            for row in reader:
                found, wide = sum(cell is not None for cell in row.values()), len(reader.fieldnames or [])
                if found != wide or None in row:  # where csv puts what no column is for
                    found += len(row[None]) - 1 if None in row else 0
                    sys.exit(f"{table}: line {reader.line_num} has {found} cells, and the table has {wide} columns")
                rows.append(row)
                lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        sys.exit(f"{table} cannot be read ({error}); what is read is a CSV file in UTF-8")
    columns = ANSWER["columns"]
    if lacking := [column for column in columns if column not in (reader.fieldnames or [])]:
        sys.exit(f"{table} has no column {lacking[0]!r}, which the model reads")
    if clash := sorted(set(_telling().columns(ANSWER)) & set(reader.fieldnames or [])):
        sys.exit(f"{table} has a column {clash[0]!r} already; rename it, as the predictions bring one")
    filled = [[row[column] if (row[column] or "").strip() else None for column in columns] for row in rows]
    if ANSWER["modality"] in ("image", "images"):  # paths are relative to the table
        image_path = _module(FOLDER / "paths.py").image_path
        filled = [[None if path is None else image_path(table.parent, path) for path in values] for values in filled]
    cells = [values[0] if len(columns) == 1 else tuple(values) for values in filled]
    answers, reasons = _answered(_inputs(cells))
    readable = ~np.isnan(answers[:, 0])
    if len(rows) and not readable.any():
        why = next(iter(reasons.values()), "the input is empty")
        sys.exit(f"{table}: no row can be read, such as line {lines[next(iter(reasons), 0)]}: {why}")
    added, written = _telling().columns(ANSWER), iter(_telling().written(ANSWER, answers[readable]))
    print(_line([*(reader.fieldnames or []), *added]), end="")
    for row, there in zip(rows, readable, strict=True):
        print(_line([*row.values(), *(map(_harmless, next(written)) if there else [""] * len(added))]), end="")
    sys.stdout.flush()
    for place, reason in list(reasons.items())[:REASONS_TOLD]:
        print(f"{table}: line {lines[place]}: {reason}; left without a prediction", file=sys.stderr)
    if len(reasons) > REASONS_TOLD:
        print(f"{table}: and {len(reasons) - REASONS_TOLD} more", file=sys.stderr)


def _line(cells: Iterable[Any]) -> str:
    """Of a CSV file; before 3.13 Python quotes carriage returns only where it writes them at the end itself."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue()[:-2] + "\n"


def _harmless(cell: Any) -> Any:
    """A cell that no spreadsheet runs: one that begins as formulas do, and is no number, gets an apostrophe."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # `python predict.py new.csv | head` is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
