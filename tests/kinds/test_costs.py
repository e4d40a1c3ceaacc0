"""What wrong classes cost: the table that says it, and answers that cost least by it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import autotl
from autotl.cli.main import main
from autotl.data.costs import read_costs
from autotl.data.inspection import inspect_table
from autotl.errors import DataError, TaskError
from autotl.predictor import metrics

CLASSES = ("benign", "malignant")
#: To miss what is malignant is nine times as bad as to see it where it is not.
COSTS = "label,benign,malignant\nbenign,0,1\nmalignant,9,0\n"


@pytest.fixture
def costs(tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text(COSTS, encoding="utf-8")
    return path


def frame(rows=120):
    """One word in two hints at what is malignant, and is wrong in a few of the rows."""
    random = np.random.default_rng(0)
    ill = random.random(rows) < 0.5
    seen = ill ^ (random.random(rows) < 0.04)
    words = [f"{'shadow' if there else 'clear'} word{random.integers(30)} {row}" for row, there in enumerate(seen)]
    return pd.DataFrame({"text": words, "label": np.where(ill, "malignant", "benign")})


def test_costs_are_in_the_order_of_the_classes(tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text("is,b,a,10\nb,,2,3\n10,4,5,0.5\na,7,0,-1\n", encoding="utf-8")
    expected = ((0.0, 7.0, -1.0), (2.0, 0.0, 3.0), (5.0, 4.0, 0.5))
    assert read_costs(path, ["a", "b", "10"]) == expected
    path.write_text("is;b;a;10\nb;;2;3\n10;4;5;0,5\na;7;0;-1\n", encoding="utf-8")
    assert read_costs(path, ["a", "b", "10"]) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("label,benign,malign\nbenign,0,1\nmalignant,9,0\n", r"costs.csv: the header has 'malign'.*'malignant'\?"),
        ("label,benign\nbenign,0\nmalignant,9\n", r"costs.csv: the header lacks 'malignant'"),
        ("label,benign,malignant\nbenign,0,1\n", r"costs.csv: column 'label' lacks 'malignant'"),
        ("label,benign,malignant\nbenign,0,1\nbenign,0,1\n", r"column 'label' has class 'benign' twice"),
        ("label,benign,malignant\nbenign,0,high\nmalignant,9,0\n", r"costs.csv: row 1: 'malignant' is 'high'"),
        ("label,benign,malignant\nbenign,0,\nmalignant,9,0\n", r"costs.csv: row 1: 'malignant' is"),
        ("label,benign,malignant\nbenign,0,inf\nmalignant,9,0\n", r"costs.csv: row 1: 'malignant' is 'inf'"),
        ("label,benign,malignant\n", r"costs.csv: the table has no rows"),
    ],
)
def test_a_table_of_costs_that_says_too_little_is_refused(tmp_path, text, told):
    path = tmp_path / "costs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=told):
        read_costs(path, CLASSES)


def test_the_command_says_what_is_wrong_with_costs(tmp_path, capsys):
    frame().to_csv(tmp_path / "table.csv", index=False)
    asked = ["search", "--data", str(tmp_path / "table.csv"), "--out", str(tmp_path / "run")]
    assert main([*asked, "--costs", str(tmp_path / "cost.csv")]) == 2
    assert main([*asked, "--metric", "neg_mean_cost"]) == 2
    told = capsys.readouterr().err
    assert "cost.csv: there is no such file" in told
    assert "say it with --costs FILE" in told
    assert not (tmp_path / "run").exists()


def test_costs_decide_the_metric_unless_a_person_does(costs):
    assert inspect_table(frame(), costs=costs).task.metric == "neg_mean_cost"
    assert inspect_table(frame(), costs=costs, metric="roc_auc").task.metric == "roc_auc"
    with pytest.raises(TaskError, match="is a regression task"):
        inspect_table(frame().assign(label=np.linspace(0, 1, 120)), costs=costs)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20), st.floats(0.1, 20.0), st.floats(0.1, 20.0))
def test_what_is_taken_costs_least_in_expectation(chances, missed, alarm):
    task = inspect_table(frame()).task.model_copy(update={"costs": ((0.0, alarm), (missed, 0.0))})
    answers = np.array([[1 - chance, chance] for chance in chances])
    taken = task.rules.decisions(task, answers, {})
    expected = answers @ np.array(task.costs)
    np.testing.assert_allclose(expected[np.arange(len(taken)), taken], expected.min(1))


def test_probabilities_that_are_weighed_by_costs_are_not_balanced_too(costs):
    asked = inspect_table(frame(), costs=costs, metric="balanced_accuracy").task
    assert (asked.balance, inspect_table(frame(), metric="balanced_accuracy").task.balance) == (0.0, 1.0)


def test_metrics_of_one_class_say_which():
    pytest.importorskip("sklearn")
    for metric in ("recall", "precision", "f1", "average_precision"):
        assert any(f"{metric} asks about" in note for note in inspect_table(frame(), metric=metric).notes)
    for metric in ("accuracy", "roc_auc", "f1_macro", "matthews_corrcoef", "neg_log_loss"):
        assert not any("asks about" in note for note in inspect_table(frame(), metric=metric).notes)


def test_scores_count_what_errors_cost(costs):
    task = inspect_table(frame(), costs=costs).task
    targets, answers = np.array([0, 0, 1, 1]), np.array([[0.95, 0.05], [0.8, 0.2], [0.95, 0.05], [0.4, 0.6]])
    assert metrics.score(task, targets, answers) == pytest.approx(-(0 + 1 + 9 + 0) / 4)
    assert metrics.score(task, targets, answers, metric="accuracy") == 0.5
    low, high = metrics.interval(task.model_copy(update={"metric": "accuracy"}), targets, answers)
    assert (low, high) == metrics.wilson(2, 4)


@pytest.fixture(scope="module")
def searched(command_line, zoo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("costs")
    frame().to_csv(folder / "table.csv", index=False)
    (folder / "costs.csv").write_text(COSTS, encoding="utf-8")
    answer = command_line(
        "search", "--data", "table.csv", "--costs", "costs.csv", "--models", zoo, "--trials", 2, "--out", "run",
        cwd=folder,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return folder


def test_a_search_answers_what_costs_least(searched, here):
    model = autotl.load(searched / "run")
    found, plain = model.evaluate(searched / "table.csv"), frame()
    assert found.metric == "neg_mean_cost"
    assert found.score > -0.45  # taking every row for malignant costs 0.5 to 0.6
    answers, said = model.predict_proba(searched / "table.csv"), model.predict(searched / "table.csv")
    assert said.tolist() == np.array(CLASSES)[(answers[:, 1] > 0.1).astype(int)].tolist()
    costs = pd.read_csv(searched / "costs.csv", index_col=0)
    mean = np.mean([costs.loc[true, taken] for true, taken in zip(plain["label"], said, strict=True)])
    assert found.score == pytest.approx(-mean)
    page = (searched / "run" / "report.html").read_text(encoding="utf-8")
    assert re.search(r"--costs \S*costs\.csv", page)


def test_an_export_answers_what_costs_least(searched, here, tmp_path):
    autotl.export(searched / "run", to="torch", out=tmp_path / "out")
    (tmp_path / "texts.json").write_text(json.dumps(frame()["text"].tolist()), encoding="utf-8")
    code = "import json, predict; print(json.dumps(predict.predict(json.load(open('../texts.json')))))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == autotl.load(searched / "run").predict(frame()).tolist()


def test_costs_that_moved_are_asked_for_when_a_run_goes_on(searched, command_line):
    (searched / "costs.csv").rename(searched / "moved.csv")
    try:
        lost = command_line("resume", "run", "--trials", "+1", cwd=searched)
        assert lost.returncode == 2
        assert "--costs PATH" in lost.stderr
        found = command_line("resume", "run", "--trials", "+1", "--costs", "moved.csv", cwd=searched)
        assert found.returncode == 0, found.stderr
    finally:
        (searched / "moved.csv").rename(searched / "costs.csv")
