"""The audit of inputs that have several columns: pairs of texts, and several images."""

from __future__ import annotations

import pandas as pd
from audits import audited, reasons, sentences

from autotl.data.roles import Overrides
from autotl.data.set_aside import write_set_aside
from autotl.data.tables import read_table

# -------------------------------------------------------------------- pairs of texts


def pairs():
    """80 pairs that differ."""
    first, second = sentences(80, seed=1), sentences(80, seed=2)
    return pd.DataFrame({"text1": first, "text2": second, "label": ["same", "other"] * 40})


def test_pairs_repeat_each_other_where_both_texts_do_in_their_order():
    table = pairs()
    table.loc[10, ["text1", "text2"]] = table.loc[2, ["text1", "text2"]].to_list()  # the same pair
    table.loc[11, ["text1", "text2"]] = table.loc[
        3, ["text2", "text1"]
    ].to_list()  # turned round: the same runs of words
    table.loc[12, "text1"] = table.loc[4, "text1"]  # half of it
    first, second = table.loc[6, ["text1", "text2"]]
    table.loc[16, ["text1", "text2"]] = first.upper(), f"{second}!"  # but for case and punctuation
    words = f"{table.loc[5, 'text1']} {table.loc[5, 'text2']}".split()
    table.loc[15, ["text1", "text2"]] = " ".join(words[:11]), " ".join(words[11:])  # divided elsewhere
    found = audited(table)
    groups = found.inspection.groups
    together = {(row, other) for row in range(80) for other in range(row) if groups[row] == groups[other]}
    assert together == {(10, 2), (11, 3), (12, 4), (15, 5), (16, 6)}
    assert found.facts["repeats"] == 1
    assert not reasons(found)
    assert any("pair of texts but for case" in note for note in found.notes)


def test_pairs_that_share_a_text_stay_together_unless_all_are_connected():
    """Claims beside several pieces of evidence do; questions of which each is compared with many others do not."""
    table = pairs()
    claims = table.assign(text1=[table["text1"][row // 5] for row in range(80)])
    found = audited(claims)
    groups = found.inspection.groups
    assert all(len({*groups[row : row + 5].tolist()}) == 1 for row in range(0, 80, 5))
    assert len({*groups.tolist()}) == 16
    assert any("64 rows have the 'text1' of another: rows with the same stay together" in note for note in found.notes)
    (large,) = {
        len({*audited(table.assign(text1=[f"claim {row // n}" for row in range(80)])).inspection.groups.tolist()})
        for n in (20, 40)
    }
    assert large == 80  # few claims: none would validate many others
    one = table.assign(
        text1=[table["text1"][max(row - 9, 0)] for row in range(80)], label=["rare"] * 10 + ["same"] * 70
    )
    assert len({*audited(one).inspection.groups.tolist()}) == 80  # or a class would be on one side
    chain = table.assign(text1=[table["text1"][row // 2] for row in range(80)])
    chain["text2"] = [table["text2"][(row + 1) // 2] for row in range(80)]
    found = audited(chain)
    assert len({*found.inspection.groups.tolist()}) == 40
    assert any("39 rows have the 'text2' of another, and too many are connected" in note for note in found.notes)


def test_contradicting_pairs_and_pairs_of_the_test_table_are_set_aside_and_listed(tmp_path):
    table = pairs()
    table.loc[11, ["text1", "text2"]] = table.loc[2, ["text1", "text2"]].to_list()
    found = audited(table, test=read_table(table.iloc[[7]]))
    assert {row: reason.partition(":")[0] for row, reason in reasons(found).items()} == {
        2: "conflict", 7: "leak", 11: "conflict",
    }  # fmt: skip
    write_set_aside(tmp_path / "list.csv", found.inspection)
    shown = pd.read_csv(tmp_path / "list.csv")["input"]
    assert shown[1] == f"{table['text1'][7]} | {table['text2'][7]}"
    assert reasons(audited(table, chosen=tmp_path / "list.csv")) == reasons(found)


# -------------------------------------------------------------------- several images


def sets_of_images(folder, rows=80):
    """A table of two images a row, no two of which are equal, in files of one size."""
    table = pd.DataFrame({view: [f"{view}{n:02}.png" for n in range(rows)] for view in ("front", "side")})
    for name in table.to_numpy().ravel():
        (folder / name).write_bytes(name.encode().rjust(50))
    return table.assign(label=["whole", "torn"] * (rows // 2))


def audited_images(folder, table, test=None):
    table.to_csv(folder / "t.csv", index=False)
    return audited(folder / "t.csv", Overrides(image=("front", "side")), test=test and read_table(test))


def test_sets_of_images_repeat_each_other_where_all_files_do_in_their_order(tmp_path):
    table = sets_of_images(tmp_path)
    for name, other in (("front10", "front02"), ("side10", "side02"), ("front12", "front04"), ("front11", "side03")):
        (tmp_path / f"{name}.png").write_bytes((tmp_path / f"{other}.png").read_bytes())
    (tmp_path / "side11.png").write_bytes((tmp_path / "front03.png").read_bytes())  # turned round
    found = audited_images(tmp_path, table)
    groups = found.inspection.groups
    assert [(row, other) for row in range(80) for other in range(row) if groups[row] == groups[other]] == [(10, 2)]
    assert found.facts["input"] == {"unit": "bytes", "least": 100, "median": 100.0, "most": 100}
    assert any("1 row repeats a set of images under other names, such as t.csv: row 11" in note for note in found.notes)
    assert not reasons(found)


def test_contradicting_sets_of_images_and_those_of_the_test_table_are_set_aside(tmp_path):
    table = sets_of_images(tmp_path)
    table.loc[11, ["front", "side"]] = table.loc[2, ["front", "side"]].to_list()
    table.iloc[[7]].to_csv(tmp_path / "test.csv", index=False)
    found = audited_images(tmp_path, table, tmp_path / "test.csv")
    assert {row: reason.partition(":")[0] for row, reason in reasons(found).items()} == {
        2: "conflict", 7: "leak", 11: "conflict",
    }  # fmt: skip
    write_set_aside(tmp_path / "list.csv", found.inspection)
    assert pd.read_csv(tmp_path / "list.csv")["input"][1] == "front07.png | side07.png"


def test_a_shortcut_of_one_image_among_several_is_named(tmp_path):
    table = sets_of_images(tmp_path)
    for number, name in enumerate(table["side"]):
        (tmp_path / name).write_bytes(bytes([number]) * (100 + 100 * (number % 2)))
    assert audited_images(tmp_path, table).facts["shortcut"]["feature"] == "file size of image 2"
