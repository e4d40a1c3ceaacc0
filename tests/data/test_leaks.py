"""Rows of the test table that are in the training table too: no score speaks of new rows by those."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from audits import audited, frame, sentences

from autotl.data.contents import contents_of
from autotl.data.roles import Overrides
from autotl.data.tables import read_table
from autotl.errors import DataError


def quantities(rows=60, seed=0):
    return pd.DataFrame({"text": sentences(rows, seed=seed), "price": np.random.default_rng(seed).normal(9, 2, rows)})


@pytest.mark.parametrize("table", [frame(), quantities()], ids=["classes", "numbers"])
def test_a_test_table_without_a_new_row_is_refused(table):
    for test in (table, table.sample(frac=1.0, random_state=0)):
        with pytest.raises(
            DataError, match=r"all of its rows are in DataFrame too.*Leave --test out|but 0\. Mend that"
        ):
            audited(table, test=read_table(test))
    assert len(audited(table, test=read_table(table.head(7))).inspection.kept) == len(table) - 7


def test_a_table_of_which_nothing_stays_is_refused_with_the_reason():
    table = quantities()
    test = read_table(pd.concat([table, quantities(3, seed=9)], ignore_index=True))
    with pytest.raises(
        DataError, match=r"row 1: set aside \(leak: DataFrame: row 1 has the same.*all rows of .* but 0"
    ):
        audited(table, test=test)


def test_a_list_of_rows_decides_and_what_it_leaves_in_training_is_counted(tmp_path):
    table = frame()
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "list.csv").write_text(f"row,reason,input,label\n8,mine,{table['text'][7]},bad\n")
    test = read_table(pd.concat([table.iloc[[7, 8, 9]], frame(4, seed=9)], ignore_index=True))
    found = audited(tmp_path / "table.csv", Overrides(text="text"), test=test, chosen=tmp_path / "list.csv")
    assert found.facts["test_rows_learned"] == 2
    assert any("2 rows of DataFrame stay in training, as list.csv does not list them" in note for note in found.notes)


def test_rows_of_the_test_that_are_nearly_learned_are_counted():
    table, new = frame(), frame(6, seed=9)
    near = table.head(2).assign(text=[f"{text}!" + " and" * (row == 1) for row, text in enumerate(table["text"][:2])])
    found = audited(table, test=read_table(pd.concat([near, new], ignore_index=True)))
    assert any("rows that are learned from but for case" in note for note in found.notes)
    assert not any("but for case" in note for note in audited(table, test=read_table(new)).notes)


def test_a_column_that_names_parts_is_told_not_to_be_asked():
    table = frame().assign(split=["train"] * 80 + ["val"] * 8 + ["test"] * 12)
    found = audited(table[["split", "text", "label"]]).inspection
    assert any("'split' is not used, and 20 rows of other parts" in note for note in found.notes)
    assert not any("is not used" in note for note in audited(frame().assign(split="train")).inspection.notes)


def test_pictures_of_one_size_are_read_at_their_ends_and_whole_only_where_these_agree(tmp_path):
    """Whatever lies between: two that differ there only are two."""
    body = bytearray(np.random.default_rng(0).bytes(100_000))
    other = bytearray(body)
    other[50_000] ^= 1
    files = {"a.bmp": body, "b.bmp": body, "c.bmp": other, "d.bmp": body[::-1]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(bytes(content))
    equal = contents_of([str(tmp_path / name) for name in files], "image").equal
    assert equal.tolist() == [0, 0, 1, 2]
