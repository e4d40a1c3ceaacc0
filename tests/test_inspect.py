"""``autotl inspect`` shows what the audit found, and writes the rows that a search would set aside."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from autotl.cli.main import main


@pytest.fixture
def messy(frame, new_table, tmp_path):
    """Row 7 is empty, rows 2 and 3 contradict each other, row 11 is in the test table."""
    messy = frame.copy()
    messy.loc[6, "text"] = None
    messy.loc[2, "text"] = messy["text"][1]
    messy.loc[10, "text"] = pd.read_csv(new_table)["text"][4]
    messy.to_csv(tmp_path / "messy.csv", index=False)
    return tmp_path / "messy.csv"


def test_rows_to_set_aside_are_shown_and_written(messy, new_table, tmp_path, capsys):
    out = tmp_path / "list.csv"
    assert main(["inspect", "--data", str(messy), "--test", str(new_table), "--json", "--out", str(out)]) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["audit"]["set_aside"] == {"no input": 1, "conflict": 2, "leak": 1}
    assert answer["kept"] == sum(answer["class_counts"].values()) == 196
    assert answer["class_counts"] == answer["audit"]["class_counts"]
    assert sum("set aside: " in note for note in answer["notes"]) == 2
    assert said.err == f"4 rows in {out}\n"
    assert pd.read_csv(out)["row"].tolist() == [2, 3, 7, 11]


def test_several_columns_are_taken_as_they_are_named(tmp_path, capsys):
    words = [f"{first} {second} {number}" for number in range(20) for first in ("one", "two") for second in ("a", "b")]
    table = pd.DataFrame({"title": words, "body": words[::-1], "label": ["x", "y"] * 40})
    table.to_csv(tmp_path / "table.csv", index=False)
    command = ["inspect", "--data", str(tmp_path / "table.csv")]
    for option, modality in (("--pair", "text_pair"), ("--text", "text")):
        assert main([*command, "--json", option, "body", "title"]) == 0
        columns = json.loads(capsys.readouterr().out)["task"]["inputs"]
        assert columns == [{"name": "body", "modality": modality}, {"name": "title", "modality": modality}]
    assert main([*command, "--pair", "body", "title"]) == 0
    assert "predict 'label' from pair of texts 'body', 'title'" in " ".join(capsys.readouterr().out.split())
    assert main(command) == 2
    assert "join them into one text with --text title body, or compare two with --pair title body." in (
        capsys.readouterr().err
    )


def test_several_images_are_taken_together_where_they_are_named(tmp_path, capsys):
    for number in range(20):
        for view in ("front", "side"):
            (tmp_path / f"{view}{number}.png").write_bytes(f"{view} {number}".encode())
    table = pd.DataFrame({view: [f"{view}{n}.png" for n in range(20)] for view in ("side", "front")})
    table.assign(label=["x", "y"] * 10).to_csv(tmp_path / "table.csv", index=False)
    command = ["inspect", "--data", str(tmp_path / "table.csv")]
    assert main([*command, "--json", "--image", "front", "side"]) == 0
    columns = json.loads(capsys.readouterr().out)["task"]["inputs"]
    assert columns == [{"name": "front", "modality": "images"}, {"name": "side", "modality": "images"}]
    assert main([*command, "--image", "front", "side"]) == 0
    assert "predict 'label' from set of images 'front', 'side'" in " ".join(capsys.readouterr().out.split())
    assert main([*command, "--image", "side"]) == 0
    assert "predict 'label' from image 'side'" in " ".join(capsys.readouterr().out.split())
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "--image side or --image front, or take the images of a row together with --image side front." in said
    assert main([*command, "--image", "front", "label", "--target", "side"]) == 2
    assert "table.csv: row 1: column 'label' names" in capsys.readouterr().err


def test_lengths_split_and_notes_are_shown(messy, new_table, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["inspect", "--data", str(messy), "--test", str(new_table), "--group", "id"]) == 0
    out = capsys.readouterr().out
    assert "words of an input: 12 to 12, median 12" in out
    assert "holdout of 49 of 196 rows (25 %)" in out
    assert "messy.csv: row 11 (new.csv: row 5 has the same content)" in out
    assert "(--group)" in out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_output_in_a_pipe_is_utf_8_whatever_the_terminal_speaks(tmp_path, encoding):
    (tmp_path / "t.csv").write_text("text,label\n" + "a 漢字 text,é\nan other text,è\n" * 9, encoding="utf-8")
    command = [sys.executable, "-m", "autotl.cli.main", "inspect", "--data", str(tmp_path / "t.csv"), "--json"]
    options = ["--text", "text"]
    answer = subprocess.run(
        [*command, *options], env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=True
    )
    assert json.loads(answer.stdout)["task"]["classes"] == ["è", "é"]
