"""Runs that go on, also where something has come or gone since: a backbone, a strategy, all that had been chosen."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState
from run_folders import events, notes, run_file, states, write_checkpoint

import autotl
from autotl.cli.main import main
from autotl.config import SearchRequest
from autotl.events import read_events
from autotl.plugins.manager import plugins
from autotl.runs.run_file import read_run_file
from autotl.search import resuming
from autotl.search.dialogue import Dialogue
from autotl.search.engine import Search
from autotl.search.resuming import resume
from autotl.search.shelf import Shelf
from autotl.zoo.words import BAG_OF_WORDS

THIRD_PARTY = Path(__file__).parent / "thirdparty"


@pytest.fixture(scope="module")
def finished(command_line, table, zoo, tmp_path_factory):
    """A search of one trial."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    answer = command_line("search", "--data", table, "--models", zoo / "one", "--trials", 1, "--quiet", "--out", folder)
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def screened_again(searching, table, zoo, tmp_path_factory):
    """A run that was interrupted while it screened, and went on where another backbone had come."""
    place = tmp_path_factory.mktemp("screened")

    def interrupt(event):
        if event.kind == "screened":
            os.kill(os.getpid(), signal.SIGINT)

    shutil.copytree(zoo / "two", place / "zoo" / "two")
    request = SearchRequest(data=str(table), models=(str(place / "zoo"),), trials=1)
    with searching():
        assert Search(request, place / "run", listeners=[interrupt]).run().interrupted
        assert run_file(place / "run")["state"] == "interrupted"
        shutil.copytree(zoo / "one", place / "zoo" / "one")
        resume(place / "run")
    return place / "run"


@pytest.mark.slow
def test_resume_after_an_interrupted_screening_still_begins_with_the_published_recipe(screened_again):
    first = events(screened_again, "trial_started")[0]
    assert (first["strategy"], first["trial"]) == ("finetune", 0)
    assert first["learning_rate_multiplier"] == first["epochs_multiplier"] == 1.0


@pytest.mark.slow
def test_what_was_killed_in_its_last_seconds_is_ended_without_more_time(run, here, capsys):
    known = run_file(run)
    known["request"]["budget_seconds"] = known["seconds"] + 1.0
    (run / "run.json").write_text(json.dumps(known), encoding="utf-8")
    assert main(["resume", str(run)]) == 2  # it had ended
    assert "some, such as --budget +10m" in capsys.readouterr().err
    (run / "run.json").write_text(json.dumps(known | {"state": "running"}), encoding="utf-8")
    assert main(["resume", str(run), "--quiet"]) == 0
    assert run_file(run)["state"] == "finished"
    assert autotl.load(run).card.members


@pytest.mark.slow
def test_a_finished_trial_whose_model_was_not_kept_yet_is_finished_again(table, zoo, here, tmp_path, monkeypatch):
    def interrupt(shelf, model):
        if model.judged.trial == 0 and model.finished:
            raise KeyboardInterrupt
        put(shelf, model)

    put, run = Shelf.put, tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(Shelf, "put", interrupt)
        assert Search(SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=1), run).run().interrupted
    resume(run)
    assert states(run) == {0: TrialState.COMPLETE}
    assert list((run / "trials" / "0000").glob("*.json"))


@pytest.mark.slow
def test_heads_keep_their_numbers_when_another_backbone_is_there_by_the_next_process(screened_again):
    heads = {(event["backbone"], event["trial"]) for event in events(screened_again, "head")}
    assert {(backbone, number) for backbone, number in heads if backbone != BAG_OF_WORDS.key} == {
        ("tiny/two", -1), ("tiny/one", -2),
    }  # fmt: skip


#: Fine-tuning under another name, tried right after trial 0.
OTHER = """
import autotl
from autotl.strategies.finetune import Finetune

class Other(Finetune):
    name = "other"
    weight = 8.0

@autotl.hookimpl
def autotl_strategies(context):
    return [Other()]
"""


