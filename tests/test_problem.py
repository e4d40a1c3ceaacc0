"""The file for a bug report: what happened, and nothing of the data."""

from __future__ import annotations

import json
import zipfile

import pytest

from autotl.cli.main import main
from autotl.events import EventLog

SECRETS = ("secret", "/home/somebody", "Mallory", "colour")

LOG = """something that a library printed of Mallory
Traceback (most recent call last):
  File "/home/somebody/site-packages/autotl/training/loop.py", line 17, in train
    secret = "Mallory"
  File "/home/somebody/autotl_tiny/network.py", line 3, in forward
ValueError: the cell 'secret' cannot be used
"""


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    events = EventLog(folder / "events.jsonl", lambda: 1.0, [])
    events.emit("phase", name="reading")
    events.emit(
        "task", task="binary", target="colour", input="secret", classes=["Mallory", "other"], rows={"secret": 3}
    )
    events.emit("note", text="left out: secret.csv: row 3")
    events.emit("trial_started", trial=0, backbone="tiny/one", strategy="finetune", planned_seconds=3.0)
    events.emit("trial_ended", trial=0, state="failed", score=None, reason="of a secret", reason_kind="memory")
    events.close()
    request = {"data": "/home/somebody/secret.csv", "target": "colour", "budget_seconds": 60.0, "seed": 3}
    task = {"kind": "binary", "metric": "accuracy", "classes": ["Mallory", "other"]}
    known = {"state": "running", "request": request, "task": task, "versions": {"torch": "2"}, "rows": {"training": 80}}
    (folder / "run.json").write_text(json.dumps(known), encoding="utf-8")
    (folder / "worker.log").write_text(LOG, encoding="utf-8")
    return folder


@pytest.fixture
def packed(run, tmp_path, monkeypatch, bare):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--bundle", "run"]) == 0
    with zipfile.ZipFile(tmp_path / "problem-run.zip") as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_it_says_what_happened_where_and_on_what(packed, capsys):
    assert set(packed) == {"machine.json", "run.json", "events.jsonl", "trials.jsonl", "worker.txt"}
    assert packed["worker.txt"].splitlines() == [
        "  training/loop.py:17 train", "  autotl_tiny/network.py:3 forward", "ValueError"
    ]  # fmt: skip
    told = [json.loads(line) for line in packed["events.jsonl"].splitlines()]
    assert told[-2] == {
        "at": 1.0, "kind": "trial_started", "trial": 0, "backbone": "tiny/one", "strategy": "finetune",
        "planned_seconds": 3.0,
    }  # fmt: skip
    assert told[-1]["reason_kind"] == "memory"
    facts = json.loads(packed["run.json"])
    assert (facts["request"]["budget_seconds"], facts["task"]["classes"]) == (60.0, 2)
    assert "torch" in json.loads(packed["machine.json"])["versions"]


def test_nothing_of_the_data_is_in_it(packed):
    for name, text in packed.items():
        for secret in SECRETS:
            assert secret not in text, name


def test_nothing_is_written_over_and_a_folder_without_a_run_is_refused(packed, tmp_path, capsys):
    assert main(["doctor", "--bundle", "run"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["doctor", "--out", "other.zip"]) == 2
    assert "--bundle RUN" in capsys.readouterr().err
    assert main(["doctor", "--bundle", "run", "--out", "other.json.zip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"].endswith("other.json.zip")
    assert main(["doctor", "--bundle", str(tmp_path), "--out", "other.zip"]) == 2
    assert "no run here" in capsys.readouterr().err
    assert not (tmp_path / "other.zip").exists()
