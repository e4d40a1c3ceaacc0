"""A search from the command line, with a stranger's plugin: what it leaves, what it survives, what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import time

import optuna
import pytest
from optuna.trial import TrialState

from .conftest import write_table

pytestmark = pytest.mark.slow


def events(run):
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def study(run):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(run / "study.journal")))
    return optuna.load_study(study_name="autotl", storage=storage)


def finished_trials(run):
    return [trial for trial in study(run).trials if trial.state.is_finished()]


def leaderboard(run):
    with (run / "leaderboard.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def finished(autotl, table, zoo):
    """A run of six trials."""
    done = autotl("search", "--data", table, "--models", zoo, "--trials", 6)
    assert done.returncode == 0, done.stderr
    return autotl.folder / "runs" / "colours"


def test_a_search_leaves_a_model_that_predicts_anywhere(autotl, finished, tmp_path):
    assert {path.name for path in finished.iterdir()} >= {
        "best", "leaderboard.csv", "run.json", "events.jsonl", "study.journal"
    }  # fmt: skip
    test = write_table(tmp_path / "test.csv", 90, seed=1)
    score = json.loads(autotl("evaluate", finished, "--data", test, "--json").stdout)
    assert score["accuracy"] > 0.8
    assert score["rows"] == 90

    shutil.copytree(finished / "best", tmp_path / "elsewhere")
    before = autotl("predict", finished, "--data", test).stdout
    shutil.rmtree(finished)
    assert autotl("predict", tmp_path / "elsewhere", "--data", test).stdout == before


def test_predictions_keep_rows_and_columns(autotl, finished, tmp_path):
    test = write_table(tmp_path / "test.csv", 30, seed=1)
    out = tmp_path / "predictions.csv"
    assert autotl("predict", finished, "--data", test, "--out", out).returncode == 0
    with out.open() as file, test.open() as original:
        rows, given = list(csv.DictReader(file)), list(csv.DictReader(original))
    assert [row["sentence"] for row in rows] == [row["sentence"] for row in given]
    for row in rows:
        probabilities = {name: float(row[f"probability_{name}"]) for name in ("warm", "cold", "plain")}
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert row["prediction"] == max(probabilities, key=probabilities.get)
    again = autotl("predict", finished, "--data", test, "--out", out)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_trial_0_is_the_published_recipe_of_the_best_screened_backbone(finished):
    screened = {event["backbone"]: event["score"] for event in events(finished) if event["kind"] == "screened"}
    first = study(finished).trials[0].params
    assert len(screened) == 2
    assert screened[first["backbone"]] == max(screened.values())
    assert first["strategy"] == "finetune"
    assert first["learning_rate_multiplier"] == first["epochs_multiplier"] == 1.0


def test_a_strategy_that_fails_is_failed_and_named_never_pruned(finished):
    failed = {row["strategy"]: row for row in leaderboard(finished) if row["state"] == "failed"}
    assert "the strategy crashed" in failed["crashes"]["reason"]
    assert "forgotten" in failed["forgets"]["reason"]
    states = {trial.params["strategy"]: trial.state for trial in finished_trials(finished)}
    assert states["crashes"] == states["forgets"] == TrialState.FAIL


def test_the_same_seed_gives_the_same_search(autotl, finished, table, zoo):
    assert autotl("search", "--data", table, "--models", zoo, "--trials", 6, "--out", "again").returncode == 0
    first, second = leaderboard(finished), leaderboard(autotl.folder / "again")
    for row in (*first, *second):
        row.pop("seconds")
    assert first == second


def test_an_existing_run_is_not_touched(autotl, finished, table, zoo):
    before = (finished / "run.json").read_bytes()
    refused = autotl("search", "--data", table, "--models", zoo, "--trials", 1)
    assert refused.returncode == 2
    assert "autotl resume runs/colours" in refused.stderr
    assert (finished / "run.json").read_bytes() == before


def test_resume_adds_trials_and_keeps_the_earlier_ones(autotl, finished):
    before = [trial.params for trial in finished_trials(finished)]
    done = autotl("resume", finished, "--trials", "+2")
    assert done.returncode == 0, done.stderr
    after = finished_trials(finished)
    assert [trial.params for trial in after[: len(before)]] == before
    assert len(after) == len(before) + 2


def test_the_budget_is_kept_and_the_test_rows_are_scored(autotl, table, zoo, tmp_path):
    test = write_table(tmp_path / "test.csv", 60, seed=1)
    began = time.monotonic()
    done = autotl("search", "--data", table, "--test", test, "--models", zoo, "--budget", "15s", "--json")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 18  # generous: machines that run tests are shared
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert next(line for line in lines if line["kind"] == "tested")["rows"] == 60
    assert lines[-1]["kind"] == "finished"


def test_ctrl_c_ends_with_the_best_so_far(autotl, table, zoo):
    process = autotl("search", "--data", table, "--models", zoo, "--budget", "5m", "--out", "run", wait=False)
    run = autotl.folder / "run"
    wait_for(lambda: (run / "best" / "bundle.json").exists(), process)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=20)
    assert process.returncode == 130, words
    assert json.loads((run / "run.json").read_text())["state"] == "interrupted"
    assert autotl("evaluate", run, "--data", table).returncode == 0


def test_a_killed_search_leaves_no_worker_and_resumes(autotl, table, zoo):
    process = autotl("search", "--data", table, "--models", zoo, "--budget", "60s", "--out", "run", wait=False)
    run = autotl.folder / "run"
    wait_for(lambda: (run / "best" / "bundle.json").exists(), process)
    (worker,) = children(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: worker not in running(), None)
    done = autotl("resume", run, "--budget", "+12s")
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "run.json").read_text())["state"] == "finished"


def test_a_worker_that_dies_costs_one_trial(autotl, table, zoo):
    (zoo / "tiny-b").rename(zoo / "killer")
    shutil.rmtree(zoo / "tiny-a")
    done = autotl("search", "--data", table, "--models", zoo, "--trials", 5)
    assert done.returncode == 0, done.stderr
    rows = leaderboard(autotl.folder / "runs" / "colours")
    (dead,) = [row for row in rows if row["strategy"] == "crashes"]
    assert (dead["state"], "killed" in dead["reason"]) == ("failed", True)
    assert [row for row in rows if row["state"] == "complete" and int(row["trial"].replace("screening", "-1")) > 0]


def test_rows_that_cannot_be_read_are_named_and_left_out(autotl, zoo, tmp_path):
    table = write_table(tmp_path / "dirty.csv", 120)
    lines = table.read_text().splitlines()
    lines[5] = "UNREADABLE," + lines[5].rpartition(",")[2]
    table.write_text("\n".join(lines))
    done = autotl("search", "--data", table, "--models", zoo, "--trials", 1)
    assert done.returncode == 0
    assert "dirty.csv: row 5: it says so" in done.stderr

    lines[10:40] = ["UNREADABLE," + line.rpartition(",")[2] for line in lines[10:40]]
    table.write_text("\n".join(lines))
    refused = autotl("search", "--data", table, "--models", zoo, "--trials", 1, "--out", "again")
    assert refused.returncode == 2
    assert "--skip-unreadable" in refused.stderr
    assert not (autotl.folder / "again").exists()


def wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.1)


def running():
    listed = subprocess.run(["ps", "-eo", "pid,stat"], capture_output=True, text=True).stdout.splitlines()[1:]
    return {int(line.split()[0]) for line in listed if not line.split()[1].startswith("Z")}


def children(parent):
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout.splitlines()[1:]
    return [int(pid) for pid, of in (line.split() for line in listed) if int(of) == parent]