@pytest.mark.slow
def test_resume_goes_on_without_a_backbone_that_is_gone(table, zoo, here, tmp_path):
    """Its models stay in the answer; what Optuna drew among the backbones stays a draw among them."""
    shutil.copytree(zoo, tmp_path / "zoo")
    request = SearchRequest(data=str(table), models=(str(tmp_path / "zoo"),), trials=6)
    Search(request, tmp_path / "run").run()
    best, *others = run_file(tmp_path / "run")["survivors"]
    assert others
    score = autotl.load(tmp_path / "run").card.score
    shutil.rmtree(tmp_path / "zoo" / best.removeprefix("tiny/"))
    resume(tmp_path / "run", more_trials=2)
    assert run_file(tmp_path / "run")["state"] == "finished"
    tried = {event["trial"]: event["backbone"] for event in events(tmp_path / "run", "trial_started")}
    assert [tried[number] for number in range(6, 8)] == others * 2
    assert f"{best} is not here any more: its models stay as they are" in notes(tmp_path / "run")
    assert autotl.load(tmp_path / "run").card.score >= score - 0.05


@pytest.mark.slow
def test_resume_screens_what_is_here_when_all_that_was_chosen_is_gone(table, zoo, here, tmp_path):
    shutil.copytree(zoo / "one", tmp_path / "zoo" / "one")
    request = SearchRequest(data=str(table), models=(str(tmp_path / "zoo"),), trials=2)
    Search(request, tmp_path / "run").run()
    shutil.rmtree(tmp_path / "zoo" / "one")
    shutil.copytree(zoo / "two", tmp_path / "zoo" / "two")
    resume(tmp_path / "run", more_trials=2)
    assert run_file(tmp_path / "run")["state"] == "finished"
    assert [event["backbone"] for event in events(tmp_path / "run", "trial_started")][2:] == ["tiny/two"] * 2
    assert autotl.load(tmp_path / "run").evaluate(table).score > 0.5


@pytest.mark.slow
def test_resume_goes_on_without_a_strategy_that_is_gone(
    distribution, put_on_path, monkeypatch, table, zoo, here, tmp_path
):
    def interrupt(event):
        if event.kind == "progress" and event.data["trial"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    folder = distribution("other", OTHER)
    put_on_path(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (THIRD_PARTY / "tiny", folder))))
    request = SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=3)
    Search(request, tmp_path / "run", listeners=[interrupt]).run()
    tried = [event["strategy"] for event in events(tmp_path / "run", "trial_started")]
    assert tried == ["finetune", "other", "other"]
    shutil.rmtree(folder)
    plugins.cache_clear()
    resume(tmp_path / "run", more_trials=2)
    assert run_file(tmp_path / "run")["state"] == "finished"
    known = states(tmp_path / "run")
    assert [known[number] for number in range(3)] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]
    reasons = [event["reason"] for event in events(tmp_path / "run", "trial_ended") if event["trial"] == 2]
    assert reasons[-1] == "other of tiny/one: the strategy or the backbone is not here any more"
    tried = [event["strategy"] for event in events(tmp_path / "run", "trial_started")]
    assert len(tried) == 5
    assert "other" not in tried[3:]


def test_resume_goes_by_no_other_measure(run, here, tmp_path, capsys):
    """Scores of before and costs cannot stand beside each other."""
    task = run_file(run)["task"]
    rows = [",".join(["class", *task["classes"]])]
    rows += [",".join([one, *("0" if one == other else "2" for other in task["classes"])]) for one in task["classes"]]
    (tmp_path / "costs.csv").write_text("\n".join(rows) + "\n")
    assert main(["resume", str(run), "--trials", "+1", "--quiet", "--costs", str(tmp_path / "costs.csv")]) == 2
    assert f"this run went by {task['metric']} and other costs" in capsys.readouterr().err
    assert run_file(run)["task"] == task


