"""Searches that are interrupted, killed, stopped, or given trials that fail: what they leave, and that they go on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from run_folders import (
    alive,
    children,
    events,
    leaderboard,
    needs_proc,
    notes,
    read_until,
    run_file,
    states,
    wait_until,
    write_checkpoint,
)

import autotl
from autotl.config import SearchRequest
from autotl.runs.checkpoints import Checkpoints
from autotl.search import pace
from autotl.search.engine import Search
from autotl.search.pace import Pace
from autotl.search.resuming import resume
from autotl.search.run_log import read_run_logs

THIRD_PARTY = Path(__file__).parent / "thirdparty"

#: The tiny family, whose only backbone fails as often as `{fails}` says when it is loaded to be trained.
FRAIL = """
import dataclasses, os, pathlib, time
import autotl

COUNTER = pathlib.Path({counter!r})

@autotl.hookimpl
def autotl_model_families(context):
    from autotl_tiny.family import TinyFamily

    class Frail(TinyFamily):
        name = "frail"

        def candidates(self, context):
            found = super().candidates(context)
            return [dataclasses.replace(one, family=self.name, prior=0.9) for one in found]

        def load(self, candidate, *, drop=0.0, pretrained=True):
            backbone = super().load(candidate, drop=drop, pretrained=pretrained)
            COUNTER.write_text(str(number := int(COUNTER.read_text()) + 1))
            {fails}
            return backbone

    return [Frail()]
