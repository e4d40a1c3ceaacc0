"""``autotl distill`` as a person runs it, and teachers that cannot teach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from autotl.cli.main import main

ZOO = Path(__file__).parents[3] / "tests" / "thirdparty" / "zoo"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def events(run, kind):
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.fixture(scope="module")
def distilled(command_line, teacher):
    """What the command printed, and its run's folder."""
    options = ["--student", "two", "--models", ZOO, "--target-latency", "10s", "--trials", 3]
    return command_line("distill", teacher, *options), teacher.with_name("kinds-distilled")


def test_a_run_becomes_one_model_of_the_student_that_was_named(distilled, teacher):
    answer, run = distilled
    assert answer.returncode == 0, answer.stderr
    (only,) = read(run / "best" / "bundle.json")["members"]
    assert only["backbone"] == "tiny/two"
    request, before = read(run / "run.json")["request"], read(teacher / "run.json")["request"]
    assert (request["data"], request["seed"]) == (before["data"], before["seed"])
    assert request["limits"] == {"latency": 10.0, "parameters": None, "size": None, "passes": 1}
    assert read(run / "split.json") == read(teacher / "split.json")


def test_the_twin_without_a_teacher_is_in_the_run_and_the_last_screen_says_who_won(distilled):
    answer, run = distilled
    started = [event["strategy"] for event in events(run, "trial_started")]
    assert started[:2] == ["finetune", "distill"]
    (compared,) = events(run, "compared")
    assert (compared["strategy"], compared["twin"]) == ("distill", "finetune")
    assert (compared["trial"], compared["other"]) == (1, 0)
    assert compared["low"] <= compared["difference"] <= compared["high"]
    screen = " ".join(answer.stdout.split())
    assert "against finetune of tiny/two with the same settings" in screen
    learned = read(run / "best" / "bundle.json")["members"][0]["strategy"] == "distill"
    assert ("learned from the teacher" if learned else "did better without the teacher") in screen


def test_a_teacher_that_saw_the_validation_rows_is_told(distilled, teacher):
    _, run = distilled
    told = any("the teacher was trained on the rows that had judged it" in note["text"] for note in events(run, "note"))
    assert told == read(teacher / "best" / "bundle.json")["refit"]


def test_the_distilled_run_predicts_and_resumes(distilled, command_line, table, tmp_path):
    run = shutil.copytree(distilled[1], tmp_path / "run")
    answer = command_line("resume", run, "--trials", "+1")
    assert answer.returncode == 0, answer.stderr
    assert len(events(run, "trial_started")) == 4
    out = tmp_path / "predictions.csv"
    assert command_line("predict", run, "--data", table, "--out", out).returncode == 0
    assert len(pd.read_csv(out)) == 200


def test_a_scheduler_ends_it_with_the_best_student_so_far(environment, teacher, tmp_path):
    """SIGTERM, as for any search."""
    command = ["distill", teacher, "--models", ZOO, "--budget", "5m", "--json", "--out", tmp_path / "run"]
    with subprocess.Popen(
        [sys.executable, "-m", "autotl.cli.main", *map(str, command)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    ) as process:  # fmt: skip
        try:
            assert any(json.loads(line)["kind"] == "progress" for line in process.stdout)
            process.terminate()
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, errors) == (130, "")
    assert read(tmp_path / "run" / "run.json")["state"] == "interrupted"
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_command_is_listed(command_line):
    assert "distill" in command_line("--help").stdout


@pytest.fixture
def refused(tiny, environment, monkeypatch, capsys, caplog):
    """Runs a command in this process that must be refused, and returns the one line that says why."""
    for name in [name for name in os.environ if name.startswith(("AUTOTL_", "HF_"))]:
        monkeypatch.delenv(name)
    for name in ("AUTOTL_CACHE", "HF_HOME", "HF_HUB_OFFLINE", "OMP_WAIT_POLICY", "PYTHONPATH"):
        monkeypatch.setenv(name, environment[name])

    def run(*arguments):
        assert main(list(map(str, arguments))) == 2
        assert not caplog.records  # a process of its own would have these on the screen too
        told = capsys.readouterr().err
        assert len(told.splitlines()) == 1, told
        return told

    return run


def test_a_folder_without_a_run_is_refused(refused, tmp_path):
    assert "no run here" in refused("distill", tmp_path)


def test_a_run_that_learned_labels_is_refused(refused, teacher, tmp_path):
    run = shutil.copytree(teacher, tmp_path / "labels", symlinks=True)
    card = read(run / "best" / "bundle.json")
    card["task"]["kind"] = "multilabel"
    (run / "best" / "bundle.json").write_text(json.dumps(card), encoding="utf-8")
    assert "it answers with multilabel, and only classes can be distilled" in refused("distill", run)
    assert not run.with_name("labels-distilled").exists()


def test_a_student_that_is_not_here_is_refused_with_those_that_are(refused, teacher, tmp_path):
    options = ["--student", "twoo", "--models", ZOO, "--trials", 1, "--out", tmp_path / "run"]
    assert "Did you mean 'two'?" in refused("distill", teacher, *options)
    assert not (tmp_path / "run").exists()


def test_a_limit_that_no_student_keeps_is_refused(refused, teacher, tmp_path):
    options = ["--max-params", "10", "--trials", 1, "--out", tmp_path / "run"]
    assert "more than --max-params allows" in refused("distill", teacher, *options)


def test_a_run_whose_data_is_gone_is_refused(refused, teacher, tmp_path):
    run = shutil.copytree(teacher, tmp_path / "run")
    known = read(run / "run.json")
    known["request"]["data"] = "DataFrame"
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    assert "its table was a DataFrame" in refused("distill", run)


def test_a_folder_that_has_something_in_it_is_left_alone(refused, teacher, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    assert "exists already" in refused("distill", teacher, "--trials", 1, "--out", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_teacher_of_other_classes_is_refused(refused, teacher, table, tmp_path):
    frame = pd.read_csv(table)
    frame["label"] = frame["label"].replace({"stone": "rock"})
    frame.to_csv(tmp_path / "other.csv", index=False)
    options = ["--data", tmp_path / "other.csv", "--models", ZOO, "--trials", 1, "--out", tmp_path / "run"]
    assert "a teacher needs the same classes" in refused("search", *options, "--teacher", teacher)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_columns_is_refused(refused, teacher, table, tmp_path):
    frame = pd.read_csv(table)
    frame.insert(1, "more", frame["text"])
    frame.to_csv(tmp_path / "other.csv", index=False)
    options = ["--data", tmp_path / "other.csv", "--models", ZOO, "--trials", 1, "--out", tmp_path / "run"]
    told = refused("search", *options, "--text", "text", "more", "--teacher", teacher)
    assert "reads text, and other.csv has text and more for an input" in told
