"""The audit: what repeats stays together, what teaches nothing is set aside, and shortcuts are told."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audits import WORDS, audited, frame, reasons, sentences
from hypothesis import given, settings
from hypothesis import strategies as st

from autotl.data.audit import audit
from autotl.data.groups import merge_groups
from autotl.data.inspection import inspect_table
from autotl.data.near_duplicates import near_duplicates, normalized
from autotl.data.roles import Overrides
from autotl.data.set_aside import read_set_aside, write_set_aside
from autotl.data.splits import holdout
from autotl.data.tables import read_table
from autotl.errors import DataError, TaskError

SHARED = Path(os.environ.get("AUTOTL_SHARED", Path(__file__).parents[2].parent / "shared")) / "data"


@pytest.fixture
def pictures(tmp_path):
    """A folder of 40 files that differ, and a table that names them."""
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(bytes([number]) * 100)
    table = pd.DataFrame({"image": [f"{number:02}.png" for number in range(40)], "label": ["a", "b"] * 20})
    table.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path


# -------------------------------------------------------------------- how many rows validate


def test_the_holdout_is_said_to_be_about_so_large_where_rows_stay_together():
    table = frame(360)
    assert audited(table).facts["split"].startswith("holdout of 90 of 360 rows (25 %)")
    table["patient"] = [f"p{row // 7}" for row in range(360)]
    grouped = audited(table, Overrides(group="patient", text="text"))
    assert grouped.facts["split"].startswith("holdout of about 90 of 360 rows (25 %)")


# -------------------------------------------------------------------- ids that repeat


def shares_told(column, labels, overrides=None):
    """The notes that name --group for a column beside texts."""
    texts = [f"{text} {number}" for number, text in enumerate(sentences(len(labels)))]
    found = audited(pd.DataFrame({"text": texts, "PatientID": column, "label": labels}), overrides)
    return [note for note in found.notes if "share their label" in note and "--group PatientID" in note]


@pytest.mark.parametrize(("name", "told"), [("patient_id", True), ("Subject", True), ("colour", False)])
def test_people_with_several_rows_are_told_whatever_their_labels_are(name, told):
    """Four fifths of them have one row only, and both labels occur for most of the others."""
    people = [f"p{min(row, 2 * row // 3)}" for row in range(120)]
    table = pd.DataFrame({"text": sentences(120), name: people, "label": ["yes", "no"] * 60})
    notes = [note for note in audited(table).notes if f"--group {name}" in note]
    assert bool(notes) is told
    assert not told or f"values of {name!r} have several rows" in notes[0]
    assert not [note for note in audited(table, Overrides(group=name, text="text")).notes if "several rows" in note]
    few = table.assign(**{name: [f"kind {row % 4}" for row in range(120)]})  # what a row is about, not whose it is
    assert not [note for note in audited(few).notes if "several rows" in note]


@pytest.mark.parametrize("number", ["P{:03}", "{}"], ids=["names", "numbers"])
def test_ids_whose_rows_share_their_label_are_told(number):
    patients = [number.format(row // 6) for row in range(360)]
    labels = ["ill" if row // 6 % 3 else "well" for row in range(360)]
    (note,) = shares_told(patients, labels)
    assert "60 of 60 values that repeat" in note
    assert not shares_told(patients, labels, Overrides(group="PatientID", text="text"))


def test_ids_of_which_most_have_one_row_are_told_where_many_rows_share_one():
    lesions = [row // 2 if row < 100 else row - 50 for row in range(250)]
    (note,) = shares_told([f"l{lesion}" for lesion in lesions], ["ill" if one % 3 else "well" for one in lesions])
    assert "50 of 50 values that repeat" in note
    lesions = [row // 2 if row < 40 else row - 20 for row in range(250)]
    assert not shares_told([f"l{lesion}" for lesion in lesions], ["ill" if one % 3 else "well" for one in lesions])


@given(st.integers(0, 10_000), st.integers(10, 150), st.sampled_from([0.5, 0.9]))
@settings(max_examples=30, deadline=None)
def test_columns_without_a_meaning_are_told_of_no_shared_labels(seed, values, share):
    random = np.random.default_rng(seed)
    labels = np.where(random.random(300) < share, "a", "b").tolist()
    labels[:4] = ["a", "a", "b", "b"]
    assert not shares_told([f"v{value}" for value in random.integers(0, values, 300)], labels)


def test_a_column_that_merely_correlates_and_a_copy_of_the_target_are_told_of_no_shared_labels():
    random = np.random.default_rng(0)
    countries = random.integers(0, 30, 600)
    labels = np.where(random.random(600) < 0.9, countries % 2, 1 - countries % 2)
    assert not shares_told([f"country {country}" for country in countries], [f"class {label}" for label in labels])
    classes = np.arange(600) % 15
    assert not shares_told([f"code {code}" for code in classes], [f"class {code}" for code in classes])


# -------------------------------------------------------------------- groups


@given(st.lists(st.tuples(st.integers(-3, 12), st.integers(0, 12)), max_size=60))
def test_merged_groups_are_the_connected_rows(pairs):
    first, second = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    merged = merge_groups(first, second)
    assert merged.dtype == np.int64
    connected = np.equal.outer(first, first) | np.equal.outer(second, second)
    for _ in pairs:
        connected = connected @ connected
    assert np.array_equal(np.equal.outer(merged, merged), connected)
    assert list(dict.fromkeys(merged.tolist())) == list(range(len(set(merged.tolist()))))


def test_rows_told_to_stay_together_do_and_those_without_a_value_stand_alone():
    table = frame(40)
    table["patient"] = [f"p{n // 4}" for n in range(40)]
    table.loc[[0, 1], "patient"] = None
    table.loc[38, "text"] = table["text"][20]
    found = inspect_table(table, Overrides(group="patient"))
    groups = found.groups
    assert {role.name: role.role for role in found.roles}["patient"] == "ignore"
    assert "--group" in next(role.evidence for role in found.roles if role.name == "patient")
    assert len({*groups[:4].tolist()}) == 3
    assert len({*groups[4:8].tolist()}) == 1
    assert set(groups[20:24].tolist()) == set(groups[36:40].tolist())  # a repeated text joins two patients
    train, valid = holdout(found.targets, seed=0, groups=audit(found).inspection.groups)
    assert not set(table["patient"][train].dropna()) & set(table["patient"][valid].dropna())


def test_the_last_column_is_not_the_target_when_it_is_the_group():
    table = frame(40).rename(columns={"label": "verdict"}).assign(author=["ann", "bob"] * 20)
    assert inspect_table(table, Overrides(group="author")).task.target == "verdict"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (Overrides(group="pateint"), "no column 'pateint'. Did you mean 'patient'"),
        (Overrides(group="label"), "'label' cannot be both the target and the group"),
        (Overrides(group="patient", target=("patient",)), "'patient' cannot be both the target and the group"),
        (Overrides(group="text"), "'text' cannot be both the input and the group"),
        (Overrides(group="text", text="text"), "'text' cannot be both the input and the group"),
    ],
)
def test_group_that_cannot_be_one_is_refused(overrides, said):
    with pytest.raises(DataError, match=said):
        inspect_table(frame(40).assign(patient=list("abcd") * 10)[["patient", "text", "label"]], overrides)


def test_a_group_alone_in_its_table_is_refused():
    with pytest.raises(TaskError):
        inspect_table(pd.DataFrame({"x": ["a", "b"] * 5}), Overrides(group="x"))


# -------------------------------------------------------------------- near-duplicates


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Hello,  World!", "hello world", True),
        ("ﬁne — “really”", "fine 'really'", True),
        ("good 😀", "good 😡", False),
        ("!!!", "???", False),
        ("कि", "का", False),
        ("C++", "C", False),
    ],
)
def test_normalized_texts_differ_in_more_than_case_and_punctuation(one, other, same):
    assert (normalized(one) == normalized(other)) is same


def test_long_texts_with_most_of_their_runs_in_common_are_found_in_any_order():
    texts = sentences(3000, words=40)
    for row in range(0, 300):
        words = texts[row].split()
        words[row % 40] = "changed"
        texts[2999 - row] = " ".join(words)
    groups = near_duplicates(texts)
    found = [groups[row] == groups[2999 - row] for row in range(300)]
    # one word in the middle of 40 leaves 35 of 41 runs: similarity 0.85
    assert np.mean(found) > 0.98
    assert len(set(groups.tolist())) == 3000 - sum(found)


LONG = st.lists(st.sampled_from("abcde"), min_size=8, max_size=14).map(" ".join)


@given(st.lists(LONG, unique=True, min_size=1, max_size=20))
def test_only_chains_of_similar_texts_are_one_group(texts):
    runs = [{tuple(text.split()[i : i + 3]) for i in range(len(text.split()) - 2)} for text in texts]
    similar = np.array([[len(a & b) / len(a | b) >= 0.8 for b in runs] for a in runs], dtype=bool)
    for _ in texts:
        similar = similar @ similar
    groups = near_duplicates(texts)
    assert similar[np.equal.outer(groups, groups)].all()


def test_short_texts_are_alike_only_as_a_whole():
    table = frame()
    table.loc[[10, 50, 51], "text"] = ["Not bad, this.", "not bad this", "not bad that"]
    groups = audited(table).inspection.groups
    assert groups[10] == groups[50] != groups[51]


def test_near_duplicates_are_noted_once_and_stay_on_one_side():
    table = frame(400)
    table["text"] = sentences(400, words=40)
    for row in range(0, 200, 2):
        table.loc[399 - row, "text"] = table["text"][row] + " indeed"
    found = audited(table)
    (note,) = [note for note in found.notes if "few words" in note]
    assert note.startswith("100 rows repeat a text")
    assert "row 202 that of row 199" in note
    assert found.facts["near_repeats"] == 100
    assert found.facts["repeats"] == 0
    train, _ = holdout(found.inspection.targets, seed=0, groups=found.inspection.groups)
    inside = np.isin(np.arange(400), train)
    assert all(inside[row] == inside[399 - row] for row in range(0, 200, 2))


def test_variations_of_one_pattern_are_not_one_group():
    table = frame()
    table["text"] = [" ".join([*WORDS, f"number{row}"]) for row in range(100)]
    found = audited(table)
    assert len(set(found.inspection.groups.tolist())) == 100
    assert any("100 rows are variations of so few patterns" in note for note in found.notes)


def test_seconds_say_how_many_texts_are_compared():
    table = frame()
    table.loc[90, "text"] = table["text"][80] + " indeed"
    table["text"] += " " + " ".join(WORDS[:20]) + table.index.astype(str)
    everything, some = audited(table), audited(table, seconds=0.001)
    assert everything.facts["texts_compared"] == 100
    assert 0 < some.facts["texts_compared"] < 10
    assert any(f"first {some.facts['texts_compared']} of 100 different texts" in note for note in some.notes)
    assert not any("near-duplicates were looked for" in note for note in everything.notes)


@pytest.mark.slow
def test_time_grows_with_the_rows_and_not_with_their_pairs():
    texts = sentences(20_000, words=20)
    began = time.perf_counter()
    near_duplicates(texts)
    assert time.perf_counter() - began < 5.0  # 0.3 s here; all pairs would take hours


# -------------------------------------------------------------------- rows to set aside


def test_contradicting_labels_leave_the_majority_or_nothing():
    table = frame()
    table.loc[[20, 21, 22], "text"] = table["text"][20]  # good, bad, good
    table.loc[[40, 41], "text"] = table["text"][40]  # good, bad
    table.loc[[60, 62], "text"] = table["text"][60]  # good, good
    found = audited(table)
    assert reasons(found) == {
        21: "conflict: row 21 has the same content and is 'good'",
        40: "conflict: row 42 has the same content and is 'bad'",
        41: "conflict: row 41 has the same content and is 'good'",
    }
    inspection = found.inspection
    assert inspection.kept.tolist() == [row for row in range(100) if row not in (21, 40, 41)]
    assert [inspection.task.classes[code] for code in inspection.targets] == table["label"][inspection.kept].tolist()
    at = inspection.kept.tolist().index
    assert inspection.groups[at(20)] == inspection.groups[at(22)]
    assert inspection.groups[at(60)] == inspection.groups[at(62)]
    assert found.facts["set_aside"] == {"conflict": 3}
    assert any(note.startswith("set aside: 3 rows that contradict") for note in found.notes)


def test_a_plurality_is_no_majority():
    table = pd.DataFrame({"text": sentences(40), "label": ["a", "b", "c", "d"] * 10})
    table.loc[[0, 4, 1, 2], "text"] = table["text"][0]  # a, a, b, c
    assert set(reasons(audited(table))) == {0, 1, 2, 4}


def test_rows_of_the_test_table_are_set_aside():
    table = frame()
    test = read_table(
        pd.DataFrame(
            {"text": [*sentences(5, seed=9), table["text"][7].upper() + "!", table["text"][8], None], "label": "good"}
        )
    )
    found = audited(table, test=test)
    assert reasons(found) == {
        7: "leak: DataFrame: row 6 has the same content",
        8: "leak: DataFrame: row 7 has the same content",
    }
    assert any("2 rows that are in the test table too" in note for note in found.notes)
    assert reasons(audited(table)) == {}


def test_a_class_is_never_emptied():
    table = frame()
    table.loc[[50, 51, 52], "label"] = "rare"
    test = read_table(pd.concat([table.iloc[[10, 50, 51]], frame(2, seed=9)], ignore_index=True))
    found = audited(table, test=test)
    assert set(reasons(found)) == {10}
    assert found.facts["test_rows_learned"] == 2
    (note,) = [note for note in found.notes if "not set aside" in note]
    assert "2 rows that are in the test table too" in note
    assert "'rare'" in note


def test_images_are_compared_by_their_content(pictures):
    shutil.copy(pictures / "02.png", pictures / "08.png")  # a and a
    shutil.copy(pictures / "03.png", pictures / "04.png")  # b and a
    shutil.copy(pictures / "05.png", pictures / "new.png")
    (pictures / "06.png").unlink()
    test = pd.DataFrame({"image": ["new.png"], "label": ["b"]})
    test.to_csv(pictures / "test.csv", index=False)
    found = audited(pictures / "table.csv", test=read_table(pictures / "test.csv"))
    assert {row: reason.partition(":")[0] for row, reason in found.inspection.set_aside} == {
        3: "conflict", 4: "conflict", 5: "leak",
    }  # fmt: skip
    at = found.inspection.kept.tolist().index
    groups = found.inspection.groups
    assert groups[at(2)] == groups[at(8)]
    assert len(set(groups.tolist())) == len(groups) - 1
    (note,) = [note for note in found.notes if "under another name" in note]
    assert "1 row repeats an image under another name, such as table.csv: row 9 that of row 3" in note
    assert found.facts["input"] == {"unit": "bytes", "least": 100, "median": 100.0, "most": 100}


def test_classes_in_one_group_are_told():
    table = frame().assign(patient=[f"p{n}" for n in range(100)])
    table.loc[[50, 52, 54], ["label", "patient"]] = ["rare", "p"]
    notes = audited(table, Overrides(group="patient")).notes
    assert any("all rows of 'rare' belong together" in note for note in notes)


# -------------------------------------------------------------------- the list as a file


@pytest.fixture
def messy():
    """Rows without input, without label, in conflict; texts with quotes and line breaks."""
    table = frame()
    table.loc[20, "text"] = 'he said "no,\nnever", ' + "and so on " * 60
    table.loc[21, "text"] = table["text"][20]
    table.loc[3, "text"], table.loc[5, "label"] = None, None
    return table


def test_the_list_holds_every_row_set_aside_and_reads_back(messy, tmp_path):
    found = audited(messy)
    write_set_aside(tmp_path / "list.csv", found.inspection)
    written = pd.read_csv(tmp_path / "list.csv")
    assert written.columns.tolist() == ["row", "reason", "input", "label"]
    assert written["row"].tolist() == [4, 6, 21, 22]
    assert written["reason"].str.partition(":")[0].tolist() == ["no input", "no label", "conflict", "conflict"]
    assert written["label"].fillna("").tolist() == ["bad", "", "good", "bad"]
    assert read_set_aside(tmp_path / "list.csv", found.inspection.table, ["text"]) == reasons(found)


def test_exactly_the_listed_rows_are_left_out(messy, tmp_path):
    write_set_aside(tmp_path / "list.csv", audited(messy).inspection)
    edited = pd.read_csv(tmp_path / "list.csv")
    edited = edited[edited["row"] != 21]
    edited.loc[99] = [31, "blurred", messy["text"][30], "x"]
    edited.to_csv(tmp_path / "list.csv", index=False)
    leaking = read_table(messy.iloc[[8]].reset_index(drop=True))
    found = audited(messy, chosen=tmp_path / "list.csv", test=leaking)
    left_out = reasons(found)
    assert set(left_out) == {3, 5, 21, 30}
    assert left_out[30] == "blurred"
    assert any("set aside: 2 rows listed in list.csv" in note for note in found.notes)


def test_an_emptied_list_sets_nothing_aside(messy, tmp_path):
    (tmp_path / "list.csv").write_text("row,reason,input,label\n")
    assert set(reasons(audited(messy, chosen=tmp_path / "list.csv"))) == {3, 5}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("row\n5\n0\n", r"list.csv: line 3: '0' is not a row of DataFrame.*to 100"),
        ("row\n5\n101\n", r"list.csv: line 3: '101' is not a row"),
        ("row\n5\nfive\n", r"list.csv: line 3: 'five' is not a row"),
        ("reason,row\nx,\n", r"list.csv: line 2: '' is not a row"),
        ("Row,reason\n1,x\n", r"list.csv: line 1 names no column 'row'. Did you mean 'Row'"),
        ("row,input\n7,quite another text\n", r"list.csv: line 2: row 7 of DataFrame is .* not 'quite another text'"),
        ("row,reason\n1,a,b\n", r"list.csv: row 1 \(line 2\) has 3 cells"),
        ("row\n" + "\n".join(str(n) for n in range(1, 98, 2)) + "\n", r"fewer than 2 rows would be left of 'good'"),
    ],
)
def test_a_list_that_cannot_be_followed_is_refused_by_its_line(content, said, tmp_path):
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        audited(frame(), chosen=tmp_path / "list.csv")


def test_a_list_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone.csv: this list .* cannot be read"):
        audited(frame(), chosen=tmp_path / "gone.csv")


# -------------------------------------------------------------------- shortcuts


def test_a_label_that_length_tells_is_a_shortcut():
    table = frame(200)
    table.loc[table["label"] == "good", "text"] += " and " + table["text"]
    found = audited(table)
    assert found.facts["shortcut"]["score"] > 0.95
    assert "characters" in found.facts["shortcut"]["feature"] or "words" in found.facts["shortcut"]["feature"]
    (note,) = [note for note in found.notes if "alone predicts 'label' with balanced accuracy" in note]
    assert "(chance 0.50)" in note


@pytest.mark.parametrize(
    ("suffix", "name"),
    [(" 12345", "digits"), (" ABCDE", "upper case"), (" ?!?!?", "punctuation"), (" ééééé", "ASCII")],
)
def test_kinds_of_characters_are_shortcuts(suffix, name):
    table = frame(200)
    table.loc[table["label"] == "good", "text"] += suffix
    table.loc[table["label"] == "bad", "text"] += " abcde"
    assert name in audited(table).facts["shortcut"]["feature"]


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_shortcut(seed):
    table = frame(60, seed=seed)
    table["label"] = np.random.default_rng(seed).choice(["a", "b"], 60)
    assert audited(table).facts["shortcut"] is None


def test_a_rare_class_does_not_hide_a_shortcut():
    table = frame(300)
    table["label"] = np.where(np.arange(300) % 10 == 0, "rare", "common")
    table.loc[table["label"] == "rare", "text"] += " 123"
    assert audited(table).facts["shortcut"]["score"] > 0.95


def test_file_size_is_a_shortcut(pictures):
    for number in range(1, 40, 2):
        (pictures / f"{number:02}.png").write_bytes(bytes([number]) * 150)
    found = audited(pictures / "table.csv")
    assert found.facts["shortcut"] == {"feature": "file size", "score": 1.0, "chance": 0.5}
    assert any("a model may learn that instead of the content" in note for note in found.notes)


@pytest.mark.parametrize(("folders", "told"), [("ab", False), ("xxyy", True)])
def test_a_folder_is_a_shortcut_unless_it_is_the_class(tmp_path, folders, told):
    """`folders`: names that the two labels take in turn; with more than one for a label they are sources."""
    rows = []
    for number in range(80):
        label = "ab"[number % 2]
        folder = label if folders == "ab" else f"clinic{number % 4}"
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{number:02}.png").write_bytes(bytes([number]) * 50)
        rows.append((f"{folder}/{number:02}.png", label))
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(tmp_path / "t.csv", index=False)
    shortcut = audited(tmp_path / "t.csv").facts["shortcut"]
    assert (shortcut is not None and shortcut["feature"] == "the folder") is told


# -------------------------------------------------------------------- facts


def test_facts_tell_counts_lengths_and_the_split():
    facts = audited(frame(400)).facts
    assert facts["class_counts"] == {"bad": 200, "good": 200}
    assert facts["input"] == {"unit": "words", "least": 12, "median": 12.0, "most": 12}
    assert facts["split"].startswith("holdout of 100 of 400 rows (25 %): ")
    assert audited(frame(400)).notes == ()


@pytest.mark.parametrize("name", ["flowers", "trec6"])
def test_real_tables_keep_nearly_all_their_rows(name):
    if not (SHARED / name).is_dir():
        # real tables are not ours to copy into the project; CI has them
        pytest.skip(f"no shared table {name}")
    found = audited(SHARED / name / "train.csv", test=read_table(SHARED / name / "test.csv"))
    assert 0 < len(found.inspection.set_aside) < 0.01 * found.inspection.table.rows
    assert found.facts["shortcut"] is None
