"""Whole searches for labels and for numbers, from the table to reports, exports and the service."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from bundle_edits import edit_card
from run_folders import events
from tables_of_kinds import COLOURS

import autotl
from autotl.cli.main import main
from autotl.errors import TaskError


def a_frame(kind, rows=160, seed=0):
    """Texts in which words stand for labels, or their number for a number."""
    random = np.random.default_rng(seed)
    said, targets = [], []
    for number in range(rows):
        words = [f"word{random.integers(40)}" for _ in range(8)]
        given = [colour for colour in COLOURS if random.random() < 0.4]
        said.append(" ".join(random.permutation([*words, *given])) + f" {number}")
        targets.append("|".join(given) if kind == "labels" else 10.5 * len(given) + float(random.normal()))
    return pd.DataFrame({"text": said, "target": targets})


@pytest.fixture(scope="module", params=["labels", "numbers"])
def searched(request, command_line, zoo, tmp_path_factory):
    """A search of three trials of each kind, with test rows: the kind, the run's folder and a table of new rows."""
    folder = tmp_path_factory.mktemp(request.param)
    a_frame(request.param).to_csv(folder / "table.csv", index=False)
    a_frame(request.param, seed=1, rows=60).to_csv(folder / "new.csv", index=False)
    answer = command_line(
        "search", "--data", "table.csv", "--test", "new.csv", "--models", zoo, "--trials", 3, "--out", "run", cwd=folder
    )
    assert answer.returncode == 0, answer.stderr
    return request.param, folder / "run", folder / "new.csv"


def test_a_search_learns_it_and_says_how_well(searched, here):
    kind, folder, new = searched
    model = autotl.load(folder)
    assert model.task.kind == {"labels": "multilabel", "numbers": "regression"}[kind]
    (tested,) = events(folder, "tested")
    found = model.evaluate(new)
    assert tested["score"] == pytest.approx(found.score, abs=1e-6)
    assert found.score > {"labels": 0.7, "numbers": 0.2}[kind]
    assert found.interval[0] <= found.score <= found.interval[1]
    assert set(found.scores) == set(model.task.rules.metrics)
    (floor,) = events(folder, "floor")
    assert floor["majority"] < 0.5 < floor["words"]
    assert found.score > floor["majority"]


@pytest.mark.slow
@pytest.mark.parametrize("rows", [8, 13])
def test_a_handful_of_numbers_is_learned_from(rows, zoo, here, tmp_path):
    found = autotl.fit(a_frame("numbers", rows), models=zoo / "one", trials=1, out=tmp_path / "run", quiet=True)
    assert np.isfinite(found.predict(a_frame("numbers", 5, seed=1))).all()
    (finished,) = events(tmp_path / "run", "finished")
    assert np.isfinite([finished["score"], *finished["interval"]]).all()


def test_a_search_predicts_in_the_words_of_the_table(searched, here, tmp_path):
    kind, folder, new = searched
    model, frame = autotl.load(folder), pd.read_csv(new)
    assert main(["predict", str(folder), "--data", str(new), "--out", str(tmp_path / "out.csv")]) == 0
    written, said = pd.read_csv(tmp_path / "out.csv"), model.predict(new)
    if kind == "labels":
        assert ["|".join(labels) for labels in said] == written["prediction"].fillna("").tolist()
        assert {label for labels in said for label in labels} == set(COLOURS)
        assert model.predict_proba(new).shape == (60, 3)
        assert set(model.classes_) == set(COLOURS)
        with pytest.raises(TaskError, match="no intervals"):
            model.predict_interval(new)
    else:
        np.testing.assert_allclose(said, written["prediction"], rtol=1e-4)
        assert ((written["low_90"] < said) & (said < written["high_90"])).all()
        assert np.corrcoef(said, frame["target"])[0, 1] > 0.5
        assert model.predict_interval(new, 0.5).shape == (60, 1, 2)
        with pytest.raises(TaskError, match="no probabilities"):
            model.predict_proba(new)


def test_its_report_shows_what_it_gets_wrong(searched, here):
    kind, folder, _ = searched
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Most wrong" in page
    words = {"labels": ("any of 3 labels", "threshold"), "numbers": ("a number", "Residuals")}[kind]
    assert all(word in page for word in words)


def test_an_unreadable_row_costs_itself_only(searched, here):
    kind, folder, _ = searched
    told = autotl.load(folder).predict(["red and blue", None])
    assert told[1] is None if kind == "labels" else np.isnan(told[1])


def test_an_export_says_what_the_bundle_says(searched, here, tmp_path):
    _, folder, new = searched
    found = autotl.export(folder, to="torch", out=tmp_path / "export", data=new)
    assert found.difference < 1e-4
    assert found.agreement == 1.0
    answer = subprocess.run(
        [sys.executable, tmp_path / "export" / "predict.py", new], capture_output=True, text=True, check=True
    )
    said = pd.read_csv(io.StringIO(answer.stdout))
    assert main(["predict", str(folder), "--data", str(new), "--out", str(tmp_path / "out.csv")]) == 0
    ours = pd.read_csv(tmp_path / "out.csv")
    assert said.columns.tolist() == ours.columns.tolist()
    pd.testing.assert_frame_equal(said, ours, rtol=1e-3)


def test_a_service_answers_in_the_form_of_its_kind(searched, here):
    pytest.importorskip("starlette")
    from starlette.testclient import TestClient

    from autotl.serving.app import make_app

    kind, folder, _ = searched
    model = autotl.load(folder)
    with TestClient(make_app(model)) as client:
        (row,) = client.post("/predict", json={"texts": ["word1 red word2 blue"]}).json()["predictions"]
        assert client.get("/openapi.json").status_code == 200
    (expected,) = model.predict(["word1 red word2 blue"])
    if kind == "labels":
        assert row["prediction"] == list(expected)
        assert set(row["probabilities"]) == set(COLOURS)
    else:
        assert row["prediction"] == pytest.approx(expected, rel=1e-4)
        low, high = row["intervals"]["target"]
        assert low < row["prediction"] < high


def test_its_report_has_the_thresholds_of_the_bundle(searched, here, tmp_path):
    kind, folder, _ = searched
    if kind != "labels":
        return
    run = shutil.copytree(folder, tmp_path / "run")
    edit_card(run / "best", calibration={"thresholds": [[0.11, 0.22, 0.33]]})
    assert main(["report", str(run)]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    for name, bar in zip(autotl.load(run).task.classes, ("0.11", "0.22", "0.33"), strict=True):
        assert re.search(rf'<td dir="auto">{name}</td><td class="number">\d+</td><td class="number">{bar}</td>', page)
