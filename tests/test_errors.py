"""What cannot be used is refused in one line with exit code 2, and leaves nothing behind.

Tables that cannot be used are in `data/test_bad_tables.py`, settings in `test_bad_settings.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotl.cli.main import main


@pytest.fixture
def search(refused, tmp_path, zoo):
    """Searches a table of `lines` that must be refused."""

    def run(lines, *options, models=zoo):
        data = tmp_path / "table.csv"
        data.write_bytes(lines if isinstance(lines, bytes) else "\n".join(lines).encode())
        return refused("search", "--data", data, "--models", models, "--trials", "1", *options)

    return run


def lines(labels, header="text,label"):
    return [header, *(f"review number {number} was written,{label}" for number, label in enumerate(labels))]


GOOD = lines(["good", "bad"] * 20)


def test_missing_file(refused, tmp_path):
    for command in (["search", "--data"], ["inspect", "--data"]):
        assert "gone.csv" in refused(*command, tmp_path / "gone.csv")


def test_missing_column(search):
    assert "'labell'" in search(GOOD, "--target", "labell")
    assert "'body'" in search(GOOD, "--text", "body")


def test_group_that_is_none(search):
    assert "'pateint'" in search(GOOD, "--group", "pateint")
    assert "both the target and the group" in search(GOOD, "--group", "label")
    two = ["text,label,author", *(f"{line},{'ann' if line.endswith('good') else 'bob'}" for line in GOOD[1:])]
    assert "leave out --group" in search(two, "--target", "label", "--group", "author")


def test_list_of_rows_to_set_aside(search, refused, tmp_path):
    assert "gone.csv" in search(GOOD, "--set-aside", tmp_path / "gone.csv")
    (tmp_path / "list.csv").write_text("row\n7\n70\n")
    assert "list.csv: line 3: '70'" in search(GOOD, "--set-aside", tmp_path / "list.csv")
    assert "exists already" in refused("inspect", "--data", tmp_path / "table.csv", "--out", tmp_path / "list.csv")
    assert "no such folder" in refused(
        "inspect", "--data", tmp_path / "table.csv", "--out", tmp_path / "no" / "list.csv"
    )


@pytest.mark.parametrize("budget", ["0s", "-5m", "soon", "99y", "1000d", "nan", "5s"])
def test_absurd_budget(search, budget):
    assert f"'{budget}'" in search(GOOD, f"--budget={budget}")


@pytest.mark.parametrize("trials", ["0", "-1", "1000000000"])
def test_absurd_number_of_trials(search, trials):
    assert trials in search(GOOD, f"--trials={trials}")


@pytest.mark.parametrize(("size", "way_out"), [("lots", "6GB"), ("-1GB", "6GB"), ("1KB", "at least 200MB")])
def test_memory_that_is_none(search, size, way_out):
    assert way_out in search(GOOD, f"--max-memory={size}")


@pytest.mark.parametrize("seed", ["-1", str(2**40)])
def test_seed_that_no_generator_takes(search, seed):
    assert "seed" in search(GOOD, f"--seed={seed}")


@pytest.mark.parametrize("share", ["200%", "few", "-1"])
def test_share_that_is_none(search, share):
    assert "--skip-unreadable" in search(GOOD, f"--skip-unreadable={share}")


def test_no_backbone_in_the_folder_given(search, tmp_path):
    (tmp_path / "models").mkdir()
    said = search(GOOD, models=tmp_path / "models")
    assert "no text backbone found" in said
    assert "--models" in said


def test_no_backbone_for_images(search, zoo, tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]))
    table = ["image,label", *(f"{number}.png,{'ab'[number % 2]}" for number in range(40))]
    said = search(table)
    assert "image backbone" in said


def test_missing_folder_of_models(search, tmp_path):
    assert "no such folder of models" in search(GOOD, models=tmp_path / "nowhere")


def test_output_that_cannot_be_written(search, tmp_path):
    (tmp_path / "file").write_text("precious")
    said = search(GOOD, "--out", tmp_path / "file" / "below" / "run")
    assert "cannot be written" in said
    assert "--out" in said
    assert "exists already" in search(GOOD, "--out", tmp_path / "file")


def test_run_folder_that_exists(search, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("precious")
    said = search(GOOD, "--out", tmp_path / "run")
    assert "exists already" in said
    assert "autotl resume" in said


def test_folder_that_is_empty_is_taken_and_given_back(search, tmp_path):
    """An empty folder is a fine place for a run, and a refused run leaves it alone."""
    (tmp_path / "run").mkdir()
    search(lines(["good"] * 40), "--out", tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_unknown_metric(search):
    assert "'acuracy'" in search(GOOD, "--metric", "acuracy")
    assert "roc_auc" in search(lines(["a", "b", "c"] * 20), "--metric", "roc_auc")


def test_run_or_bundle_that_is_not_there(refused, tmp_path, new_table):
    assert "no such run" in refused("predict", tmp_path / "gone", "--data", new_table, "--out", tmp_path / "p.csv")
    assert "no such run" in refused("evaluate", tmp_path / "gone", "--data", new_table)
    assert "no run here" in refused("resume", tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 2}', '{"format": 1}'], ids=lambda text: text or "empty"
)
def test_bundle_that_is_torn_or_of_another_version(refused, tmp_path, new_table, content):
    (tmp_path / "bundle.json").write_text(content)
    assert "bundle" in refused("predict", tmp_path, "--data", new_table)


def test_a_plugin_that_a_bundle_needs_is_named(refused, tmp_path, new_table):
    member = {
        "folder": "0001", "family": "lost", "backbone": "lost/one", "licence": "", "strategy": "probe",
        "settings": {}, "trial": "1",
    }  # fmt: skip
    card = {
        "format": 2, "weights": "0001", "members": [member], "score": 0.5, "optimism": 0.0, "standard_error": 0.1,
        "interval": [0.4, 0.6], "chosen_among": 1, "validation_rows": 5, "training_rows": 9, "versions": {},
        "created": "", "task": {
            "targets": ["label"], "kind": "binary", "classes": ["a", "b"], "metric": "accuracy",
            "inputs": [{"name": "text", "modality": "text"}],
        },
    }  # fmt: skip
    (tmp_path / "bundle.json").write_text(json.dumps(card))
    assert "'lost'" in refused("predict", tmp_path, "--data", new_table)


@pytest.mark.parametrize("command", [["--help"], ["search", "--help"], ["--version"]])
def test_help_and_version_are_no_errors(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    assert "autotl" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["serch"], ["search"], ["search", "--data", "x", "--json", "--quiet"]])
def test_wrong_usage_is_exit_code_2(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "usage: autotl" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["search", "--data"], ["predict"], ["show"], ["resume"], ["watch"], ["report"]],
    ids=lambda words: words[0],
)
def test_a_name_that_is_too_long_for_any_file(refused, tmp_path, words):
    name, table = tmp_path / ("x" * 300) / "t.csv", tmp_path / "t.csv"
    table.write_text("\n".join(GOOD))
    more = {"predict": ["--data", table], "show": ["0"]}.get(words[0], [])
    assert "x" * 300 in refused(*words, name, *more)


def test_what_may_not_be_entered_is_named(refused, tmp_path, monkeypatch):
    whole = Path.stat

    def locked(path, **how):
        if "runs" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, **how)

    monkeypatch.setattr(Path, "stat", locked)
    for words in (["resume", tmp_path / "runs"], ["report", tmp_path / "runs"], ["watch", tmp_path / "runs"]):
        told = refused(*words)
        assert "runs" in told
        assert "report.html" not in told
        assert "Permission denied" in told
