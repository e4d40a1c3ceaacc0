"""The corpus of bad frames: each is learned from as its owner meant it, or refused in one line that helps."""

from __future__ import annotations

import datetime
import decimal
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from autotl.data.inspection import inspect_table
from autotl.data.roles import Overrides
from autotl.errors import AutoTLError

N = 40
TEXTS = [f"review number {number} was written" for number in range(N)]
LABELS = ["good", "bad"] * (N // 2)
GOOD = ("bad", "good")


def frame(label=LABELS, text=TEXTS, **more):
    return pd.DataFrame({"text": text, "label": label, **more})


def objects(*cells):
    return pd.Series([*cells] * (N // len(cells)), dtype=object)


LEARNED = {
    "strings of pandas": (frame(pd.Series(LABELS, dtype="string"), pd.Series(TEXTS, dtype="string")), GOOD),
    "strings of Arrow": (frame(pd.Series(LABELS, dtype="string[pyarrow]")), GOOD),
    "categories": (frame(pd.Categorical(LABELS)), GOOD),
    "categories without rows": (frame(pd.Categorical(LABELS, categories=["good", "bad", "ugly"])), GOOD),
    "categories that are missing": (frame(pd.Categorical([*LABELS[:-1], None])), GOOD),
    "intervals": (frame(pd.cut(list(range(N)), [0, 19, 40], right=False)), ("[0, 19)", "[19, 40)")),
    "whole numbers": (frame([1, 2] * 20), ("1", "2")),
    "whole numbers that may be missing": (frame(pd.Series([1, 2] * 19 + [None, None], dtype="Int64")), ("1", "2")),
    "whole numbers as fractions, with gaps": (frame([1.0, 2.0] * 19 + [np.nan, np.nan]), ("1", "2")),
    "numbers of several types": (frame(objects(1, 1.0, "1", "1.0", 2, 2.0, "2", "2.0")), ("1", "2")),
    "truth values": (frame(pd.Series([True, False] * 20, dtype="boolean")), ("False", "True")),
    "decimals": (frame(objects(decimal.Decimal("1.00"), decimal.Decimal("2.50"))), ("1", "2.5")),
    "days": (frame(objects(datetime.date(2024, 1, 1), datetime.date(2024, 1, 2))), ("2024-01-01", "2024-01-02")),
    "scalars of NumPy": (frame(objects(np.int64(1), np.str_("a"), np.float32(2), np.int8(1))), ("1", "2", "a")),
    "every kind of missing": (frame(objects(*LABELS[:36], None, pd.NA, np.nan, pd.NaT)), GOOD),
    "an index that repeats": (frame().set_index(pd.Index([7] * N)), GOOD),
    "an index of several levels": (frame().set_index([pd.Index(["a"] * N), pd.Index(range(N))]), GOOD),
    "half a character in a text": (frame(text=pd.Series([f"{text} \ud83d" for text in TEXTS], dtype=object)), GOOD),
    "lists beside": (frame(tags=objects(["a"], ["b", "c"])), GOOD),
    "frames beside": (frame(inner=objects(pd.DataFrame({"a": [1]}))), GOOD),
    "two thousand columns": (frame(**{f"c{number}": 0 for number in range(2000)}), GOOD),
}  # fmt: skip


@pytest.mark.parametrize(("data", "classes"), LEARNED.values(), ids=LEARNED)
@pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning")
def test_frame_is_learned_from(data, classes):
    assert inspect_table(data).task.classes == classes


def test_tables_of_arrow_are_learned_from_as_frames_are():
    data = pa.table({"text": TEXTS, "label": pa.array([*LABELS[:-2], None, None]).dictionary_encode()})
    found = inspect_table(data)
    assert (found.task.classes, len(found.kept), found.table.name) == (GOOD, N - 2, "Table")


@pytest.mark.parametrize("names", [[0, 1], [pathlib.Path("text"), None], [("text",), ("label",)]])
def test_names_of_columns_that_are_no_text_are_written_as_text(names):
    data = frame().set_axis(pd.Index(names, tupleize_cols=False), axis=1)
    text, target = map(str, names)
    task = inspect_table(data, Overrides(text=text, target=(target,))).task
    assert (task.target, task.input_name) == (target, text)


class Polars:
    """What another library calls a frame."""

    columns = ("text",)


class Dataset(Polars):
    """One that knows pandas."""

    def to_pandas(self):
        raise NotImplementedError


class Torn(Polars):
    """One whose columns Arrow has no type for."""

    def __arrow_c_stream__(self, requested_schema=None):
        raise ValueError("no such column")


REFUSED = {
    "no columns": (pd.DataFrame(index=range(5)), ["no rows or no columns"]),
    "no rows": (frame().head(0), ["no rows"]),
    "two columns of one name": (frame().set_axis(["text", "text"], axis=1), ["'text'", "more than one column"]),
    "two columns of one name as text": (frame().set_axis([1, "1"], axis=1), ["'1'", "more than one column"]),
    "columns of several levels": (
        pd.concat({"a": frame()}, axis=1), ["2 levels of names", "frame.columns ="],
    ),
    "one column": (frame()[["text"]], ["only one column, 'text'"]),
    "infinite labels": (frame([0.0, 1.0, np.inf, -np.inf] * 10), ["row 3", "'label' is inf", "remove the row"]),
    "missing labels": (frame([np.nan] * N), ["row 1", "no label", "40 of 40"]),
    "moments": (frame(pd.date_range("2024-01-01", periods=N, freq="s")), ["only one row", "--target"]),
    "a label that every row has": (frame(objects(["a"], ["a", "b"])), ["every row has the label 'a'"]),
    "arrays of zeros and ones": (frame(objects(np.zeros(2), np.ones(2))), ["zeros and ones", "--target A B"]),
    "bytes as labels": (frame(objects(b"good", b"bad")), ["row 1", "type bytes"]),
    "half a character as a label": (frame(objects("\ud83d", "b")), ["row 1", "not UTF-8"]),
    "every text missing": (frame(text=[None] * N), ["no column looks like images or text", "empty"]),
    "arrays as inputs": (frame(text=objects(np.zeros(2), np.ones(2))), ["'text'", "ndarray", "--text"]),
    "images as inputs": (frame(text=objects(np.zeros((4, 4)), np.ones((4, 4)))), ["'text'", "write each to a file"]),
    "bytes of images": (frame(text=objects({"bytes": b"a"}, {"bytes": b"b"})), ["'text'", "write each to a file"]),
    "a list of rows": ([("a", "b")], ["a path or a pandas DataFrame, not a list"]),
    "a frame of another library": (Polars(), ["pandas DataFrame, not a ", ".Polars"]),
    "a frame that knows pandas": (Dataset(), ["pandas DataFrame, not a ", ".Dataset. Pass what its to_pandas() gives"]),
    "a frame that Arrow cannot read": (Torn(), [".Torn cannot be read", "no such column"]),
    "a series": (pd.Series(TEXTS), ["not a pandas.Series"]),
    "nothing": (None, ["not a NoneType"]),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words"), REFUSED.values(), ids=REFUSED)
def test_frame_is_refused(data, words):
    with pytest.raises(AutoTLError) as refusal:
        inspect_table(data)
    said = str(refusal.value)
    assert all(word in said for word in words), said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("cell", [["a", "b"], {"body": "a"}, b"a", np.zeros(2)])
def test_column_of_nested_cells_is_no_text_though_it_was_chosen(cell):
    data = frame(text=pd.Series([*TEXTS[:-1], cell], dtype=object))
    with pytest.raises(AutoTLError, match=f"row 40: column 'text' holds a value of type {type(cell).__name__}"):
        inspect_table(data, Overrides(text="text"))