def test_a_resume_that_is_refused_spends_nothing(run, here, table, tmp_path):
    before = read_run_file(run).seconds
    (tmp_path / "other.csv").write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    for times in (1, 2, 3):
        assert main(["resume", str(run), "--trials", "+1", "--quiet", "--data", str(tmp_path / "other.csv")]) == 2
        assert len(events(run, "failed")) == times
    assert read_run_file(run).seconds == before


def test_a_resume_that_is_interrupted_at_once_has_the_answer_that_was_there(run, here, monkeypatch):
    bundle = (run / "best" / "bundle.json").read_bytes()

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Dialogue, "ready", interrupted)
    assert resume(run, more_trials=1).interrupted
    assert (run / "best" / "bundle.json").read_bytes() == bundle
    assert run_file(run)["state"] == "interrupted"


@pytest.mark.parametrize(
    ("had", "asked", "trials", "seconds"),
    [
        ({"trials": 4}, {"more_trials": 5}, 9, None),
        ({"trials": 4}, {"more_seconds": 60.0}, None, 60.0),
        ({"trials": 4}, {"budget_seconds": 60.0}, None, 60.0),
        ({"trials": 4, "budget_seconds": 20.0}, {"more_trials": 5, "more_seconds": 60.0}, 9, 60.0),
        ({"trials": 4, "budget_seconds": 900.0}, {}, 4, 900.0),
    ],
)
def test_trials_and_time_may_be_added_together(run, here, monkeypatch, had, asked, trials, seconds):
    known = read_run_file(run)
    known = known.model_copy(update={"request": known.request.model_copy(update=had), "seconds": 0.0})
    monkeypatch.setattr(resuming, "read_run_file", lambda folder: known)
    begun = []
    monkeypatch.setattr(resuming.Search, "run", lambda self: begun.append(self._request))
    resume(run, **asked)
    assert (begun[0].trials, begun[0].budget_seconds) == (trials, seconds)


@pytest.mark.parametrize(("state", "more"), [("running", 40.0), ("finished", 0.0)])
def test_what_a_training_took_until_its_last_checkpoint_counts_where_it_was_killed(run, state, more):
    """For hours nothing else may be told of."""
    known = read_run_file(run)
    known.model_copy(update={"state": state}).write(run)
    told = (run / "events.jsonl").stat().st_mtime
    checkpoint = write_checkpoint(run, 7, seconds=50.0)
    os.utime(checkpoint, (told + 40.0, told + 40.0))
    at = max(event.at for event in read_events(run / "events.jsonl"))
    assert read_run_file(run).seconds == pytest.approx(max(known.seconds, at + more), abs=0.01)
    os.utime(checkpoint, (told + 4000.0, told + 4000.0))  # asleep, or copied
    assert read_run_file(run).seconds == pytest.approx(max(known.seconds, at + (50.0 if more else 0.0)), abs=0.01)
    os.utime(checkpoint, (told - 40.0, told - 40.0))
    assert read_run_file(run).seconds == known.seconds


def test_what_twins_have_answered_is_not_asked_again_after_a_kill(table, zoo, here, tmp_path, monkeypatch):
    """Each may be a training of minutes."""
    asked, validate = [], Dialogue.validate

    def cut(self, of, fitting, *, part, **how):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append((of, part))
        return validate(self, of, fitting, part=part, **how)

    monkeypatch.setattr(Dialogue, "validate", cut)
    request = SearchRequest(data=str(table), models=(str(zoo / "one"),), trials=2)
    assert Search(request, tmp_path / "run").run().interrupted
    before = asked.copy()
    assert len(before) == 3
    monkeypatch.setattr(
        Dialogue, "validate", lambda *given, **how: asked.append((given[1], how["part"])) or validate(*given, **how)
    )
    assert not resume(tmp_path / "run").interrupted
    assert len(asked) == len(set(asked)) > 3
    (*_, told) = events(tmp_path / "run", "cross_validated")  # of the answer before the kill, and of all
    assert told["folds"] == 4
    assert not (tmp_path / "run" / "twins").exists()
