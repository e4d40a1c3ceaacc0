"""Classes and labels that one row has: a search goes on without a few of them, and its scores say so."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest

import autotl
from autotl.cli.main import main
from autotl.data.audit import audit
from autotl.data.inspection import inspect_table
from autotl.data.roles import Overrides
from autotl.errors import DataError
from autotl.plugins.contracts import ZooContext
from autotl.predictor import metrics
from autotl.testing import make_bundle

REASON = "the only row of its class"


def frame(labels):
    """Texts that differ in what no class has to do with."""
    return pd.DataFrame({"text": [f"review number {n} was written" for n in range(len(labels))], "label": labels})


def test_the_only_row_of_a_class_is_set_aside_and_told():
    found = inspect_table(frame(["good", "bad"] * 20 + ["odd", "even"]))
    assert found.task.kind == "binary"
    assert found.task.classes == ("bad", "good")
    assert found.task.unlearned == ("even", "odd")
    assert found.set_aside == ((40, REASON), (41, REASON))
    assert found.kept.tolist() == list(range(40))
    assert found.targets.tolist() == [1, 0] * 20
    (note,) = found.notes
    assert "2 rows that are the only ones of their classes, such as DataFrame: row 42 ('even')" in note
    assert "count as errors" in note
    assert audit(found).facts["set_aside"] == {REASON: 2}


def test_a_class_left_with_one_usable_row_is_set_aside_too():
    table = frame(["good", "bad"] * 50)
    table.loc[[20, 30], "label"] = "rare"
    table.loc[20, "text"] = None
    found = inspect_table(table)
    assert found.set_aside == ((20, "no input"), (30, REASON))
    assert any("1 row that is the only one of its class, DataFrame: row 31 ('rare')" in note for note in found.notes)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["good"] * 50 + ["bad"], "row 51: class 'bad' has only one row"),
        (["good", "bad"] * 3 + ["odd"], "row 7: class 'odd' has only one row"),
        ([*["a", "b", "c"] * 20, "d", "e", "f", "g"], "row 61: 4 classes have only one row.*choose it with --target"),
        (["a", "b", "c", "d", "e", "f"] * 4 + ["g", "h", "i"], "row 25: 3 classes have only one row"),
        ([*range(10)] * 9 + [10, 11, 12], "row 91: 3 classes have only one row.*--task regression"),
    ],
    ids=["one class left", "a seventh of the rows", "most of the classes", "a ninth of the rows", "a tail of counts"],
)
def test_too_many_of_them_are_refused(labels, told):
    with pytest.raises(DataError, match=told):
        inspect_table(frame(labels))


def test_stars_of_which_one_row_has_one_are_classes_and_the_other_reading_is_told():
    found = inspect_table(frame([2, 3, 4, 5] * 10 + [1]))
    assert found.task.classes == ("2", "3", "4", "5")
    assert any("--task regression" in note for note in found.notes)


def test_a_label_of_one_row_is_not_learned_and_its_row_is():
    found = inspect_table(frame([["a"], ["b"], ["a", "b"], []] * 5 + [["a", "odd"]]))
    assert found.task.classes == ("a", "b")
    assert found.task.unlearned == ("odd",)
    assert found.targets.shape == (21, 2)
    assert found.targets[20].tolist() == [1, 0]
    assert found.set_aside == ()
    assert any("label 'odd' in DataFrame: row 21 has fewer than two rows" in note for note in found.notes)


def test_of_labels_the_share_of_all_that_rows_have_counts():
    """One row in nine has a tag of its own, and one tag in 28 is such a one."""
    tags = [["a", "b", "c"], ["a", "c", "d"]] * 30
    for number in range(7):
        tags[8 * number] = [*tags[8 * number], f"own {number}"]
    found = inspect_table(frame([*tags, ["a", "e", "f", "g"], ["b", "e", "f", "g"]]))
    assert found.task.classes == tuple("abcdefg")
    assert len(found.task.unlearned) == 7
    tags = [["a"], ["b"], ["c"], ["d"]] * 6 + [["a", f"own {number}"] for number in range(4)]
    with pytest.raises(DataError, match="4 labels have fewer than two rows, such as 'own 0'"):
        inspect_table(frame([*tags, ["a", "b"], ["c", "d"]]))


def test_columns_of_labels_keep_their_places_around_one_that_is_not_learned():
    table = frame([""] * 40).drop(columns="label")
    table = table.assign(x=[0, 1] * 20, rare=[1] + [0] * 39, y=[0, 0, 1, 1] * 10, z=[1, 0, 0, 0] * 10)
    found = inspect_table(table, Overrides(target=("x", "rare", "y", "z")))
    assert found.task.classes == ("x", "y", "z")
    assert found.targets.tolist() == table[["x", "y", "z"]].to_numpy().tolist()


def test_costs_may_name_a_class_that_is_not_learned(tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text("is,bad,odd,good\nbad,0,5,2\nodd,7,0,8\ngood,1,5,0\n", encoding="utf-8")
    task = inspect_table(frame(["good", "bad"] * 20 + ["odd"]), costs=path).task
    assert task.costs == ((0.0, 2.0), (1.0, 0.0), (7.0, 8.0))
    answers = np.array([[0.4, 0.6], [0.2, 0.8]], np.float32)  # bad for good costs 0.6 and 0.8, good for bad 0.8 and 0.4
    assert task.rules.told(task, answers, {}).tolist() == ["bad", "good"]
    assert task.rules.portable(task, {}) == {"costs": task.costs[:2]}
    assert metrics.score(task.whole, np.array([0, 2]), answers, decided=np.array([0, 1])) == -4.0
    path.write_text("is,bad,good\nbad,0,2\ngood,1,0\n", encoding="utf-8")
    with pytest.raises(DataError, match="column 'is' lacks 'odd'"):
        inspect_table(frame(["good", "bad"] * 20 + ["odd"]), costs=path)


def test_a_class_whose_rows_are_all_in_one_group_is_learned_and_told():
    table = frame(["good", "bad"] * 20 + ["odd"] * 3).assign(author=[str(n) for n in range(40)] + ["one"] * 3)
    found = audit(inspect_table(table, Overrides(group="author")))
    assert found.inspection.task.classes == ("bad", "good", "odd")
    assert any("all rows of 'odd' belong together" in note for note in found.notes)


@pytest.fixture(scope="module")
def searched(command_line, zoo, table, new_table, tmp_path_factory):
    """A search in whose table one row has a class of its own, and two of the rows to test on."""
    folder = tmp_path_factory.mktemp("rare")
    for name, path, others in (("table.csv", table, 1), ("test.csv", new_table, 2)):
        food = pd.DataFrame([{"text": f"sushi and rice number {n} in {name}", "label": "food"} for n in range(others)])
        pd.concat([pd.read_csv(path), food]).to_csv(folder / name, index=False)
    answer = command_line(
        "search", "--data", "table.csv", "--test", "test.csv", "--models", zoo, "--trials", 1, "--out", "run",
        cwd=folder,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    return folder, answer


def test_a_search_goes_on_and_lists_what_it_set_aside(searched):
    folder, answer = searched
    with (folder / "run" / "set_aside.csv").open(encoding="utf-8", newline="") as file:
        assert [(row["row"], row["reason"], row["label"]) for row in csv.DictReader(file)] == [("201", REASON, "food")]
    assert "table.csv: row 201 ('food')" in answer.stdout + answer.stderr
    assert "2 with a class or label that was not learned" in " ".join(answer.stdout.split())
    again = audit(inspect_table(folder / "table.csv"), chosen=folder / "run" / "set_aside.csv")
    assert again.inspection.set_aside == ((200, REASON),)


def test_rows_of_a_class_that_was_not_learned_count_as_errors(searched, here, capsys):
    folder, _ = searched
    model = autotl.load(folder / "run")
    assert list(model.classes_) == ["animal", "plant", "stone"]
    test = pd.read_csv(folder / "test.csv")
    known, found = model.evaluate(test[test["label"] != "food"]), model.evaluate(test)
    assert (known.rows, known.unlearned, found.rows, found.unlearned) == (60, 0, 62, 2)
    assert found.score == pytest.approx(known.score * 60 / 62)
    assert found.scores["balanced_accuracy"] == pytest.approx(known.scores["balanced_accuracy"] * 3 / 4)
    assert found.scores["neg_log_loss"] < known.scores["neg_log_loss"]
    assert found.interval[0] <= found.score <= found.interval[1]
    assert found.breakdown.rows == ("animal", "plant", "stone", "food")
    assert found.breakdown.values[3].sum() == 2
    assert found.breakdown.values[:, 3].sum() == 0
    with pytest.raises(DataError, match="'foood', which is not one of the classes"):
        model.evaluate(["a text"], ["foood"])
    capsys.readouterr()
    assert main(["evaluate", str(folder / "run"), "--data", str(folder / "test.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unlearned"] == 2


def test_an_export_is_compared_by_the_rows_that_were_learned(searched, here, tmp_path):
    folder, _ = searched
    assert main(["export", str(folder / "run"), "--to", "torch", "--out", str(tmp_path / "out")]) == 0


def test_metrics_of_two_classes_do_not_fit_a_third_that_was_not_learned():
    task = inspect_table(frame(["good", "bad"] * 20 + ["odd"])).task
    for metric in ("roc_auc", "average_precision"):
        assert task.rules.can_score(task, metric, np.array([0, 1, 1]))
        assert not task.rules.can_score(task.whole, metric, np.array([0, 1, 2]))
    assert task.rules.can_score(task.whole, "accuracy", np.array([0, 1, 2]))


def test_labels_that_were_not_learned_count_as_missed(here, tiny, zoo, tmp_path):
    texts = ["a cat on a horse", "oak and fern", "slate and marble", "a dog"]
    made = make_bundle(tiny, tiny.candidates(ZooContext((zoo,)))[:1], texts, tmp_path / "run", classes=("a", "b"))
    card = json.loads((made.folder / "bundle.json").read_text(encoding="utf-8"))
    card["task"] |= {"kind": "multilabel", "metric": "micro_f1", "unlearned": ["odd"]}
    card["calibration"] = {"thresholds": [[0.0, 0.0]]}
    (made.folder / "bundle.json").write_text(json.dumps(card), encoding="utf-8")
    model = autotl.load(made.folder)
    known, found = (
        model.evaluate(texts, [["a", "b"]] * 4),
        model.evaluate(texts, [["a", "b"]] * 3 + [["a", "b", "odd"]]),
    )
    assert (known.score, known.unlearned) == (1.0, 0)
    assert (found.score, found.unlearned) == (pytest.approx(2 * 8 / (8 + 9)), 1)
    assert found.scores["exact_match"] == 0.75
    assert found.breakdown.rows == ("a", "b", "odd")
