"""The predictor from Python: lists, frames and files, scikit-learn's manners, notebooks, and logging."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import made_tasks
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import clone, is_classifier
from sklearn.metrics import ConfusionMatrixDisplay, get_scorer
from sklearn.model_selection import KFold, cross_val_score
from sklearn.utils.validation import check_is_fitted
from starlette.testclient import TestClient

import autotl
from autotl.errors import DataError, TaskError
from autotl.plugins.contracts import ZooContext
from autotl.predictor.display import as_html
from autotl.serving.app import make_app
from autotl.testing import make_bundle

TEXTS = ["a cat on a horse", "oak and fern", "slate and marble", "a dog"]
LABELS = ["a", "b", "c", "a"]


@pytest.fixture
def predictor(here, tiny, zoo, tmp_path):
    candidates = tiny.candidates(ZooContext((zoo,)))[:1]
    return make_bundle(tiny, candidates, TEXTS, tmp_path / "run", classes=("a", "b", "c"))


@pytest.mark.parametrize("form", [list, tuple, np.array, pd.Series, iter])
def test_inputs_by_themselves_are_predicted_like_a_table(predictor, form):
    frame = pd.DataFrame({"text": TEXTS})
    np.testing.assert_array_equal(predictor.predict(form(TEXTS)), predictor.predict(frame))
    np.testing.assert_array_equal(predictor.predict_proba(form(TEXTS)), predictor.predict_proba(frame))


@pytest.fixture
def joining(predictor):
    """The same model for a text that is joined of two columns."""
    card = json.loads((predictor.folder / "bundle.json").read_text())
    card["task"]["inputs"] = [{"name": name, "modality": "text"} for name in ("title", "body")]
    (predictor.folder / "bundle.json").write_text(json.dumps(card))
    return autotl.load(predictor.folder)


def test_bundle_that_is_replaced_while_it_is_read_is_read_anew(predictor, tiny, monkeypatch):
    """As by a search at work; the disk may be slow, and the old weights are gone at once."""
    old, card = predictor.card.weights, json.loads((predictor.folder / "bundle.json").read_text())
    restore = type(tiny).restore

    def late(self, folder):
        if old in folder.parts and folder.exists():
            (predictor.folder / old).rename(predictor.folder / "newer")
            (predictor.folder / "bundle.json").write_text(json.dumps(card | {"weights": "newer"}))
        return restore(self, folder)

    monkeypatch.setattr(type(tiny), "restore", late)
    again = autotl.load(predictor.folder)
    assert again.card.weights == "newer"
    np.testing.assert_array_equal(again.predict(TEXTS), predictor.predict(TEXTS))


def test_a_pickle_outlives_the_bundle_that_it_was_made_of(predictor):
    """A search that is resumed takes the old weights away."""
    pickled, old = pickle.dumps(predictor), predictor.card.weights
    card = json.loads((predictor.folder / "bundle.json").read_text())
    (predictor.folder / old).rename(predictor.folder / "newer")
    (predictor.folder / "bundle.json").write_text(json.dumps(card | {"weights": "newer"}))
    again = pickle.loads(pickled)  # made here a moment ago
    np.testing.assert_array_equal(again.predict(TEXTS), predictor.predict(TEXTS))
    assert again.card.weights == "newer"


def test_pickles_hold_where_the_bundle_lies_and_not_its_models(predictor, monkeypatch):
    there = predictor.folder.parents[1]
    monkeypatch.chdir(there)
    relative = autotl.load(predictor.folder.relative_to(there))
    pickled = pickle.dumps(relative)
    assert len(pickled) < 5000
    monkeypatch.chdir("/")
    again = pickle.loads(pickled)  # made here a moment ago
    np.testing.assert_array_equal(again.predict_proba(TEXTS), predictor.predict_proba(TEXTS))
    assert copy.deepcopy(predictor).predict(TEXTS).tolist() == predictor.predict(TEXTS).tolist()


def test_threads_take_turns_and_get_what_one_alone_gets(predictor):
    """Each text by itself and all together: passes of another shape, which would see each other's."""
    again = pickle.loads(pickle.dumps(predictor))  # made here a moment ago; whoever comes first loads its models
    alone = [predictor.predict_proba([text]) for text in TEXTS] + [predictor.predict_proba(TEXTS)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(again.predict_proba, [*([text] for text in TEXTS), TEXTS]))
    for ours, theirs in zip(alone, found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_run_is_where_it_was_after_the_program_has_gone_elsewhere(predictor, monkeypatch):
    there = predictor.folder.parents[1]
    (there / "run" / "events.jsonl").write_text('{"at": 1, "kind": "tested", "score": 0.5}\n')
    monkeypatch.chdir(there)
    runs = [autotl.Run("run"), autotl.Run("run/best")]
    monkeypatch.chdir("/")
    for run in runs:
        assert run.test == {"score": 0.5}
        assert run.predict(TEXTS).tolist() == predictor.predict(TEXTS).tolist()
        assert Path(run) == there / "run"
        assert autotl.load(run).folder == predictor.folder


def test_displays_of_scikit_learn_take_it_and_nothing_fits_it_again(predictor):
    rows = pd.DataFrame({"text": TEXTS})
    shown = ConfusionMatrixDisplay.from_estimator(predictor, rows, LABELS)
    assert shown.confusion_matrix.sum() == 4
    check_is_fitted(predictor)
    with pytest.raises(TaskError, match="fitted already"):
        cross_val_score(predictor, rows, LABELS, error_score="raise", cv=KFold(2))


def test_several_texts_are_joined_with_their_names_before_they_are_predicted(predictor, joining):
    rows = [("a cat", "on a horse"), ("oak", None), (None, None)]
    joined = ["title: a cat\nbody: on a horse", "title: oak", None]
    frame = pd.DataFrame(rows, columns=["title", "body"])
    expected = predictor.predict_proba(joined)
    assert np.isnan(expected[2]).all()
    for data in (rows, [list(row) for row in rows], frame, frame[["body", "title"]]):
        np.testing.assert_array_equal(joining.predict_proba(data), expected)
    with pytest.raises(DataError, match="row 1: Each input is a tuple of 2 cells, 'title', 'body', not 'a cat'"):
        joining.predict(["a cat"])
    assert "(&#x27;a title&#x27;, &#x27;a body&#x27;)" in joining._repr_html_()
    with TestClient(make_app(joining)) as client:
        (row,) = client.post("/predict", json={"texts": [["oak", ""]]}).json()["predictions"]
        assert row["prediction"] == predictor.predict([joined[1]])[0]
        assert client.post("/predict", json={"texts": [["", " "]]}).json() == {"detail": "input 0 is empty"}
        assert client.post("/predict", json={"texts": ["oak"]}).status_code == 422


class Foreign:
    """A frame of another library: it has columns and knows Arrow's protocol."""

    def __init__(self, table):
        self._table, self.columns = table, table.column_names

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


ROWS = [("a cat", "on a horse"), ("oak", None), (None, None)]
TABLE = pa.table({"body": [body for _, body in ROWS], "title": [title for title, _ in ROWS], "other": [1, 2, 3]})
FORMS = [np.array(ROWS, object), np.array(ROWS, object).tolist(), TABLE, TABLE.to_batches()[0], Foreign(TABLE)]


@pytest.mark.parametrize("data", FORMS, ids=["array", "lists", "Arrow", "batch", "foreign"])
def test_arrays_and_tables_of_other_libraries_are_read_for_several_columns(joining, data):
    labels = ["a", "b", "a"]
    np.testing.assert_array_equal(joining.predict_proba(data), joining.predict_proba(ROWS))
    assert joining.predict(data).tolist() == joining.predict(ROWS).tolist()
    assert joining.evaluate(data, labels).scores == joining.evaluate(ROWS, labels).scores


def test_columns_of_arrow_are_inputs_and_labels_as_lists_are(predictor):
    texts, labels = [*TEXTS, None], [*LABELS, "a"]
    for column in (pa.array, pa.chunked_array):
        nested = [texts] if column is pa.chunked_array else texts
        np.testing.assert_array_equal(predictor.predict_proba(column(nested)), predictor.predict_proba(texts))
        assert predictor.evaluate(texts, pa.array([*LABELS, None])).rows == 4
    for given in (pa.array(labels), pd.DataFrame({"label": labels}), pa.table({"other": labels, "label": labels})):
        assert predictor.score(texts, given) == predictor.score(texts, labels)
    with pytest.raises(DataError, match=r"DataFrame has no column 'label'\. Did you mean 'labels'"):
        predictor.score(texts, pd.DataFrame({"labels": labels}))


def test_what_has_no_cell_for_each_column_is_refused_with_the_way_out(predictor, joining):
    for model, data, words in (
        (joining, np.array([["a", "b", "c"]]), "rows of 3 cells, and 2 are read: 'title', 'body'. Leave out the rest"),
        (joining, np.array(["a cat"]), "row 1: Each input is a tuple of 2 cells, 'title', 'body', not"),
        (joining, {"title": ["a"]}, "a path, a DataFrame, or a list of tuples of 'title', 'body', not a dict"),
        (predictor, np.array([["a"], ["b"]]), "rows of 1 cell, and the model reads 'text' alone. Pass array[:, 0]"),
        (predictor, {"text": ["a"]}, "a path, a DataFrame, or a list of texts or of paths of images, not a dict"),
        (predictor, Foreign(pa.table([["a"], ["b"]], names=["text", "text"])), "'text' names more than one column"),
        (predictor, pa.table({"body": ["a"]}), "Table has no column 'text'"),
    ):
        with pytest.raises(DataError) as refusal:
            model.predict(data)
        assert words in str(refusal.value)


def test_a_word_is_a_file_and_not_a_text(predictor):
    with pytest.raises(DataError, match="no such file"):
        predictor.predict("a cat on a horse")


@pytest.mark.parametrize("data", [[], np.array([["a"], ["b"]]), {"text": ["a"]}, 7, b"text"])
def test_what_is_no_list_of_inputs_is_refused(predictor, data):
    with pytest.raises(DataError):
        predictor.predict(data)


def test_rows_of_a_list_that_cannot_be_read_have_no_answer(predictor):
    assert predictor.predict(["a cat", None, " "])[1:].tolist() == [None, None]
    with pytest.raises(DataError, match="the list: row 1"):
        predictor.predict([None])


MISSING = [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT, np.datetime64("NaT"), Decimal("NaN"), Decimal("sNaN")]


@pytest.mark.parametrize("missing", MISSING, ids=repr)
def test_whatever_stands_for_nothing_is_a_row_without_an_answer(predictor, joining, missing):
    for data in (["a cat", missing], pd.Series(["a cat", missing], dtype=object), np.array(["a cat", missing], object)):
        assert predictor.predict(data).tolist() == [predictor.predict(["a cat"])[0], None]
        assert np.isnan(predictor.predict_proba(data)).all(1).tolist() == [False, True]
    with pytest.raises(DataError, match="the list: row 1: empty; no row of the list can be read"):
        predictor.predict([missing])
    for row in ("oak", missing), (missing, "oak"):
        plain = tuple(cell if isinstance(cell, str) else None for cell in row)
        np.testing.assert_array_equal(joining.predict_proba([row]), joining.predict_proba([plain]))
    assert predictor.evaluate(TEXTS, [*LABELS[:3], missing]).left_out == 1


def test_score_is_that_of_evaluate_with_labels_beside_or_in_the_table(predictor):
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS})
    share = float((predictor.predict(TEXTS) == np.array(LABELS)).mean())
    assert predictor.score(frame) == predictor.score(TEXTS, LABELS) == predictor.evaluate(frame).score == share
    assert predictor.score(frame, ["a"] * 4) == float((predictor.predict(TEXTS) == "a").mean())
    with pytest.raises(DataError, match="4 rows and 3 labels"):
        predictor.score(TEXTS, LABELS[:3])


