"""The log of trials: what it says, that a kill and a resume leave it whole, and that it can be given away."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from autotl.config import SearchRequest
from autotl.data.task import InputColumn, Task
from autotl.errors import RunError
from autotl.events import EventLog
from autotl.runs.folder import EVENTS_FILE, RUN_LOG_FILE
from autotl.runs.run_file import RunFile
from autotl.search.run_log import RunLog, read_run_logs

LABELS = np.array([0, 0, 0, 1, 2], np.int64)
SETTINGS = {"learning_rate_multiplier": 1.0, "schedule": "cosine"}
UNITS = {"learning_rate_multiplier": 0.5, "schedule": "cosine"}


def run_file(name="first"):
    inputs = (InputColumn(name="secret column", modality="text"),)
    classes = ("secret a", "b", "c")
    return RunFile(
        id=name,
        state="running",
        request=SearchRequest(data="/home/somebody/secret.csv", budget_seconds=100.0),
        task=Task(targets=("secret target",), kind="multiclass", classes=classes, inputs=inputs, metric="accuracy"),
        data_fingerprint="digest",
        rows={"training": 5, "validation": 2, "set aside": 0},
        audit_seconds=1.0,
        versions={},
        machine="somewhere",
    )


class Story:
    """A run's events at times of the teller's choice, heard by its log."""

    def __init__(self, folder, *, name="first"):
        folder.mkdir(exist_ok=True)
        self.now = 0.0
        self.events = EventLog(folder / EVENTS_FILE, lambda: self.now, [])
        self.events.listen(RunLog(folder, run_file(name), LABELS, device="cuda:0", noise=0.02))

    def tell(self, at, kind, **data):
        self.now = at
        self.events.emit(kind, **data)

    def begin(self):
        self.tell(1.0, "screened", backbone="tiny/one", score=0.7, parameters=1000, licence="mit")
        self.tell(2.0, "head", trial=-1, score=0.6, backbone="tiny/one")
        self.tell(3.0, "head", trial=-1, score=0.65, backbone="tiny/one")

    def start(self, trial, at=10.0):
        config = {"backbone": "tiny/one", "strategy": "finetune", **SETTINGS}
        self.tell(at, "trial_started", trial=trial, **config, units=UNITS, planned_seconds=20.0)

    def end(self, trial, state, *, at=30.0, score=0.8, seconds=20.0, reason="", reason_kind=""):
        ending = {"state": state, "score": score, "seconds": seconds, "reason": reason, "reason_kind": reason_kind}
        self.tell(at, "trial_ended", trial=trial, **ending)


def lines(folder):
    return (folder / RUN_LOG_FILE).read_text(encoding="utf-8").splitlines()


def test_line_says_what_was_tried_on_what_and_what_became_of_it(tmp_path):
    story = Story(tmp_path)
    story.begin()
    story.start(0)
    story.tell(12.0, "progress", trial=0, permille=111, score=0.7)
    story.tell(30.0, "progress", trial=0, permille=1000, score=0.8)
    story.end(0, "complete")
    (line,) = read_run_logs(tmp_path).trials
    assert (line.run, line.trial, line.state, line.score, line.reason_kind) == ("first", 0, "complete", 0.8, "")
    assert (line.strategy, line.settings, line.units) == ("finetune", SETTINGS, UNITS)
    assert line.curve == ((111, 2.0, 0.7), (1000, 20.0, 0.8))
    assert (line.seconds, line.planned_seconds, line.floor, line.noise) == (20.0, 20.0, 0.65, 0.02)
    assert line.backbone.model_dump() == {"key": "tiny/one", "parameters": 1000, "licence": "mit"}
    assert line.machine.device == "cuda"
    assert line.task.model_dump() == {
        "data": "digest", "modality": "text", "kind": "multiclass", "metric": "accuracy", "rows": 5, "classes": 3,
        "largest_class": 0.6, "log10_budget": 2.0,
    }  # fmt: skip


def test_failure_is_told_by_its_kind_alone_and_nothing_of_the_data_is_in_a_line(tmp_path):
    story = Story(tmp_path)
    story.begin()
    story.start(0)
    story.end(0, "failed", score=None, reason="ValueError: /home/somebody/secret.csv", reason_kind="defect")
    (text,) = lines(tmp_path)
    assert json.loads(text)["reason_kind"] == "defect"
    assert "secret" not in text
    assert "somebody" not in text


def test_trial_that_is_cut_and_goes_on_counts_once_with_its_whole_curve(tmp_path):
    story = Story(tmp_path)
    story.begin()
    story.start(0)
    story.tell(15.0, "progress", trial=0, permille=333, score=0.7)
    story.end(0, "cut", at=20.0, score=0.7, seconds=10.0)
    story.events.close()
    story = Story(tmp_path)
    assert len(lines(tmp_path)) == 1
    story.tell(50.0, "trial_continued", trial=0, permille=333, planned_seconds=9.0)
    story.tell(60.0, "progress", trial=0, permille=1000, score=0.8)
    story.end(0, "complete", at=60.0, seconds=20.0)
    assert [json.loads(line)["state"] for line in lines(tmp_path)] == ["cut", "complete"]
    (line,) = read_run_logs(tmp_path).trials
    assert line.state == "complete"
    assert line.curve == ((333, 5.0, 0.7), (1000, 20.0, 0.8))
    assert line.planned_seconds == 20.0


def test_paused_trials_are_written_when_the_search_ends_and_not_again_when_it_is_resumed(tmp_path):
    story = Story(tmp_path)
    story.begin()
    story.start(0)
    story.end(0, "paused", score=0.7)
    assert not (tmp_path / RUN_LOG_FILE).exists()
    story.tell(40.0, "finished", score=0.7)
    story.events.close()
    story = Story(tmp_path)
    story.tell(80.0, "finished", score=0.7)
    assert [json.loads(line)["state"] for line in lines(tmp_path)] == ["paused"]


def test_line_that_a_kill_kept_from_being_written_is_written_by_the_resumed_run(tmp_path):
    story = Story(tmp_path)
    story.begin()
    for trial in (0, 1):
        story.start(trial)
        story.end(trial, "complete")
    story.events.close()
    whole = lines(tmp_path)
    (tmp_path / RUN_LOG_FILE).write_text(whole[0] + "\n" + whole[1][:40], encoding="utf-8")
    assert [line.trial for line in read_run_logs(tmp_path).trials] == [0]
    Story(tmp_path)
    assert lines(tmp_path) == [whole[0], whole[1][:40], whole[1]]
    logs = read_run_logs(tmp_path)
    assert [line.trial for line in logs.trials] == [0, 1]
    assert logs.skipped == 0


def test_runs_below_a_folder_are_found_and_lines_of_another_format_counted(tmp_path):
    for name in ("one", "two"):
        story = Story(tmp_path / name, name=name)
        story.begin()
        story.start(0)
        story.end(0, "complete")
    (good,) = lines(tmp_path / "one")
    later = json.loads(good) | {"format": 2}
    odd = json.loads(good) | {"score": math.nan, "trial": 7}
    with (tmp_path / "two" / RUN_LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(later) + "\n" + json.dumps(odd) + "\n[]\n")
    logs = read_run_logs(tmp_path)
    assert {(line.run, line.trial) for line in logs.trials} == {("one", 0), ("two", 0)}
    assert logs.skipped == 3


def test_folder_without_logs_is_refused(tmp_path):
    with pytest.raises(RunError, match=RUN_LOG_FILE):
        read_run_logs(tmp_path / "nowhere")
