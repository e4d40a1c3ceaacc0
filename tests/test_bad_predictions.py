"""The corpus of bad tables to predict and to score: a row gets its answer or its reason, or the table one clear line.

All share one small bundle of the tiny family; its model is not good, only there.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autotl.cli.main import main
from autotl.data.tables import read_table
from autotl.data.task import InputColumn, Task
from autotl.data.text_files import PART_ROWS
from autotl.errors import AutoTLError
from autotl.plugins.contracts import ZooContext
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import BundleCard, Member, commit

CLASSES = ("1", "New York", "[/b]")
THIRD_PARTY = Path(__file__).parent / "thirdparty"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, zoo):
    """A bundle for texts in the column ``text``, and its family on the path for the tests of this file."""
    from autotl.features.heads import LinearHead
    from autotl.training.model import Classifier, save_model

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(THIRD_PARTY / "tiny"))
        importlib.invalidate_caches()
        plugins.cache_clear()
        family, folder = plugins().family("tiny"), tmp_path_factory.mktemp("bundle")
        candidate = family.candidates(ZooContext((zoo,)))[0]
        weight = np.random.default_rng(0).normal(size=(candidate.width, len(CLASSES))).astype(np.float32)
        model = Classifier(family.load(candidate), LinearHead(weight, np.zeros(len(CLASSES), np.float32)))
        save_model(model, family, family.encoder(candidate, []), folder / "model")
        card = BundleCard(
            weights="0", score=0.5, optimism=0.0, standard_error=0.1, interval=(0.3, 0.7), chosen_among=1,
            validation_rows=9, training_rows=9, versions={}, created="",
            members=(Member(folder="m", family="tiny", backbone="tiny/one", licence="none", strategy="probe",
                            settings={}, trial="head"),),
            task=Task(targets=("label",), kind="multiclass", classes=CLASSES, metric="accuracy",
                      inputs=(InputColumn(name="text", modality="text"),)),
        )  # fmt: skip
        commit(folder / "best", {"m": folder / "model"}, card)
        yield folder / "best"
    plugins.cache_clear()


@pytest.fixture(scope="module")
def predictor(bundle):
    import autotl

    return autotl.load(bundle)


TEXTS = ["a cat sat", "an oak fell", "of slate"]


def table(**columns):
    return pd.DataFrame({"text": TEXTS, **columns})


ANSWERED = {
    "columns too many": (table(more=1, other=[["a"]] * 3), 3),
    "two thousand columns too many": (pd.concat([table(), pd.DataFrame(0, range(3), range(2000))], axis=1), 3),
    "labels that are no classes": (table(label=["ugly", None, 7.5]), 3),
    "nested labels": (table(label=[["a"], {"b": 1}, b"c"]), 3),
    "one row": (table().head(1), 1),
    "an index that repeats": (table().set_index(pd.Index([1, 1, 1])), 3),
    "a name with a space": (table().set_axis([" text "], axis=1), 3),
    "texts by category": (table(text=pd.Categorical(TEXTS)), 3),
    "numbers for texts": (table(text=[1, 2.5, True]), 3),
    "half a character": (table(text=pd.Series(["\ud83d", "a", "b"], dtype=object)), 3),
    "words never seen": (table(text=["漢字", "\u200b\u200b a", "ａ"]), 3),
    "a text of a million words": (table(text=["word " * 10**6, "a", "b"]), 3),
    "some texts missing": (table(text=[None, "a cat", " "]), 1),
    "all texts missing": (table(text=[None, "", float("nan")]), "DataFrame: row 1: empty; no row of"),
    "no input": (pd.DataFrame({"txt": TEXTS}), "no column 'text'. Did you mean 'txt'"),
    "two inputs of one name": (pd.concat([table(), table()], axis=1), "'text' names more than one column"),
    "two inputs of nearly one name": (table().set_axis([" text"], axis=1).assign(**{"text ": 1}), "no column 'text'"),
    "names of several levels": (pd.concat({"a": table()}, axis=1), "2 levels of names"),
    "no rows": (table().head(0), "no rows"),
    "no columns": (pd.DataFrame(), "no rows"),
    "nested texts": (table(text=pd.Series(["a", ["b"], "c"])), "row 2: column 'text' holds a value of type list"),
    "a text": ("a cat sat", "no such file"),
    "an address": ("https://example.org/new.csv", "is no path"),
    "a folder": (".", "no class folders"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), ANSWERED.values(), ids=ANSWERED)
def test_prediction(predictor, monkeypatch, tmp_path, data, expected):
    monkeypatch.chdir(tmp_path)
    if isinstance(expected, str):
        with pytest.raises(AutoTLError) as refusal:
            predictor.predict(data)
        assert expected in str(refusal.value)
        return
    answers, probabilities = predictor.predict(data), predictor.predict_proba(data)
    assert len(answers) == len(probabilities) == len(data)
    assert sum(answer in CLASSES for answer in answers) == expected
    answered = ~np.isnan(probabilities).any(1)
    np.testing.assert_allclose(probabilities[answered].sum(1), 1.0, atol=1e-5)
    assert [answer is not None for answer in answers] == answered.tolist()


SCORED = {
    "labels spelled otherwise": (["1.0", "New\u00a0York ", "[/b]"], 3),
    "labels that are numbers": ([1, 1.0, "1"], 3),
    "one class only": (["1", "1", "1"], 3),
    "labels missing": (["1", None, ""], 1),
    "a class that is none": (["1", "2", "1"], "DataFrame: row 2: 'label' is '2'"),
    "a class nearly spelled": (["1", "new york", "1"], "Did you mean 'New York'"),
    "an infinite label": ([1.0, float("inf"), 1.0], "row 2: 'label' is 'inf'"),
    "several labels in a row": ([["1", "[/b]"], ["1"], []], "row 1: 'label' is"),
    "no label": ([None, "", " "], "no row has a label in 'label'"),
}


@pytest.mark.parametrize(("labels", "expected"), SCORED.values(), ids=SCORED)
def test_score(predictor, labels, expected):
    data = table(label=pd.Series(labels, dtype=object))
    if isinstance(expected, str):
        with pytest.raises(AutoTLError) as refusal:
            predictor.evaluate(data)
        assert expected in str(refusal.value)
    else:
        assert predictor.evaluate(data).rows == expected


def test_rows_without_an_answer_are_named_and_kept(bundle, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("text,id\na cat,1\n,2\nan oak,3\n")
    assert main(["predict", str(bundle), "--data", str(tmp_path / "new.csv"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["prediction"] is None for line in out.splitlines()] == [False, True, False]
    assert err == "autotl: new.csv: row 2: empty; left without a prediction\n"


def test_a_large_table_is_predicted_in_parts(bundle, predictor, tmp_path, capsys):
    """As one table would be: a header, the rows in order, and the numbers of rows without an answer."""
    texts = ["", *["a cat"] * (PART_ROWS - 1), *["an oak", ""] * 5]
    data, out = tmp_path / "new.csv", tmp_path / "out.csv"
    pd.DataFrame({"text": texts, "id": range(len(texts))}).to_csv(data, index=False)
    assert main(["predict", str(bundle), "--data", str(data), "--out", str(out)]) == 0
    said = capsys.readouterr().err.splitlines()
    numbers = [1, *(PART_ROWS + row for row in (2, 4, 6, 8))]
    assert said[:5] == [f"autotl: new.csv: row {row}: empty; left without a prediction" for row in numbers]
    assert said[5:] == [
        "autotl: and 1 more row",
        f"{len(texts) - 6} predictions in {out}; 6 rows could not be read and have none",
    ]
    written = pd.read_csv(out, dtype={"prediction": str})
    assert written["id"].tolist() == list(range(len(texts)))
    expected = dict(zip(["a cat", "an oak"], predictor.predict(["a cat", "an oak"]), strict=True))
    assert written["prediction"].replace({np.nan: None}).tolist() == [expected.get(text) for text in texts]


def test_rows_that_can_be_read_may_come_late(bundle, tmp_path, capsys):
    pd.DataFrame({"text": [""] * PART_ROWS + ["a cat"], "id": 1}).to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(bundle), "--data", str(tmp_path / "new.csv")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == PART_ROWS + 2


def test_classes_that_are_markup_are_shown_as_they_are(bundle, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("text,label\na cat,[/b]\nan oak,1\n")
    assert main(["evaluate", str(bundle), "--data", str(tmp_path / "new.csv")]) == 0
    assert "[/b]" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="needs a disk that takes any bytes as a name")
def test_names_of_files_that_are_not_utf_8_are_written_with_question_marks(bundle, tmp_path, capsys):
    shutil.copytree(bundle, tmp_path / "bundle")
    card = (bundle / "bundle.json").read_text().replace('"name": "text"', '"name": "image"')  # the paths as texts
    (tmp_path / "bundle" / "bundle.json").write_text(card)
    (tmp_path / "new" / "a").mkdir(parents=True)
    (tmp_path / "new" / "a" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"")
    command = ["predict", str(tmp_path / "bundle"), "--data", str(tmp_path / "new"), "--out", str(tmp_path / "p.csv")]
    assert main(command) == 0
    assert (tmp_path / "p.csv").read_text().splitlines()[1].startswith("a/caf?.jpg,a,")


@pytest.mark.parametrize("name", ["p.parquet", "p.XLSX", "p.csv.gz", "p.tsv", "p.jsonl"])
def test_csv_is_not_written_under_the_name_of_another_form(bundle, tmp_path, capsys, name):
    (tmp_path / "new.csv").write_text("text\na cat\n")
    assert main(["predict", str(bundle), "--data", str(tmp_path / "new.csv"), "--out", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert (
        said == f"autotl: {tmp_path / name}: predictions are written as CSV; name a file that ends in .csv with --out\n"
    )
    assert not (tmp_path / name).exists()


def test_one_row_without_an_answer_is_one(bundle, tmp_path, capsys):
    (tmp_path / "new.csv").write_text("text,id\na cat,1\n,2\n")
    out = tmp_path / "out.csv"
    assert main(["predict", str(bundle), "--data", str(tmp_path / "new.csv"), "--out", str(out)]) == 0
    told = f"1 prediction in {out}; 1 row could not be read and has none"
    assert capsys.readouterr().err.splitlines()[-1] == told


REFUSED = {
    "no input": ("body,label\na cat,1\n", "new.csv has no column 'text'"),
    "no rows": ("text,label\n", "new.csv: the table has no rows"),
    "a class that is none": ("text,label\na cat,ugly\n", "new.csv: row 1: 'label' is 'ugly'"),
    "no text in any row": ("text,label\n,1\n", "new.csv: row 1: empty"),
    "a prediction already": ("text,label,prediction\na cat,1,2\n", "'prediction'"),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_command_that_is_refused_writes_nothing(bundle, tmp_path, capsys, content, words):
    (tmp_path / "new.csv").write_text(content)
    command = ["evaluate"] if "ugly" in content else ["predict", "--out", str(tmp_path / "out.csv")]
    assert main([*command[:1], str(bundle), "--data", str(tmp_path / "new.csv"), *command[1:]]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert words in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_carriage_returns_come_back_as_they_were(bundle, tmp_path):
    texts = ["one\rtwo", "three\r\nfour", "five\nsix", "seven"]
    rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "new.jsonl").write_text(rows)
    assert (
        main(["predict", str(bundle), "--data", str(tmp_path / "new.jsonl"), "--out", str(tmp_path / "out.csv")]) == 0
    )
    assert read_table(tmp_path / "out.csv").columns["text"] == texts
