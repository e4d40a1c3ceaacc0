"""One look at a table, on made-up tables and on the real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from autotl.data.inspection import inspect_table, read_inputs, read_test
from autotl.data.roles import Overrides
from autotl.data.splits import holdout
from autotl.data.tables import read_table
from autotl.errors import DataError

SHARED = Path(os.environ.get("AUTOTL_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"


def frame(rows=100):
    texts = [f"review number {n} was written" for n in range(rows)]
    return pd.DataFrame({"text": texts, "label": ["good", "bad"] * (rows // 2)})


def test_rows_without_input_or_label_are_set_aside_with_their_reason():
    table = frame()
    table.loc[[3, 7], "text"] = [None, "  "]
    table.loc[5, "label"] = None
    found = inspect_table(table)
    assert found.set_aside == ((3, "no input"), (5, "no label"), (7, "no input"))
    assert found.kept.tolist() == [n for n in range(100) if n not in (3, 5, 7)]
    assert [found.task.classes[code] for code in found.targets] == [table["label"][n] for n in found.kept]
    assert any("2 rows with nothing in 'text'" in note for note in found.notes)


def test_too_many_empty_inputs_are_refused_with_the_way_out():
    table = frame()
    table.loc[10:15, "text"] = None
    with pytest.raises(DataError, match=r"DataFrame: row 11: 'text' is empty.*6 of 100.*--skip-unreadable 6%"):
        inspect_table(table)
    assert len(inspect_table(table, skip_limit=0.06).kept) == 94


def test_an_input_without_a_single_cell_is_refused():
    table = pd.DataFrame({"text": [None] * 4, "label": ["a", "b"] * 2})
    with pytest.raises(DataError, match=r"every cell of the input 'text' is empty"):
        inspect_table(table, Overrides(text="text"), skip_limit=1.0)


def pairs(rows=20):
    first = [f"review number {n} was written" for n in range(rows)]
    second = [f"somebody wrote review {n}" for n in range(rows)]
    return pd.DataFrame({"text1": first, "text2": second, "label": ["good", "bad"] * (rows // 2)})


def test_a_pair_is_two_texts_in_order_and_half_of_one_is_no_input():
    table = pairs()
    table.loc[3, "text1"], table.loc[4, "text2"] = None, " "
    for overrides, places in ((Overrides(), (0, 1)), (Overrides(pair=("text2", "text1")), (1, 0))):
        found = inspect_table(table, overrides)
        assert found.task.columns == tuple(table.columns[list(places)])
        assert found.set_aside == ((3, "no input"), (4, "no input"))
        assert any("2 rows with nothing in 'text" in note for note in found.notes)
        assert read_inputs(found.table, found.task)[0] == tuple(table.iloc[0, list(places)])
    table.loc[:9, "text2"] = None
    with pytest.raises(DataError, match=r"row 1: 'text1' or 'text2' is empty"):
        inspect_table(table)


def test_several_texts_are_one_with_their_names_but_for_those_that_are_missing():
    table = pairs().rename(columns={"text1": "title", "text2": "body"})
    table.loc[1, "title"], table.loc[2, "body"], table.loc[3, ["title", "body"]] = None, " ", None
    found = inspect_table(table, Overrides(text=("title", "body")))
    assert (found.task.modality, found.task.columns) == ("text", ("title", "body"))
    assert read_inputs(found.table, found.task)[:4] == [
        "title: review number 0 was written\nbody: somebody wrote review 0",
        "body: somebody wrote review 1",
        "title: review number 2 was written",
        None,
    ]
    assert found.set_aside == ((3, "no input"),)


def test_several_images_are_their_paths_in_order_and_a_row_that_lacks_one_has_no_input(tmp_path):
    for number in range(20):
        for view in ("front", "side"):
            (tmp_path / f"{view}{number}.png").write_bytes(bytes([number]))
    table = pd.DataFrame({view: [f"{view}{n}.png" for n in range(20)] for view in ("front", "side")})
    table["label"] = ["good", "bad"] * 10
    table.loc[3, "front"], table.loc[4, "side"] = None, " "
    table.to_csv(tmp_path / "table.csv", index=False)
    found = inspect_table(tmp_path / "table.csv", Overrides(image=("side", "front")))
    assert (found.task.modality, found.task.columns) == ("images", ("side", "front"))
    assert read_inputs(found.table, found.task)[0] == (str(tmp_path / "side0.png"), str(tmp_path / "front0.png"))
    assert found.set_aside == ((3, "no input"), (4, "no input"))
    table.loc[:9, "side"] = None
    table.to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match=r"table.csv: row 1.*'side' or 'front' is empty"):
        inspect_table(tmp_path / "table.csv", Overrides(image=("side", "front")))


def test_a_table_that_lacks_half_of_the_input_is_refused():
    task = inspect_table(pairs()).task
    with pytest.raises(DataError, match="no column 'text2'"):
        read_inputs(read_table(pairs().drop(columns="text2")), task)


def test_contradictory_labels_are_noted_and_repeats_share_a_group():
    table = frame()
    table.loc[[11, 12], "text"] = table["text"][10]
    found = inspect_table(table)
    assert found.groups[10] == found.groups[11] == found.groups[12]
    assert len(set(found.groups.tolist())) == 98
    assert any("2 rows of 100 repeat an input" in note for note in found.notes)
    assert "1 input with different labels" in found.notes[-1]
    assert "row 12 is 'bad', row 11 is 'good'" in found.notes[-1]
    assert inspect_table(frame()).notes == ()


def test_inputs_come_in_row_order_as_text_or_absolute_paths(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "t.csv").write_text(f"image,label\na.jpg,x\n,x\na.jpg,x\n{tmp_path / 'b.jpg'},y\na.jpg,y\n")
    task = inspect_table(tmp_path / "t.csv").task
    first, second = str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")
    assert read_inputs(read_table(tmp_path / "t.csv"), task) == [first, None, first, second, first]


def test_inputs_to_predict_name_the_column_that_is_missing():
    task = inspect_table(frame()).task
    assert read_inputs(read_table(pd.DataFrame({"text": ["a b", None, "", 7]})), task) == ["a b", None, None, "7"]
    with pytest.raises(DataError, match=r"DataFrame has no column 'text'. Did you mean 'Text'"):
        read_inputs(read_table(pd.DataFrame({"Text": ["a b"]})), task)


def test_reading_imports_neither_torch_nor_pandas():
    code = (
        "import sys, autotl.data.inspection, autotl.data.splits;"
        "print(sorted({'torch', 'pandas', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def shared(name):
    if not (SHARED / name).is_dir():
        # real tables are not ours to copy into the project; CI has them
        pytest.skip(f"no shared table {name}")
    return SHARED / name / "train.csv"


@pytest.mark.parametrize(
    ("name", "column", "classes"),
    [
        ("flowers", "image", 5),
        ("hymenoptera", "image", 2),
        ("trec6", "text", 6),
        ("sst2", "text", 2),
        ("sms-spam", "text", 2),
        ("hotel-reviews-zh", "text", 2),
    ],
)
def test_real_tables_are_understood_without_a_word(name, column, classes):
    found = inspect_table(shared(name))
    assert {role.name: role.role for role in found.roles} == {column: column, "label": "target"}
    assert found.task.modality == column
    assert len(found.task.classes) == classes
    assert len(found.kept) == found.table.rows
    _, valid = holdout(found.targets, seed=0, groups=found.groups)
    whole = np.bincount(found.targets) / len(found.targets)
    assert np.abs(np.bincount(found.targets[valid]) / len(valid) - whole).max() < 0.01


def test_real_pairs_are_found_by_their_names():
    path = shared("sts-pairs")
    found = inspect_table(path)
    assert (found.task.kind, found.task.modality) == ("regression", "text_pair")
    assert found.task.columns == ("sentence1", "sentence2")
    assert read_inputs(found.table, found.task)[0] == ("A plane is taking off.", "An air plane is taking off.")
    assert inspect_table(path, Overrides(text="sentence1")).task.modality == "text"


def test_a_first_line_that_may_be_a_row_is_told(tmp_path):
    lines = [f"review number {n} was written,{'pos' if n % 3 else 'neg'}\n" for n in range(40)]
    for header, told in (("I love it,pos\n", True), ("text,label\n", False)):
        (tmp_path / "table.csv").write_text(header + "".join(lines))
        notes = inspect_table(tmp_path / "table.csv").notes
        assert (
            any("line 1 is taken for the names of the columns, and 'pos' could be a value" in n for n in notes) == told
        )
    frame = pd.DataFrame({"text": [line.split(",")[0] for line in lines], "pos": ["pos", "neg"] * 20})
    frame.to_json(tmp_path / "table.jsonl", orient="records", lines=True)
    for source in (frame, tmp_path / "table.jsonl"):
        assert not any("line 1" in note for note in inspect_table(source).notes)


def test_images_in_class_folders_are_read_under_the_names_that_a_table_gave_its_columns(tmp_path):
    from PIL import Image

    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    columns = {"file": [str(tmp_path / "a/1.png"), str(tmp_path / "b/1.png")] * 4, "species": ["a", "b"] * 4}
    task = inspect_table(pd.DataFrame(columns)).task
    assert task.columns == ("file",)
    folder = read_test(tmp_path, task)
    assert folder.column("species") == ["a", "a", "b"]
    assert read_inputs(folder, task) == [str(tmp_path / name) for name in ("a/1.png", "a/2.png", "b/1.png")]
    assert read_inputs(read_table(tmp_path), task) == read_inputs(folder, task)


def test_where_none_may_be_left_out_one_is_refused():
    table = frame()
    table.loc[10, "text"] = None
    with pytest.raises(DataError, match=r"DataFrame: row 11: 'text' is empty"):
        inspect_table(table, skip_limit=0.0)