"""

#: A clock on the wall that somebody sets forth and back all the time.
JUMPING = """
import random, time
truth = time.time
time.time = lambda: truth() + random.uniform(-1e6, 1e6)
"""


@pytest.fixture
def frail(distribution, monkeypatch, tmp_path, put_on_path, here):
    """Makes the family "frail" by what happens in a load; `number` counts them."""

    def make(fails):
        (tmp_path / "counter").write_text("0")
        folder = distribution("frail", FRAIL.format(counter=str(tmp_path / "counter"), fails=fails))
        put_on_path(folder)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (THIRD_PARTY / "tiny", folder))))

    return make


# -------------------------------------------------------------------- ends


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_ends_cleanly_with_a_bundle(started, table, new_table, zoo, tmp_path, here, end):
    process = started(
        "search", "--data", table, "--models", zoo, "--budget", "5m", "--json", "--out", "run", cwd=tmp_path
    )
    read_until(process, "progress")
    if (
        end == signal.SIGHUP
    ):  # a shell that dies with its terminal tells all that it has begun, and the system does, too
        os.killpg(process.pid, end)
        os.killpg(process.pid, end)
    else:
        os.kill(process.pid, end)
    began = time.monotonic()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert time.monotonic() - began < 5.0
    assert run_file(tmp_path / "run")["state"] == "interrupted"
    assert (autotl.load(tmp_path / "run").predict(new_table) != None).all()  # noqa: E711  element by element


def test_a_search_whose_events_nobody_reads_ends_well(started, table, zoo, tmp_path):
    process = started(
        "search", "--data", table, "--models", zoo / "one", "--trials", 1, "--json", "--out", "run", cwd=tmp_path
    )
    read_until(process, "task")
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, "")
    assert run_file(tmp_path / "run")["state"] == "finished"


@pytest.mark.slow
def test_a_row_that_is_lost_costs_its_trial_only(table, zoo, frail, tmp_path):
    frail(
        "if number == 4:\n"
        "                from autotl.errors import RowLostError\n"
        "                raise RowLostError('0.png: gone, though it could be read before')"
    )
    Search(SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=4), tmp_path / "run").run()
    ended = events(tmp_path / "run", "trial_ended")
    assert [event["reason_kind"] for event in ended if event["state"] == "failed"] == ["data"]
    assert run_file(tmp_path / "run")["state"] == "finished"


@pytest.mark.slow
@needs_proc
def test_worker_that_is_killed_costs_its_trial_only(started, table, zoo, tmp_path):
    process = started("search", "--data", table, "--models", zoo, "--trials", 2, "--json", "--out", "run", cwd=tmp_path)
    assert read_until(process, "trial_started")["trial"] == 0
    (worker,) = children(process.pid)
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    first, second = events(tmp_path / "run", "trial_ended")
    assert (first["state"], second["state"]) == ("failed", "complete")
    assert "killed" in first["reason"]
    assert states(tmp_path / "run")[0] == TrialState.FAIL


@needs_proc
def test_worker_that_dies_between_trials_costs_one_trial_at_most(table, zoo, here, tmp_path):
    def kill(event):
        if event.kind == "trial_ended" and event.data["trial"] == 0:
            for worker in children(os.getpid()):
                os.kill(worker, signal.SIGKILL)
                assert wait_until(lambda worker=worker: not alive(worker))

    request = SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=3)
    Search(request, tmp_path / "run", listeners=[kill]).run()
    ended = [event["state"] for event in events(tmp_path / "run", "trial_ended")]
    assert ended[0] == "complete"
    assert ended[-1] == "complete"
    assert ended.count("failed") <= 1


@needs_proc
def test_worker_that_dies_while_screening_costs_one_backbone_at_most(table, zoo, here, tmp_path):
    def kill(event):
        if event.kind == "screened" and not dead:
            for worker in children(os.getpid()):
                dead.append(worker)
                os.kill(worker, signal.SIGKILL)
                assert wait_until(lambda worker=worker: not alive(worker))

    dead = []
    request = SearchRequest(data=str(table), models=(str(zoo),), trials=1)
    Search(request, tmp_path / "run", listeners=[kill]).run()
    assert [event["state"] for event in events(tmp_path / "run", "trial_ended")] == ["complete"]


@pytest.mark.slow
@needs_proc
def test_time_kept_for_the_test_rows_is_there_for_a_new_worker_too(table, new_table, zoo, here, tmp_path, monkeypatch):
    def kill(event):
        if (event.kind, event.data.get("name")) == ("phase", "finishing"):
            monkeypatch.setattr(Pace, "_test_seconds", lambda self: 100.0)  # all that is left is for them
            for worker in children(os.getpid()):
                os.kill(worker, signal.SIGKILL)
                assert wait_until(lambda worker=worker: not alive(worker))

    models = (str(zoo / "one"),)
    request = SearchRequest(data=str(table), test=str(new_table), models=models, budget_seconds=60.0, trials=1)
    outcome = Search(request, tmp_path / "run", listeners=[kill]).run()
    assert outcome.folder == tmp_path / "run"
    assert events(tmp_path / "run", "tested"), notes(tmp_path / "run")


@pytest.mark.slow
@needs_proc
def test_engine_that_is_killed_leaves_no_worker_and_can_be_resumed(started, command_line, table, zoo, tmp_path):
    process = started(
        "search", "--data", table, "--models", zoo / "one", "--trials", 2, "--json", "--out", "run", cwd=tmp_path
    )
    assert read_until(process, "trial_started")["trial"] == 0
    (worker,) = children(process.pid)
    process.kill()
    process.wait()
    assert wait_until(lambda: not alive(worker), 5.0)
    answer = command_line("resume", tmp_path / "run", "--trials", "+1", "--quiet")
    assert answer.returncode == 0, answer.stderr
    assert run_file(tmp_path / "run")["state"] == "finished"
    assert set(states(tmp_path / "run").values()) == {TrialState.COMPLETE}
    assert [event["trial"] for event in events(tmp_path / "run", "trial_started")] == [0, 1, 2]
    assert [event["trial"] for event in events(tmp_path / "run", "trial_continued")] == [0]
    assert [event["trial"] for event in events(tmp_path / "run", "trial_ended")] == [0, 1, 2]
    assert [line.trial for line in read_run_logs(tmp_path / "run").trials] == [0, 1, 2]
    assert len((tmp_path / "run" / "trials.jsonl").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.slow
def test_floor_is_measured_by_the_next_process_where_the_first_was_killed_before_it(
    started, command_line, table, zoo, tmp_path
):
    process = started("search", "--data", table, "--models", zoo, "--trials", 1, "--json", "--out", "run", cwd=tmp_path)
    read_until(process, "task")
    process.kill()
    process.wait()
    assert not events(tmp_path / "run", "floor")
    for more in (0, 1):
        answer = command_line("resume", tmp_path / "run", "--trials", f"+{more}", "--quiet")
        assert answer.returncode == 0, answer.stderr
        (floor,) = events(tmp_path / "run", "floor")
        assert floor["words"] > floor["majority"]


@pytest.mark.slow
@pytest.mark.parametrize("starts", [1, 3])
def test_trial_in_whose_forecast_the_search_was_killed_is_told_of_when_it_goes_on(
    started, command_line, table, zoo, tmp_path, frail, starts
):
    frail("if number == 2: os.kill(os.getppid(), 9)")
    also = os.environ["PYTHONPATH"].split(os.pathsep)
    search = ["search", "--data", table, "--models", zoo / "one", "--backbones", "frail/one", "--trials", 1]
    process = started(*search, "--json", "--out", "run", cwd=tmp_path, also=also)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    run = tmp_path / "run"
    assert states(run) == {0: TrialState.RUNNING}
    assert not events(run, "trial_started")
    set_starts(run, starts, reached=[0.0, 9000.0])
    answer = command_line("resume", run, "--quiet", also=also)
    assert answer.returncode == 0, answer.stderr
    (told,) = events(run, "trial_started")
    (end,) = events(run, "trial_ended")
    (line,) = read_run_logs(run).trials
    assert (told["trial"], told["backbone"], told["strategy"]) == (0, "frail/one", "finetune")
    assert end["state"] == line.state == ("complete" if starts == 1 else "failed")
    assert line.settings == {name: told[name] for name in told["units"]}
    assert [row["trial"] for row in leaderboard(run) if row["trial"] != "head"] == ["0"]
    assert first_trial(run).user_attrs["reached"] == [0.0, 9000.0], "how far it ever came, though it begins anew"


def set_starts(run, number, *, reached=None):
    """How often the first trial was begun, as far as the study knows, since its checkpoint was written."""
    trial = first_trial(run)
    trial.set_user_attr("starts", number)
    trial.set_user_attr("reached", reached or Checkpoints(run).reached(0))


def first_trial(run):
    storage = JournalStorage(JournalFileBackend(str(run / "study.journal")))
    study = optuna.load_study(study_name=None, storage=storage)
    return optuna.Trial(study, study.trials[0]._trial_id)


@pytest.mark.slow
def test_strategies_with_faults_are_failed_trials_with_their_reason(command_line, table, zoo, tmp_path):
    answer = command_line(
        "search", "--data", table, "--models", zoo / "one", "--trials", 6, "--quiet", "--out", "run",
        cwd=tmp_path, also=[THIRD_PARTY / "odd"],
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    run = tmp_path / "run"
    strategies = {event["trial"]: event["strategy"] for event in events(run, "trial_started")}
    reasons = {strategies[event["trial"]]: event for event in events(run, "trial_ended")}
    assert set(reasons) >= {"finetune", "probe", "clumsy", "forgetful", "boundless"}
    assert {reasons[name]["state"] for name in ("forgetful", "clumsy", "boundless")} == {"failed"}
    assert "forecast of boundless: " in reasons["boundless"]["reason"]
    assert "never read: zeal" in reasons["forgetful"]["reason"]
    assert "ZeroDivisionError: dropped the vase" in reasons["clumsy"]["reason"]
    logged = {line.strategy: (line.state, line.reason_kind) for line in read_run_logs(run).trials}
    assert logged["clumsy"] == ("failed", "plugin")
    assert logged["forgetful"] == ("failed", "plugin")
    booked = {strategies[number]: state for number, state in states(run).items() if number in strategies}
    assert booked["forgetful"] == booked["clumsy"] == TrialState.FAIL
    assert booked["finetune"] == booked["probe"] == TrialState.COMPLETE
    listed = {row["strategy"]: row for row in leaderboard(run) if row["trial"] not in {"head", "mean"}}
    assert "dropped the vase" in listed["clumsy"]["reason"]


def test_cache_that_cannot_be_written_does_not_stop_a_search(command_line, table, zoo, tmp_path):
    (tmp_path / "file").touch()
    answer = command_line(
        "search", "--data", table, "--models", zoo / "one", "--trials", 1, "--quiet", "--out", "run",
        cwd=tmp_path, environment={"AUTOTL_CACHE": str(tmp_path / "file" / "below")},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr


@pytest.mark.slow
def test_worker_that_cannot_start_ends_the_search_with_its_reason(command_line, table, zoo, tmp_path):
    """A broken torch: nothing can be trained, and waiting for the budget's end would not help."""
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    (tmp_path / "broken" / "torch" / "__init__.py").write_text("raise ImportError('libtorch is broken')\n")
    began = time.monotonic()
    answer = command_line(
        "search", "--data", table, "--models", zoo, "--budget", "30s", "--out", "run",
        cwd=tmp_path, also=[tmp_path / "broken"],
    )  # fmt: skip
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("autotl: ")
    assert "libtorch is broken" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert time.monotonic() - began < 20
    assert not (tmp_path / "run").exists()


