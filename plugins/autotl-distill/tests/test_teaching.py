"""A search with limits: a backbone that breaks them is trained to teach one that keeps them, by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ZOO = Path(__file__).parents[3] / "tests" / "thirdparty" / "zoo"

#: The tiny family twice: once said to be large and strong, once small and with a single feature. While there is a file
#: `cut`, the search is killed when the large one has been trained.
SIZES = """
import dataclasses, os, signal
from pathlib import Path
import autotl
from autotl.plugins.contracts import ZooContext

@autotl.hookimpl
def autotl_model_families(context):
    from autotl_tiny.family import TinyFamily

    class Large(TinyFamily):
        name, said = "large", dict(parameters=10**6, prior=0.9)

        def candidates(self, context):
            (one,) = super().candidates(ZooContext((Path({folder!r}),)))
            return [dataclasses.replace(one, family=self.name, **self.said)]

        def save(self, backbone, encoder, folder):  # of a training that is at its end, as it breaks the limits
            super().save(backbone, encoder, folder)
            if self.name == "large" and (cut := Path({cut!r})).exists():
                cut.unlink()
                os.kill(os.getppid(), signal.SIGKILL)

    class Poor(Large):
        name, said = "poor", dict(prior=0.4)

        def load(self, candidate, **how):
            return one_feature(super().load(candidate, **how))

        def restore(self, folder):
            backbone, encoder = super().restore(folder)
            return one_feature(backbone), encoder

    def one_feature(backbone):
        pool = backbone.pool
        backbone.pool = lambda state: pool(state) * (pool(state).new_ones(32).cumsum(0) == 1)
        return backbone

    return [Large(), Poor()]
"""


def events(run, kind):
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.fixture
def started(environment, table, tmp_path):
    """Starts a search of "poor", which "large" could teach, and what is done with its run."""
    information = tmp_path / "site" / "autotl_sizes-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: autotl-sizes\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[autotl.plugins.v1]\nsizes = autotl_sizes\n")
    (tmp_path / "site" / "autotl_sizes.py").write_text(SIZES.format(folder=str(ZOO / "two"), cut=str(tmp_path / "cut")))
    (tmp_path / "nothing").mkdir()
    search = ["--data", table, "--models", tmp_path / "nothing", "--backbones", "poor/two", "--max-params", "100k"]
    running = []

    def start(command, *arguments):
        options = [*search, "--out", tmp_path / "run"] if command == "search" else [tmp_path / "run"]
        process = subprocess.Popen(
            [sys.executable, "-m", "autotl.cli.main", *map(str, (command, *options, "--json", *arguments))],
            env=environment | {"PYTHONPATH": f"{environment['PYTHONPATH']}:{tmp_path / 'site'}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process):
    """Waits for the end of a process, which has to be a good one."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


TAUGHT = "large/two, which breaks the limits, is trained to teach one that keeps them"


@pytest.mark.slow
def test_what_breaks_the_limits_teaches_what_keeps_them(started, tmp_path):
    ended(started("search", "--trials", 3))
    run = tmp_path / "run"
    assert TAUGHT in [note["text"] for note in events(run, "note")]
    teacher = json.loads((run / "teacher" / "bundle.json").read_text(encoding="utf-8"))
    assert "large/two" in {member["backbone"] for member in teacher["members"]}
    assert events(run, "trial_started")[-1]["strategy"] == "distill"
    best = json.loads((run / "best" / "bundle.json").read_text(encoding="utf-8"))
    assert "large/two" not in {member["backbone"] for member in best["members"]}
    assert not (run / "paused").exists() or not list((run / "paused").glob("*-1000*"))


@pytest.mark.slow
def test_a_student_that_was_cut_goes_on_with_its_teacher(started, tmp_path):
    process = started("search", "--trials", 3)
    for line in process.stdout:
        if json.loads(line).get("strategy") == "distill":
            process.kill()
    process.wait()
    run = tmp_path / "run"
    assert not [event for event in events(run, "trial_ended") if event["trial"] == 2]
    ended(started("resume"))
    (student,) = [event for event in events(run, "trial_ended") if event["trial"] == 2]
    assert (student["state"], student["reason"]) == ("complete", "")
    assert [note["text"] for note in events(run, "note")].count(TAUGHT) == 1


@pytest.mark.slow
def test_a_search_that_was_killed_while_the_teacher_was_trained_goes_on(started, tmp_path):
    (tmp_path / "cut").touch()
    process = started("search", "--trials", 3)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    run = tmp_path / "run"
    assert not (run / "teacher").exists()
    ended(started("resume", "--trials", "+1"))
    assert [event["state"] for event in events(run, "trial_ended")] == ["complete"] * 4
    assert events(run, "trial_started")[-1]["strategy"] == "distill"
    assert (run / "teacher").exists()


@pytest.mark.slow
def test_where_nothing_breaks_the_limits_the_other_parts_of_the_table_judge_too(started, tmp_path):
    ended(started("search", "--trials", 3, "--max-params", "10M"))
    run = tmp_path / "run"
    assert not (run / "teacher").exists()
    assert len(events(run, "cross_validated")) == 1