def test_scikit_learn_takes_it_for_a_classifier(predictor):
    assert is_classifier(predictor)
    assert get_scorer("accuracy")(predictor, TEXTS, LABELS) == predictor.score(TEXTS, LABELS)
    assert get_scorer("neg_log_loss")(predictor, TEXTS, LABELS) < 0
    copy = clone(predictor)
    assert copy is not predictor
    assert copy.get_params() == predictor.get_params()
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), predictor.predict_proba(TEXTS))


class Tags(HTMLParser):
    """Which elements a page has."""

    def __init__(self, page):
        super().__init__()
        self.found = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("0", "1", "10"), np.int64),
        (("-1", "0", "1"), np.int64),
        (("False", "True"), np.bool_),
        (("FALSE", "TRUE"), np.bool_),
        (("0.0", "1.0", "2.0"), np.float64),
    ],
)
def test_classes_come_back_as_pandas_reads_them(tiny, zoo, tmp_path, names, kind):
    """So that what is predicted compares with the column that was learned."""
    texts = ["one two", "three four", "five six"]
    model = make_bundle(tiny, tiny.candidates(ZooContext((zoo,)))[:1], texts, tmp_path / "run", classes=names)
    said = model.predict(texts)
    assert said.dtype == model.classes_.dtype == kind
    assert said.tolist() == model.classes_[model.predict_proba(texts).argmax(1)].tolist()
    assert model.classes_.tolist() == pd.read_csv(io.StringIO("\n".join(["class", *names])))["class"].tolist()
    assert get_scorer("accuracy")(model, texts, said) == 1.0
    with_a_gap = model.predict([*texts, None])
    assert with_a_gap.tolist() == [*said.tolist(), None]


