"""What a table asks: labels and numbers beside classes, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from tables_of_kinds import COLOURS, inspected, numbers, some_labels, texts

from autotl.data.inspection import inspect_table
from autotl.data.roles import Overrides
from autotl.data.tables import read_table
from autotl.data.task import encode_targets
from autotl.errors import DataError, TaskError
from autotl.kinds.numbers import in_units


@pytest.mark.parametrize("delimiter", ["|", ";", ", ", "、", "，", "；", "،"])
def test_cells_that_combine_few_labels_are_several_labels(delimiter):
    found = inspected(labels=[delimiter.join(given) for given in some_labels(60)])
    assert (found.task.kind, found.task.metric) == ("multilabel", "mean_average_precision")
    assert found.task.classes == ("blue", "green", "red")
    given = [{name for name, there in zip(found.task.classes, row, strict=True) if there} for row in found.targets]
    assert given == [set(labels) for labels in some_labels(60)]
    assert any("none of the labels" in note for note in found.notes)


def test_lists_are_labels():
    found = inspected(labels=some_labels(40))
    assert found.task.kind == "multilabel"
    assert found.targets.shape == (40, 3)


@pytest.mark.parametrize("spelled", [str, json.dumps])
def test_texts_that_spell_lists_are_labels_too(spelled):
    found = inspected(labels=[spelled(labels) for labels in some_labels(40)])
    lists = inspected(labels=some_labels(40))
    assert found.task == lists.task
    np.testing.assert_array_equal(found.targets, lists.targets)
    other = read_table(pd.DataFrame({"labels": [spelled(["blue", "red"]), None]}))
    np.testing.assert_array_equal(encode_targets(other, lists.task)[0], [[1, 0, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    "names", [["[a]", "[b]"], ["['a']", "b"], ["[['a']]", "[['b']]"], ["[" * 20_000 + "]" * 20_000, "[]"]]
)
def test_texts_that_spell_no_lists_of_labels_stay_classes(names):
    assert inspected(labels=names * 10).task.kind == "binary"


def test_names_in_lists_of_objects_are_labels_and_what_is_missing_in_a_list_is_none():
    given = some_labels(40)
    spelled = [json.dumps([{"id": len(name), "name": name} for name in names]) for names in given]
    np.testing.assert_array_equal(inspected(labels=spelled).targets, inspected(labels=given).targets)
    objects = [json.loads(cell) for cell in spelled]
    np.testing.assert_array_equal(inspected(labels=objects).targets, inspected(labels=given).targets)
    spelled = [str([*names, None]) for names in given]
    np.testing.assert_array_equal(inspected(labels=spelled).targets, inspected(labels=given).targets)


def test_lists_as_numpy_prints_them_are_labels_and_their_types_are_cut_nowhere():
    given = some_labels(60)
    with_types = [f"[{', '.join(f'np.str_({name!r})' for name in names)}]" for names in given]
    assert inspected(labels=with_types).task.kind != "multilabel"
    for numbered in (False, True):
        rows = [[COLOURS.index(name) for name in names] for names in given] if numbered else given
        printed, lists = inspected(labels=[str(np.array(names)) for names in rows]), inspected(labels=rows)
        np.testing.assert_array_equal(printed.targets, lists.targets)


def test_few_words_in_many_ways_are_labels_and_names_of_several_words_are_not():
    words = ["healthy", "scab", "rust", "frog_eye", "mildew"]
    cells = [" ".join(words[n] for n in range(5) if row >> n & 1) or "healthy" for row in range(32)] * 4
    cells = [cell for cell in cells if len(cell.split()) < 4]
    found = inspected(labels=cells)
    assert found.task.kind == "multilabel"
    assert set(found.task.classes) == set(words)
    names = ["credit card", "bank account or service", "debt", "student loan", "money transfer", "mortgage"] * 20
    assert inspected(labels=names).task.kind == "multiclass"
    parts = ["arm", "left arm", "right arm", "upper left arm", "lower left arm", "upper right arm", "lower right arm"]
    parts += [name.replace("arm", "leg") for name in parts]
    assert inspected(labels=parts * 10).task.kind == "multiclass"
    kept = inspected(labels=names, task="multilabel")
    assert set(kept.task.classes) == set(names)
    spread = inspected(labels=[cell.replace(" ", "\n") for cell in cells])
    assert set(spread.task.classes) == set(words)
    asked = inspected(labels=["a b", "a", "b c", "c", "a c", "b"] * 10, task="multilabel")
    assert set(asked.task.classes) == {"a", "b", "c"}


def test_columns_of_minus_one_and_one_are_labels():
    flags = {colour: [2 * int(colour in given) - 1 for given in some_labels(50)] for colour in COLOURS}
    zeros = {colour: [int(colour in given) for given in some_labels(50)] for colour in COLOURS}
    found = inspected(COLOURS, **flags)
    np.testing.assert_array_equal(found.targets, inspected(COLOURS, **zeros).targets)
    uncertain = flags | {COLOURS[0]: [0, *flags[COLOURS[0]][1:]]}
    assert inspected(COLOURS, **uncertain).task.kind == "regression"


def test_prices_with_points_between_thousands_are_no_labels():
    prices = [f"{n % 9},{n % 4}0 €" if n % 9 else f"1.29{n % 4},00 €" for n in range(72)]
    assert inspected(price=prices, target="price").task.kind != "multilabel"
    codes = ["01,02", "03", "01,03", "02,03", "01", "02", "01,04", "02,04", "03,04"] * 8
    assert inspected(labels=codes).task.kind == "multilabel"


def test_columns_of_zeros_and_ones_are_labels():
    columns = {colour: [int(colour in given) for given in some_labels(50)] for colour in COLOURS}
    found = inspected(COLOURS, **columns)
    assert (found.task.kind, found.task.classes, found.task.target) == (
        "multilabel",
        tuple(COLOURS),
        "red, green, blue",
    )
    np.testing.assert_array_equal(found.targets, np.array(list(columns.values())).T)


@pytest.mark.parametrize(
    "names", [["Paris, France", "Lyon, France", "Rome, Italy"], ["yes; sure", "no; never", "perhaps"]]
)
def test_names_with_commas_stay_classes(names):
    assert inspected(labels=names * 10).task.classes == tuple(sorted(names))


def test_quantities_are_numbers_and_several_columns_of_them_too():
    assert inspected("price", price=numbers(50)).task.kind == "regression"
    found = inspected(["x", "y"], x=numbers(50), y=numbers(50, seed=1))
    assert (found.task.kind, found.targets.shape) == ("regression", (50, 2))
    counts = {"x": [0, 1] * 25, "y": [0, 1, 2, 1, 0] * 10}
    assert inspected(["x", "y"], **counts).task.kind == "regression"
    slip = {"x": [0, 1] * 25, "y": [*[0, 1] * 24, 0, 2]}
    assert inspected(["x", "y"], task="regression", **slip).task.kind == "regression"
    np.testing.assert_allclose(found.targets.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(found.targets.std(0), 1, atol=1e-5)


def with_commas(numbers, digits=2):
    return [f"{number:.{digits}f}".replace(".", ",") for number in numbers]


def test_numbers_with_a_decimal_comma_are_numbers():
    found = inspected("price", price=with_commas(numbers(50)))
    assert found.task.kind == "regression"
    np.testing.assert_allclose(found.targets, inspected("price", price=numbers(50)).targets)
    assert any("decimal commas: 20,63 is read as 20.63" in note for note in found.notes)
    several = inspected(["x", "y"], x=with_commas(numbers(50)), y=numbers(50, seed=1))
    assert (several.task.kind, several.targets.shape) == ("regression", (50, 2))


def test_numbers_with_a_unit_behind_them_are_learned_without_it():
    days = [f"{number} Tage" for number in ["0", *with_commas(numbers(50))]]
    found = inspected("stay", stay=days)
    assert (found.task.kind, found.task.scales[0].unit) == ("regression", "Tage")
    np.testing.assert_allclose(
        found.targets, inspected("stay", stay=[0.0, *numbers(50).round(2)], task="regression").targets, atol=1e-6
    )
    assert any("'Tage'" in note and "--task multiclass" in note for note in found.notes)
    plain = read_table(pd.DataFrame({"stay": ["0", "20,5"]}))
    tagged = read_table(pd.DataFrame({"stay": ["0 Tage", "20,5 Tage"]}))
    np.testing.assert_array_equal(encode_targets(plain, found.task)[0], encode_targets(tagged, found.task)[0])
    with pytest.raises(DataError, match="'stay' has numbers in 'Wochen', and the model learned them in 'Tage'"):
        encode_targets(read_table(pd.DataFrame({"stay": ["1 Wochen"]})), found.task)


@pytest.mark.parametrize(("one", "several"), [("day", "days"), ("Tag", "Tage"), ("Stunde", "Stunden")])
def test_the_singular_of_a_unit_is_the_unit(one, several):
    stays = [f"{n} {one if n == 1 else several}" for n in [*range(1, 58), 1, 1]]
    found = inspected("stay", stay=stays)
    assert (found.task.kind, found.task.scales[0].unit) == ("regression", several)
    encode_targets(read_table(pd.DataFrame({"stay": [f"1 {one}"]})), found.task)
    assert inspected("what", what=[f"{1 + n % 3} {one if n % 2 else several}" for n in range(60)]).task.classes


def test_codes_with_zeros_ahead_are_names():
    assert inspected("code", code=[f"{n % 120 * 7:05d}" for n in range(480)]).task.kind == "multiclass"


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("${:,.0f}".format, "$"),
        ("€ {:.2f}".format, "€"),
        ("{:,.2f}".format, ""),
        (lambda price: f"{price * 40:,.0f}", ""),
    ],
)
def test_prices_are_numbers_whatever_stands_between_their_thousands(written, unit):
    prices = np.exp(numbers(120) / 8) * 900
    found = inspected("price", price=[*map(written, prices), "N/A", "N/A"])
    assert (found.task.kind, found.task.scales[0].unit) == ("regression", unit)
    assert found.task.scales[0].thousands == ("," in written(1e6))
    plain = inspected("price", price=[float(written(price).strip("$€ ").replace(",", "")) for price in prices])
    np.testing.assert_allclose(found.targets, plain.targets, atol=1e-5)
    assert len(found.kept) == len(prices)
    lone = read_table(pd.DataFrame({"price": [written(1234.0)]}))  # which alone may be a decimal comma
    there = float(written(1234.0).strip("$€ ").replace(",", ""))
    (code,), _ = encode_targets(lone, found.task)
    (same,), _ = encode_targets(read_table(pd.DataFrame({"price": [there]})), plain.task)
    np.testing.assert_allclose(code, same, atol=1e-5)


def test_points_that_may_stand_between_thousands_of_prices_are_refused():
    cells = [f"€ {number // 1000}.{number % 1000:03d}" for number in range(1000, 9000, 77)]
    with pytest.raises(DataError, match=r"row 1: 'price' is '1\.000', which may be 1\.000 or 1000: .*every point"):
        inspected("price", price=cells)
    assert inspected("price", price=[*cells, "€ 2.50"]).task.kind == "regression"


def test_a_decimal_comma_that_was_learned_is_none_between_thousands():
    found = inspected("price", price=[f"{number:.3f} €".replace(".", ",") for number in numbers(60)] + ["1,7 €"])
    one, same = (read_table(pd.DataFrame({"price": [cell]})) for cell in ("1,659 €", "1,6590 €"))
    np.testing.assert_array_equal(encode_targets(one, found.task)[0], encode_targets(same, found.task)[0])


def test_days_with_the_names_of_months_are_no_labels():
    days = [
        f"{month} {day}, {year}" for month in ("March", "April", "May") for day in range(1, 29) for year in (2020, 2021)
    ]
    table = pd.DataFrame(
        {"text": [f"text {row} of many words" for row in range(len(days))], "rating": 1.5, "date": days}
    )
    with pytest.raises(TaskError, match="the last one, 'date', does not look like"):
        inspect_table(table)


def test_ages_are_told_to_be_quantities_and_codes_are_not():
    ages = [age for age in range(1, 81) for _ in range(3 + age % 40)]
    assert any("each a class" in note and "--task regression" in note for note in inspected("age", age=ages).notes)
    assert not any("each a class" in note for note in inspected("code", code=[*range(1, 81)] * 20).notes)


def test_columns_of_which_each_row_has_one_are_said_to_be_classes():
    one = np.eye(3, dtype=int)[np.arange(60) % 3]
    found = inspected(["a", "b", "c"], a=one[:, 0], b=one[:, 1], c=one[:, 2])
    assert any("exactly one of the labels" in note and "idxmax" in note for note in found.notes)


def test_a_comma_in_a_number_with_a_unit_separates_no_labels():
    found = inspected("dose", dose=["0,5 mg", "1,5 mg", "0,5 g", "1 g", "5 g", "1,0 mg", "5,1 g", "0"] * 5)
    assert found.task.kind == "multiclass"


def test_few_numbers_with_a_decimal_comma_are_classes():
    found = inspected("stars", stars=["4,5", "3,0", "10,0", "-0,5"] * 10)
    assert (found.task.kind, found.task.classes) == ("multiclass", ("-0,5", "3,0", "4,5", "10,0"))
    assert any("--task regression" in note for note in found.notes)
    others = read_table(pd.DataFrame({"stars": ["4.5", 3, "-0,5"]}, dtype=object))
    assert encode_targets(others, found.task)[0].tolist() == [2, 1, 0]
    assert inspected("stars", stars=["4,5", "3,0", "2"] * 10, task="regression").task.kind == "regression"


def test_codes_with_commas_between_them_are_labels():
    codes = [",".join(str(COLOURS.index(colour)) for colour in labels) for labels in some_labels(60)]
    assert inspected(labels=codes).task.classes == ("0", "1", "2")
    assert inspected(labels=[*["1,2", "2,3", "1,3"] * 9, "1", "2"], task="multilabel").task.classes == ("1", "2", "3")


@pytest.mark.parametrize("task", [None, "regression"])
def test_commas_that_may_stand_between_thousands_are_refused(task):
    with pytest.raises(DataError, match=r"row 1: 'price' is '20,629', which may be 20.629 or 20629.*without commas"):
        inspected("price", price=with_commas(np.array([20.629, *numbers(50)]), 3), task=task)


def test_other_tables_may_write_numbers_with_a_comma_or_a_point():
    commas = inspected("price", price=with_commas(numbers(50))).task
    points = inspected("price", price=numbers(50)).task
    for cells in (["12,5", "7"], ["12.5", "7"], [12.5, 7]):
        for task in (commas, points):
            targets, _ = encode_targets(read_table(pd.DataFrame({"price": cells})), task)
            np.testing.assert_allclose(in_units(task.scales, targets)[:, 0], [12.5, 7], rtol=1e-5)
    unclear = read_table(pd.DataFrame({"price": ["12,345", None]}))
    np.testing.assert_allclose(in_units(commas.scales, encode_targets(unclear, commas)[0])[0], [12.345], rtol=1e-5)
    with pytest.raises(DataError, match=r"row 1: 'price' is '12,345', which may be"):
        encode_targets(unclear, points)


def test_a_person_may_say_which_kind_and_a_metric_may_tell():
    stars = [1, 2, 3, 4, 5] * 10
    assert inspected("stars", stars=stars).task.kind == "multiclass"
    assert inspected("stars", stars=stars, task="regression").task.metric == "r2"
    assert inspected("stars", stars=stars, metric="spearman").task.kind == "regression"
    assert inspected("labels", labels=["a b", "a", "b"] * 9, task="multiclass").task.classes == ("a", "a b", "b")


def test_skewed_numbers_are_learned_by_their_logarithm():
    prices = np.exp(np.random.default_rng(0).normal(3, 1, 200)).round(2)
    found = inspected("price", price=prices)
    assert found.task.scales[0].log
    assert any("logarithm" in note for note in found.notes)
    np.testing.assert_allclose(in_units(found.task.scales, found.targets)[:, 0], prices, rtol=1e-5)
    assert not inspected("price", price=prices - 100).task.scales[0].log


def test_zeros_are_scored_by_a_model_of_logarithms_and_negative_numbers_are_not():
    prices = np.exp(np.random.default_rng(0).normal(3, 1, 200)).round(2)
    task = inspected("price", price=prices).task
    targets, known = encode_targets(read_table(pd.DataFrame({"price": [0, 12.5, 0.0]})), task)
    assert known.all()
    np.testing.assert_allclose(in_units(task.scales, targets)[:, 0], [0, 12.5, 0], rtol=1e-5, atol=1e-20)
    assert np.isfinite(task.rules.score(task, targets, np.zeros((3, 1), np.float32), metric="r2"))
    with pytest.raises(DataError, match=r"row 2: 'price' is -1.*logarithm"):
        encode_targets(read_table(pd.DataFrame({"price": [3, -1]})), task)


REFUSED = {
    "no number": (
        {"y": [*range(30), "many"]},
        "y",
        "regression",
        DataError,
        r"row 31: 'y' is 'many'.*--task",
    ),
    "no number among commas": (
        {"y": [*["4,5", "3,0"] * 9, "many"]},
        "y",
        "regression",
        DataError,
        "row 19: 'y' is 'many'",
    ),
    "commas and points": (
        {"y": [*["4.5", "3.0"] * 9, "12,34.5"]},
        "y",
        "regression",
        DataError,
        "row 19: 'y' is '12,34.5'.*nothing between thousands",
    ),
    "infinity": ({"y": [*np.arange(30) / 7, float("inf")]}, "y", None, DataError, r"row 31: 'y' is 'inf'"),
    "one value": ({"y": [3.5] * 30}, "y", "regression", TaskError, "every row has the value 3.5"),
    "too few numbers": ({"y": [*np.arange(20) / 7, *[None] * 9]}, "y", None, DataError, "row 21: no label; 9 of 29"),
    "rare labels": (
        {"y": [["a"], ["a", "b"], ["c"], []] + [["a"]] * 9},
        "y",
        None,
        DataError,
        "row 2: 2 labels have fewer than two rows, such as 'b'.*take it out of 'y'",
    ),
    "a rare label with a column": (
        {"y": [0, 1] * 9, "z": [0, 0, 1] + [0] * 15},
        ["y", "z"],
        None,
        DataError,
        "row 3: label 'z' has only one row.*leave 'z' out of --target",
    ),
    "a label that nothing has": ({"y": [0, 1] * 9, "z": [0] * 18}, ["y", "z"], None, DataError, "'z' has no row"),
    "a label everywhere": ({"y": [["a"], ["a", "b"]] * 9}, "y", None, DataError, "every row has the label 'a'"),
    "one label": ({"y": [["a"], []] * 9}, "y", None, TaskError, "1 label in"),
    "no flag": ({"y": [0, 1] * 9, "z": [0, 2] * 9}, ["y", "z"], "multilabel", DataError, "row 2: 'z' is '2'"),
    "a slip among flags": (
        {"y": [0, 1] * 20, "z": [*[0, 1] * 19, 0, -1]},
        ["y", "z"],
        None,
        DataError,
        "row 40: 'z' is '-1'; the column of a label holds 0 or 1.*--task regression",
    ),
    "a word among flags": (
        {"y": ["yes", "no"] * 20, "z": [*["no", "yes"] * 19, "no", "perhaps"]},
        ["y", "z"],
        None,
        DataError,
        "row 40: 'z' is 'perhaps'; the column of a label holds 0 or 1. Mend the cell$",
    ),
    "columns of classes": ({"y": ["a", "b"] * 9, "z": ["c", "d"] * 9}, ["y", "z"], None, TaskError, "2 target columns"),
    "unknown kind": ({"y": ["a", "b"] * 9}, "y", "ranking", TaskError, "task 'ranking' is unknown"),
}


@pytest.mark.parametrize(("columns", "target", "task", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_learned_is_refused(columns, target, task, error, message):
    with pytest.raises(error, match=message):
        inspected(target, task=task, **columns)


def test_a_metric_of_another_kind_is_refused_with_those_that_fit():
    with pytest.raises(TaskError, match=r"'accuracy' does not fit.*regression task.*r2, neg_mae"):
        inspected("price", price=numbers(50), metric="accuracy")


def test_equal_rows_with_other_labels_are_told_and_with_other_numbers_are_not():
    frame = pd.DataFrame({"text": ["the same words"] * 2 + texts(40), "labels": [["a"], ["b"], *[["a", "b"], []] * 20]})
    assert any("different labels on equal rows" in note for note in inspect_table(frame).notes)
    frame = pd.DataFrame({"text": ["the same words"] * 2 + texts(40), "target": numbers(42)})
    assert not any("different labels" in note for note in inspect_table(frame).notes)


def test_numbers_far_beyond_all_others_are_told_with_a_row():
    values = np.random.default_rng(0).normal(50, 5, 200).round(2)
    assert not any("so far off" in note for note in inspected("price", price=values).notes)
    values[[17, 40]] = [1e9, -3e6]
    (note,) = [note for note in inspected("price", price=values).notes if "so far off" in note]
    assert note.startswith("DataFrame: row 18: 'price' is 1e+09, and half of all lie between 4")
    assert "2 values so far off would decide what is learned" in note


def test_a_long_tail_is_no_slip():
    values = np.random.default_rng(0).lognormal(3, 1.5, 500).round(2)
    assert not any("so far off" in note for note in inspected("price", price=values).notes)


def test_words_for_a_missing_value_among_numbers_are_missing():
    prices = [str(number) for number in numbers(60)]
    prices[3], prices[8] = "NA", " NaN"
    found = inspected("price", price=prices)
    assert found.task.kind == "regression"
    assert found.kept.tolist() == [row for row in range(60) if row not in (3, 8)]
    assert any("2 of 60 rows have no label in 'price'" in note for note in found.notes)
    other = read_table(pd.DataFrame({"price": ["20.5", "NA", "n/a"]}))
    assert encode_targets(other, found.task)[1].tolist() == [True, False, False]
    regions = ["NA|EU", "NA", "EU|AP", "NA|AP", "EU", "None"] * 6
    assert inspected("region", region=regions).task.classes == ("AP", "EU", "NA")
    kinds = ["a|b", "b|c", "a|c", "a", "NA", "c|b|a", "b"] * 6
    assert inspected("kinds", kinds=kinds).task.classes == ("a", "b", "c")
    named = inspected("size", size=["NA", "12", "14"] * 9)
    assert named.task.classes == ("12", "14", "NA")


def test_many_numbers_that_are_taken_for_classes_are_told():
    ages = [age for age in range(20, 90) for _ in range(4)]
    (note,) = [note for note in inspected("age", age=ages).notes if "--task regression" in note]
    assert "'age' has 70 different numbers, each a class" in note
    for codes in ([1, 2, 3, 4, 5], range(30)):
        assert not any("--task regression" in note for note in inspected("code", code=[*codes] * 9).notes)


def test_empty_cells_beside_those_that_say_no_are_told():
    found = inspect_table(
        pd.DataFrame({"text": texts(80), "oedema": [1, 0, None, 1] * 20, "mass": [1, None] * 40}),
        Overrides(target=("oedema", "mass")),
    )
    (note,) = [note for note in found.notes if "empty cells count as no" in note]
    assert "20 of 'oedema'" in note
    assert "mass" not in note