#: A worker that has no memory left when it is told what to do.
FULL_MEMORY = """
import sys
if "autotl.search.worker" in sys.orig_argv:
    import autotl.features.memory

    def limit_memory(most):
        raise MemoryError("nothing is left")

    autotl.features.memory.limit_memory = limit_memory
"""


@pytest.mark.slow
def test_worker_that_cannot_be_set_up_ends_the_search_with_its_reason(command_line, table, zoo, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "sitecustomize.py").write_text(FULL_MEMORY)
    answer = command_line(
        "search", "--data", table, "--models", zoo, "--budget", "30s", "--out", "run",
        cwd=tmp_path, also=[tmp_path / "full"],
    )  # fmt: skip
    assert answer.returncode == 2, answer.stderr
    told = answer.stderr.splitlines()[-1]
    assert told.startswith("autotl: nothing can be trained: set up: MemoryError: nothing is left; close other programs")
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "run").exists()


@needs_proc
def test_worker_that_finds_no_successor_ends_the_search_with_what_there_is(table, zoo, here, tmp_path, monkeypatch):
    """The machine's memory is used up by somebody else: it was killed for that, and no other can begin."""
    (tmp_path / "full").mkdir()

    def kill(event):
        if event.kind == "trial_ended":
            (tmp_path / "full" / "sitecustomize.py").write_text(FULL_MEMORY)
            for worker in children(os.getpid()):
                os.kill(worker, signal.SIGKILL)
                assert wait_until(lambda worker=worker: not alive(worker))

    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "full"), prepend=os.pathsep)
    request = SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=3)
    Search(request, tmp_path / "run", listeners=[kill]).run()
    assert any("the search ends early: nothing can be trained: set up: " in note for note in notes(tmp_path / "run"))
    assert run_file(tmp_path / "run")["state"] == "finished"
    assert (tmp_path / "run" / "report.html").is_file()
    assert autotl.load(tmp_path / "run").card.score > 0.5