@pytest.mark.parametrize(
    "names",
    [
        ("01", "2", "3"),
        ("1", "2", "x"),
        ("False", "True", "maybe"),
        ("1.5", "2", "3"),
        ("3.1", "3.10", "3.9"),
        ("true", "TRUE", "false"),
        ("0.5", "1.0", "1.5"),
    ],
)
def test_other_classes_are_strings(tiny, zoo, tmp_path, names):
    texts = ["one two", "three four", "five six"]
    model = make_bundle(tiny, tiny.candidates(ZooContext((zoo,)))[:1], texts, tmp_path / "run", classes=names)
    assert model.classes_.tolist() == list(names)
    assert set(model.predict(texts)) <= set(names)


def test_a_notebook_shows_the_answer_and_runs_nothing_of_the_table(predictor):
    shown = predictor._repr_html_()
    assert "none of tiny/one" in shown
    assert "predict_proba" in shown
    numbers = as_html(predictor.card.model_copy(update={"task": made_tasks.of_numbers()}))
    assert "predict_interval" in numbers
    assert "predict_proba" not in numbers
    assert "0.5000 (95 %: 0.3000 to 0.7000)" in shown
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    task = predictor.task
    named = task.model_copy(
        update={"target": evil, "inputs": (task.inputs[0].model_copy(update={"name": evil}),), "metric": evil}
    )
    page = as_html(predictor.card.model_copy(update={"task": named}))
    assert "alert(1)" in page
    assert Tags(page).found == {"div", "p", "strong", "pre"}
    assert repr(predictor).startswith("<Predictor none of tiny/one")


def test_logging_is_left_to_the_program():
    code = "import logging, autotl; logging.getLogger('autotl.x').error('said'); print(logging.getLogger().handlers)"
    root = Path(autotl.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("autotl").handlers)
