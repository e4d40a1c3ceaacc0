"""The task: labels have one spelling and an order, and what cannot be learned is refused by name."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.data.columns import ColumnRole
from autotl.data.labels import in_natural_order, label_of
from autotl.data.tables import read_table
from autotl.data.task import Task, encode_targets, infer_task
from autotl.errors import DataError, TaskError
from autotl.kinds.classes import Classes

ROLES = [ColumnRole("text", "text", 1.0, "said"), ColumnRole("label", "target", 1.0, "said")]


def table_of(labels):
    return read_table(pd.DataFrame({"text": "some words", "label": pd.Series(labels, dtype=object)}))


def infer(labels, **keywords):
    return infer_task(table_of(labels), ROLES, **keywords)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()))
def test_label_of_a_label_is_itself(cell):
    label = label_of(cell)
    assert label is None or (label == label_of(label) == unicodedata.normalize("NFC", label) and label == label.strip())


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        (1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "True"), ("01", "01"), ("NA", "NA"), (" rose\n", "rose"),
        ("e\u0301", "é"),
        ("חיובי\u200f", "חיובי"), ("", None), ("  ", None), (None, None), (float("nan"), None), (float("inf"), "inf"),
    ],
)  # fmt: skip
def test_labels_are_spelled_one_way(cell, label):
    assert label_of(cell) == label


@pytest.mark.parametrize(
    ("labels", "ordered"),
    [
        (["10", "9", "-1", "1.5"], ["-1", "1.5", "9", "10"]),
        (["class 10", "class 9", "Class 1"], ["Class 1", "class 9", "class 10"]),
        (["b", "10", "a", "9"], ["9", "10", "a", "b"]),
        (["01", "1"], ["01", "1"]),
    ],
)
def test_classes_are_in_natural_order(labels, ordered):
    assert in_natural_order(labels) == in_natural_order(labels[::-1]) == ordered


def test_task_tells_kind_classes_and_modality():
    task = infer(["b", "a", "b", "a"]).task
    assert (task.kind, task.classes, task.modality, task.metric) == ("binary", ("a", "b"), "text", "accuracy")
    assert (task.target, task.input_name) == ("label", "text")
    assert infer([3, 1, 2] * 2).task.kind == "multiclass"


def test_task_survives_json():
    task = infer(["b", "a", "b", "a"], metric="roc_auc").task
    assert Task.model_validate_json(task.model_dump_json()) == task


def test_labels_are_encoded_by_class_and_missing_ones_marked():
    table = table_of(["b", " a", None, "b", "a", "a", "b"])
    codes, known = encode_targets(table, infer_task(table, ROLES).task)
    assert codes.dtype == np.int64
    assert codes[known].tolist() == [1, 0, 1, 0, 0, 1]
    assert known.tolist() == [True, True, False, True, True, True, True]


def test_unknown_label_names_row_and_closest_class():
    task = infer(["tulip", "rose"] * 2).task
    with pytest.raises(DataError, match=r"DataFrame: row 2: 'label' is 'tulpi'.*Did you mean 'tulip'"):
        encode_targets(table_of(["rose", "tulpi"]), task)


def test_table_without_the_target_cannot_be_encoded():
    task = infer(["tulip", "rose"] * 2).task
    with pytest.raises(DataError, match=r"no column 'label'. Did you mean 'labels'"):
        encode_targets(read_table(pd.DataFrame({"text": ["a"], "labels": ["rose"]})), task)


REFUSED = {
    "one class": (["a"] * 5, TaskError, "every row has the label 'a'"),
    "class with one row": (["a", "b", "a", "b", "c"], DataError, "DataFrame: row 5: class 'c' has only one row"),
    "integer class with one row": ([0, 1, 1], DataError, "row 1: class '0' has only one row.*--task regression"),
    "codes without a gap, some with one row": (
        [*range(30)] * 3 + [30, 31, 32],
        DataError,
        "row 91: 3 classes have only one row, .*--task regression",
    ),
    "text as target": ([f"text {n}" for n in range(20)], DataError, "row 1: 20 classes .*choose it with --target"),
    "too few labels": (["a", "b"] * 3 + [None, None], DataError, "row 7: no label; 2 of 8 rows"),
    "no labels": ([None] * 4, DataError, "row 1: no label; 4 of 4 rows"),
}


@pytest.mark.parametrize(("labels", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_learned_is_refused(labels, error, message):
    with pytest.raises(error, match=message):
        infer(labels)


FEW_NUMBERS = {
    "codes": list(range(100)) * 2,
    "codes of many classes": list(range(102)) * 3,
    "codes from 1, of unlike size": [code for code in range(1, 151) for _ in range(4 + code % 12)],
    "half stars": [n / 2 for n in range(11)] * 3,
    "stars": list(range(5)) * 2,
    "years": [2019, 2020, 2021, 2024] * 9,
    "codes and a -1 for none": [*range(-1, 40)] * 5,
    "from -5 to 5": [*range(-5, 6)] * 5,
}


@pytest.mark.parametrize("labels", FEW_NUMBERS.values(), ids=FEW_NUMBERS)
def test_few_numbers_are_classes(labels):
    assert len(infer(labels).task.classes) == len(set(labels))


QUANTITIES = {
    "fractions": [n / 7 for n in range(50)] * 3,
    "fractions as text": [f"{n / 7}" for n in range(50)] * 3,
    "many integers": list(range(0, 202, 2)) * 3,
    "ages": [age for age in range(102) for _ in range(1 + min(age, 101 - age))],
    "mostly unique integers": [*range(30), 1, 2],
    "negative integers": [*range(-20, 20)] * 5,
    "counts with a tail": [*range(30)] * 9 + [34, 41, 57],
}


@pytest.mark.parametrize("numbers", QUANTITIES.values(), ids=QUANTITIES)
def test_many_different_numbers_are_quantities(numbers):
    task = infer(numbers).task
    assert (task.kind, task.metric, task.classes) == ("regression", "r2", ())


def test_whole_numbers_that_could_be_classes_are_noted():
    (note,) = infer([*range(30)] * 9 + [34, 41, 57]).notes
    assert "33 different whole numbers" in note
    assert "--task multiclass" in note
    assert infer([1, 2, 3] * 9, kind="regression").notes == ()


def test_a_fifth_of_the_labels_may_be_missing_with_a_note():
    (note,) = infer(["a", "b"] * 4 + [None, " "]).notes
    assert "2 of 10 rows have no label" in note
    assert "DataFrame: row 9" in note


def test_spellings_are_noted_and_only_case_makes_classes():
    found = infer(["é", "e\u0301", " é", "Rose", "rose", "Rose", "rose"])
    assert found.task.classes == ("Rose", "rose", "é")
    assert any("made one" in note and "'é'" in note for note in found.notes)
    assert any("'Rose', 'rose' differ only in case" in note for note in found.notes)


def test_one_class_that_has_most_rows_makes_the_metric_balanced():
    found = infer(["a"] * 11 + ["b"] * 2)
    assert found.task.metric == "balanced_accuracy"
    assert any("--metric accuracy if not wanted" in note for note in found.notes)
    chosen = infer(["a"] * 11 + ["b"] * 2, metric="accuracy")
    assert (chosen.task.metric, chosen.notes) == ("accuracy", ())


def test_a_rare_class_among_many_is_noted_and_the_metric_stays():
    found = infer(["a"] * 11 + ["b"] * 11 + ["c"] * 2)
    assert found.task.metric == "accuracy"
    assert any("--metric balanced_accuracy" in note for note in found.notes)
    assert infer(["a"] * 10 + ["b"] * 2).notes == ()


@pytest.mark.parametrize("metric", sorted({*Classes.metrics} - {Classes.cost_metric}))
def test_every_metric_fits_two_classes(metric):
    assert infer(["a", "b"] * 2, metric=metric).task.metric == metric


@pytest.mark.parametrize(("metric", "message"), [("acuracy", "Did you mean 'accuracy'"), ("roc_auc", "two classes")])
def test_metrics_that_do_not_fit_are_refused(metric, message):
    with pytest.raises(TaskError, match=message):
        infer(["a", "b", "c"] * 2, metric=metric)


def test_two_classes_asked_for_are_two():
    assert infer(["a", "b"] * 4, kind="binary").task.kind == "binary"
    with pytest.raises(
        TaskError, match=r"--task binary asks for two classes, and 'label' has 3 classes: 'a', 'b', 'c'"
    ):
        infer(["a", "b", "c"] * 4, kind="binary")