@pytest.mark.slow
@needs_proc
def test_worker_that_listens_to_nobody_ends_with_the_engine(started, table, zoo, tmp_path, frail):
    frail("number > 2 and sum(range(10**15))  # keeps the interpreter's lock")
    process = started(
        "search", "--data", table, "--models", zoo / "one", "--backbones", "frail/one", "--trials", 2, "--json",
        "--out", "run", cwd=tmp_path,
        also=os.environ["PYTHONPATH"].split(os.pathsep),
    )  # fmt: skip
    read_until(process, "trial_started")
    (worker,) = children(process.pid)
    time.sleep(1.0)
    process.kill()
    process.wait()
    assert wait_until(lambda: not alive(worker), 5.0)


@pytest.mark.slow
@needs_proc
def test_search_that_is_stopped_for_a_while_goes_on(started, table, zoo, tmp_path):
    process = started("search", "--data", table, "--models", zoo, "--trials", 2, "--json", "--out", "run", cwd=tmp_path)
    read_until(process, "trial_started")
    (worker,) = children(process.pid)
    for stopped in (worker, process.pid):
        os.kill(stopped, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(stopped, signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert [event["state"] for event in events(tmp_path / "run", "trial_ended")] == ["complete"] * 2


@pytest.mark.slow
def test_budget_is_kept_while_the_clock_on_the_wall_jumps(command_line, table, zoo, tmp_path):
    (tmp_path / "jumping").mkdir()
    (tmp_path / "jumping" / "sitecustomize.py").write_text(JUMPING)
    began = time.monotonic()
    answer = command_line(
        "search", "--data", table, "--models", zoo, "--budget", "12s", "--quiet", "--out", "run",
        cwd=tmp_path, also=[tmp_path / "jumping"],
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert time.monotonic() - began < 14.0
    assert run_file(tmp_path / "run")["state"] == "finished"


# -------------------------------------------------------------------- trials that fail


@pytest.mark.slow
def test_trials_that_fail_in_every_way_cost_themselves_and_are_told_by_kind(table, zoo, frail, tmp_path, monkeypatch):
    """In turn: memory runs out, the process crashes, numbers are none; every other load is sound."""
    frail(
        "if number in (4, 6): raise MemoryError('no room')\n"
        "            if number == 8: os.abort()\n"
        "            if number == 10: [weight.data.fill_(float('nan')) for weight in backbone.parameters()]"
    )
    request = SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=8)
    Search(request, tmp_path / "run").run()
    ended = events(tmp_path / "run", "trial_ended")
    kinds = [event["reason_kind"] for event in ended if event["state"] == "failed"]
    assert set(kinds) >= {"memory", "defect"}
    assert all(event["seconds"] > 0 for event in ended)
    assert sum(event["state"] == "complete" for event in ended) >= 3
    assert autotl.load(tmp_path / "run").card.score > 0.8


@pytest.mark.slow
def test_backbone_that_is_never_loaded_is_given_up_and_another_one_is_searched(
    table, zoo, frail, tmp_path, monkeypatch
):
    """As a hub does that takes a connection and never answers."""
    monkeypatch.setattr(pace, "MOST_LOADING", 6.0)
    frail("time.sleep(600)")
    Search(SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=1), tmp_path / "run").run()
    assert any(note.startswith("frail/one cannot be used: ") for note in notes(tmp_path / "run"))
    assert {event["backbone"] for event in events(tmp_path / "run", "trial_started")} == {"tiny/one"}


@pytest.mark.slow
def test_what_was_seen_of_a_table_in_part_is_learned_from_again(zoo, frail, frame, tmp_path):
    """The head is refitted on it and on the validation rows; a look at the rest would take longer than all the time."""
    frail("backbone.stages[0].register_forward_pre_hook(lambda _, given: time.sleep(0.004 * len(given[0]['x'])))")
    rows = [f"{text} {number}" for number in range(15) for text in frame["text"]]
    large = pd.DataFrame({"text": rows, "label": [*frame["label"]] * 15})
    large.to_csv(tmp_path / "large.csv", index=False)
    request = SearchRequest(
        data=str(tmp_path / "large.csv"), models=(str(zoo / "one"),), backbones=("frail/one",), budget_seconds=16.0
    )
    Search(request, tmp_path / "run").run()
    (screened,) = events(tmp_path / "run", "screened")
    valid = run_file(tmp_path / "run")["rows"]["validation"]
    refits = events(tmp_path / "run", "refit")
    assert {refit["trial"] for refit in refits} == {-1}  # the head, and a quicker one before it
    for refit in refits:
        assert screened["rows"] + valid <= refit["rows"] < len(large), notes(tmp_path / "run")


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("came_on", [False, True])
def test_trial_in_which_the_search_was_killed_again_and_again_goes_on_only_where_it_came_on(
    started, table, zoo, here, tmp_path, came_on
):
    run = tmp_path / "run"
    process = started("search", "--data", table, "--models", zoo / "one", "--trials", 2, "--json", "--out", run)
    read_until(process, "trial_started")
    process.kill()
    process.wait()
    set_starts(run, 3)
    if came_on:
        write_checkpoint(run, 0, step=10_000)
    resume(run)
    first, second = events(run, "trial_ended")
    assert (first["trial"], first["state"]) == (0, "complete" if came_on else "failed")
    if not came_on:
        assert first["reason_kind"] == "memory"
        assert "killed 3 times" in first["reason"]
    assert (second["trial"], second["state"]) == (1, "complete")
