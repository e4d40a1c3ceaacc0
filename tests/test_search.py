"""Whole searches, as a person starts, watches, interrupts, kills and continues them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import made_tasks
import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from run_folders import events, leaderboard, run_file, states, trials
from short_trainings import train_briefly

import autotl
from autotl.cli.main import main
from autotl.config import SearchRequest
from autotl.data.splits import holdout
from autotl.events import Event, read_events
from autotl.predictor import metrics
from autotl.search.engine import Search
from autotl.search.resuming import resume
from autotl.search.run_log import read_run_logs

THIRD_PARTY = Path(__file__).parent / "thirdparty"


@pytest.fixture(scope="session")
def finished(command_line, table, new_table, zoo, tmp_path_factory):
    """A search of three trials over two backbones: its folder and what it printed."""
    cwd = tmp_path_factory.mktemp("finished")
    answer = command_line(
        "search", "--data", table, "--test", new_table, "--models", zoo, "--trials", 3, "--json", cwd=cwd
    )
    assert answer.returncode == 0, answer.stderr
    return cwd / "runs" / "kinds", answer


def test_the_first_answer_of_a_large_table_does_not_wait_for_all_rows_that_judge(frame, zoo, here, tmp_path):
    rows = pd.concat([frame] * (12_000 // len(frame))).reset_index(drop=True)
    rows["text"] = [f"{text} {number}" for number, text in enumerate(rows["text"])]
    rows.to_csv(tmp_path / "large.csv", index=False)
    judged_by = []

    def look(event: Event) -> None:
        if event.kind == "answer":
            judged_by.append(autotl.load(tmp_path / "run").card.validation_rows)

    # whoever names a backbone wants no bag of words, which would be there first
    request = SearchRequest(
        data=str(tmp_path / "large.csv"), models=(str(zoo / "one"),), backbones=("tiny/one",), trials=1
    )
    Search(request, tmp_path / "run", listeners=[look]).run()
    everything = run_file(tmp_path / "run")["rows"]["validation"]
    assert everything >= 1000
    assert judged_by[0] < 600 < judged_by[-1] == everything


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run that a test may change."""
    return shutil.copytree(finished[0], tmp_path / "run")


def predicted(folder, data, out):
    assert main(["predict", str(folder), "--data", str(data), "--out", str(out)]) == 0
    return pd.read_csv(out)


# -------------------------------------------------------------------- what a search leaves


def test_search_leaves_a_run_folder_with_everything(finished):
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} >= {
        "best", "events.jsonl", "leaderboard.csv", "run.json", "study.journal", "trials.jsonl",
    }  # fmt: skip
    assert (folder / "best" / "bundle.json").is_file()
    assert (folder / "best" / "README.md").is_file()
    assert run_file(folder)["state"] == "finished"
    kept = [path.name for path in (folder / "trials").iterdir()]
    assert sorted(kept) == ["0000", "0001", "0002", "head-1", "head-2", "words"]
    assert states(folder)[0] == states(folder)[1] == states(folder)[2] == TrialState.COMPLETE


def test_the_study_opens_with_optunas_own_tools_and_says_what_was_tried(finished):
    """As optuna-dashboard opens it, which takes the path of the journal."""
    folder, _ = finished
    storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.load_study(study_name=None, storage=storage)
    rows = {row["trial"]: row for row in leaderboard(folder)}
    assert study.direction.name == "MAXIMIZE"
    for trial in study.trials:
        row, known = rows[str(trial.number)], trial.user_attrs
        assert (known["backbone"], known["strategy"]) == (row["backbone"], row["strategy"])
        assert {name: str(value) for name, value in known["settings"].items()} == {
            name: row[name] for name in trial.params if name not in {"backbone", "strategy"}
        }
        assert set(trial.params) == {"backbone", "strategy", *known["settings"]}
        (last,) = [value for permille, value in trial.intermediate_values.items() if permille == 1000]
        assert trial.value == last


def test_first_trial_is_the_published_recipe_of_the_best_screened_backbone(finished):
    folder, _ = finished
    screened = {event["backbone"]: event["score"] for event in events(folder, "screened")}
    assert set(screened) == {"tiny/one", "tiny/two"}
    first = events(folder, "trial_started")[0]
    assert first["trial"] == 0
    assert first["strategy"] == "finetune"
    assert first["backbone"] == max(screened, key=screened.get)
    assert first["learning_rate_multiplier"] == first["epochs_multiplier"] == 1.0


def test_events_for_machines_are_those_of_the_run(finished):
    folder, answer = finished
    printed = [json.loads(line) for line in answer.stdout.splitlines()]
    kept = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert printed == kept
    assert [event["at"] for event in printed] == sorted(event["at"] for event in printed)
    assert [event["name"] for event in printed if event["kind"] == "phase"][:3] == [
        "reading", "screening", "searching",
    ]  # fmt: skip
    assert {"role", "task", "screened", "trial_started", "progress", "trial_ended", "incumbent", "finished"} <= {
        event["kind"] for event in printed
    }
    assert len(events(folder, "trial_ended")) == 3


def test_log_of_trials_says_what_the_events_say_and_nothing_of_the_data(finished, frame):
    folder, _ = finished
    lines = read_run_logs(folder).trials
    heads = [event["score"] for event in events(folder, "head")]
    assert len(lines) == 3
    for line, started, ended in zip(lines, events(folder, "trial_started"), events(folder, "trial_ended"), strict=True):
        assert (line.trial, line.state, line.score) == (ended["trial"], "complete", ended["score"])
        assert (line.backbone.key, line.strategy) == (started["backbone"], started["strategy"])
        assert line.settings == {name: started[name] for name in line.units}
        assert all(0 <= unit <= 1 for unit in line.units.values() if not isinstance(unit, str))
        assert line.curve[-1][0] == 1000
        assert 0 < line.curve[-1][1] <= line.seconds
        assert line.floor == max(heads)
    text = (folder / "trials.jsonl").read_text(encoding="utf-8")
    assert str(folder.parent) not in text
    words = {"label", "kinds", "animal", *" ".join(frame["text"][:20]).split()}
    assert not [word for word in words if re.search(rf"\b{re.escape(word)}\b", text)]


def test_score_is_that_of_the_saved_bundle_before_validation_rows_were_trained_on(table, frame, zoo, here, tmp_path):
    folder, judged, answers = tmp_path / "run", tmp_path / "judged", []

    def keep_what_was_judged(event):
        if event.kind == "phase" and event.data["name"] == "cross-validating":
            shutil.copytree(folder / "best", judged)
            answers.append(events(folder, "answer")[-1])

    request = SearchRequest(data=str(table), models=(str(zoo),), trials=2)
    Search(request, folder, listeners=[keep_what_was_judged]).run()
    labels = frame["label"].astype("category").cat.codes.to_numpy().astype(np.int64)
    _, valid = holdout(labels, seed=0)
    score = metrics.score(made_tasks.of_classes(3), labels[valid], autotl.load(judged).predict_proba(frame.iloc[valid]))
    (answer,) = answers
    assert answer["optimism"] >= 0
    assert answer["score"] + answer["optimism"] == pytest.approx(score, abs=1e-9)
    best = [row for row in leaderboard(folder) if row["best"] == "yes"]
    assert sum(float(row["share"]) for row in best if row["trial"] != "mean") == pytest.approx(1.0)
    if len(best) == 1:
        assert float(best[0]["score"]) == pytest.approx(score, abs=1e-6)


def test_every_event_of_a_run_is_listed_with_its_fields(finished):
    kinds = re.findall(r"``(\w+)`` \(([^)]*)\)", " ".join(Event.__doc__.split()))
    listed = {kind: set(re.findall(r"\w+", fields)) for kind, fields in kinds}
    for event in read_events(finished[0] / "events.jsonl"):
        settings = event.data.get("units", {}).keys()
        assert event.data.keys() - settings <= listed[event.kind], event.kind


def test_every_row_of_a_small_table_validates_models_that_have_not_seen_it(frame, zoo, here, tmp_path):
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in random.integers(0, 10_000, 6)) for _ in range(len(frame))]
    nothing_to_learn = pd.DataFrame({"text": texts, "label": random.permutation(frame["label"])})
    model = autotl.fit(nothing_to_learn, models=zoo, trials=2, out=tmp_path / "run", quiet=True)
    assert (model.card.folds, model.card.validation_rows) == (4, 200)
    (told,) = events(tmp_path / "run", "cross_validated")
    assert (told["folds"], told["rows"], told["score"]) == (4, 200, model.card.score)
    known = (model.predict(nothing_to_learn) == nothing_to_learn["label"]).mean()
    assert known > 0.55, "they can learn the rows by heart"
    assert model.card.score < 0.45, "and nothing else"


def test_the_answer_is_refitted_on_all_rows_and_its_score_stays(finished, here):
    folder, _ = finished
    before, after = autotl.load(folder).card.score, events(folder, "answer")[-1]["score"]
    assert before == after == events(folder, "finished")[0]["score"]
    assert all(event["taken"] and event["rows"] == 200 for event in events(folder, "refit"))
    card = autotl.load(folder).card
    assert card.refit
    assert card.training_rows == 200
    assert {event["trial"] for event in events(folder, "refit")} == {
        m["trial"] for m in events(folder, "answer")[-1]["members"]
    }
    assert not list((folder / "paused").glob("*"))


def test_model_is_far_better_than_chance_and_the_test_score_is_that_of_evaluate(finished, new_table, here, capsys):
    folder, _ = finished
    assert main(["evaluate", str(folder), "--data", str(new_table), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["accuracy"] > 0.6
    assert answer["rows"] == 60
    assert np.array(answer["confusion"]).sum() == 60
    assert answer["interval"][0] <= answer["score"] <= answer["interval"][1]
    (tested,) = events(folder, "tested")
    assert tested["score"] == pytest.approx(answer["score"], abs=1e-9)


def test_predictions_keep_rows_and_columns_and_add_probabilities(finished, new_table, here, tmp_path):
    written = predicted(finished[0], new_table, tmp_path / "p.csv")
    given = pd.read_csv(new_table)
    pd.testing.assert_frame_equal(written[list(given.columns)], given)
    probabilities = written[["probability_animal", "probability_plant", "probability_stone"]]
    assert list(written.columns) == [*given.columns, "prediction", *probabilities.columns]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert (probabilities.idxmax(axis=1).str.removeprefix("probability_") == written["prediction"]).all()
    assert (written["prediction"] == given["label"]).mean() > 0.6


def test_predictions_do_not_depend_on_the_other_rows_or_the_target(finished, new_table, here, tmp_path):
    whole = predicted(finished[0], new_table, tmp_path / "whole.csv")
    part = pd.read_csv(new_table).drop(columns="label").iloc[[40, 3, 17]]
    part.to_csv(tmp_path / "part.csv", index=False)
    alone = predicted(finished[0], tmp_path / "part.csv", tmp_path / "alone.csv")
    columns = [name for name in alone if name.startswith("probability_")]
    np.testing.assert_allclose(alone[columns], whole.loc[[40, 3, 17], columns], atol=1e-5)


def test_predictions_are_never_written_over(finished, new_table, here, tmp_path, capsys):
    (tmp_path / "p.csv").write_text("precious")
    assert main(["predict", str(finished[0]), "--data", str(new_table), "--out", str(tmp_path / "p.csv")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "p.csv").read_text() == "precious"


def test_predictions_for_machines_are_one_object_a_row(finished, new_table, here, capsys):
    assert main(["predict", str(finished[0]), "--data", str(new_table), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 60
    assert all(set(row) == {"prediction", *(f"probability_{c}" for c in ("animal", "plant", "stone"))} for row in rows)


def test_rows_without_text_are_left_without_a_prediction(finished, here, tmp_path, capsys):
    (tmp_path / "gaps.csv").write_text("id,text\na,the cat sat\nb,\nc,an oak\n")
    written = predicted(finished[0], tmp_path / "gaps.csv", tmp_path / "p.csv")
    assert written["prediction"].isna().tolist() == [False, True, False]
    assert "row 2" in capsys.readouterr().err


def test_bundle_copied_elsewhere_predicts_the_same_without_its_run(run, new_table, here, tmp_path):
    before = predicted(run, new_table, tmp_path / "before.csv")
    shutil.copytree(run / "best", tmp_path / "elsewhere")
    shutil.rmtree(run)
    pd.testing.assert_frame_equal(predicted(tmp_path / "elsewhere", new_table, tmp_path / "after.csv"), before)


def test_torn_weights_are_refused_by_name(run, new_table, here, capsys):
    weights = next((run / "best").rglob("head.safetensors"))
    torn = weights.read_bytes()[:20]
    weights.unlink()
    weights.write_bytes(torn)
    assert main(["predict", str(run), "--data", str(new_table)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("autotl: ")
    assert weights.parent.name in err


def test_existing_run_is_not_searched_into(run, table, zoo, here, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code = main(["search", "--data", str(table), "--models", str(zoo), "--trials", "1", "--out", str(run)])
    assert code == 2
    assert "exists already" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@dataclass(frozen=True)
class Again:
    """The finished search once more, with a cache that it shares with the next."""

    folder: Path
    answer: subprocess.CompletedProcess[str]
    kept: dict[str, object]  #: what ``autotl cache`` says afterwards


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where the searches of `again` keep what they may use again."""
    return tmp_path_factory.mktemp("again") / "cache"


@pytest.fixture(scope="module")
def again(command_line, table, new_table, zoo, cache):
    """The first fills the cache and the second finds it full; each goes over sets in an order of its own."""
    options = ["--data", table, "--test", new_table, "--models", zoo, "--trials", 3, "--quiet"]
    searches = []
    for seed, name in enumerate(("first", "second"), start=1):
        environment = {"AUTOTL_CACHE": str(cache), "PYTHONHASHSEED": str(seed)}
        answer = command_line("search", *options, "--out", name, cwd=cache.parent, environment=environment)
        kept = json.loads(command_line("cache", "--json", cwd=cache.parent, environment=environment).stdout)
        searches.append(Again(cache.parent / name, answer, kept))
    return searches


@pytest.mark.slow
def test_same_seed_gives_the_same_trials_and_predictions_and_quiet_says_nothing(finished, again, new_table, here):
    """Whatever the cache knows, and in whatever order this process iterates over sets."""
    answer = again[0].answer
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    first, second = finished[0], again[0].folder
    assert leaderboard(second) == leaderboard(first)
    assert [(trial.params, trial.values) for trial in trials(second)] == [
        (trial.params, trial.values) for trial in trials(first)
    ]
    assert events(second, "floor") == events(first, "floor")
    one, other = (autotl.load(folder).predict_proba(new_table) for folder in (first, second))
    assert one.tobytes() == other.tobytes()


# -------------------------------------------------------------------- the audit


@pytest.mark.slow
def test_rows_set_aside_are_listed_and_an_edited_list_decides(frame, new_table, zoo, here, tmp_path, monkeypatch):
    train_briefly(monkeypatch, tmp_path / "site")
    messy = frame.assign(author=[f"a{number // 2}" for number in range(200)])
    messy.loc[2, "text"] = messy["text"][1]
    messy.loc[10, "text"] = pd.read_csv(new_table)["text"][4]
    messy.to_csv("messy.csv", index=False)
    asked = {"group": "author", "models": zoo / "one", "trials": 1, "quiet": True}
    autotl.fit("messy.csv", test=new_table, out="first", **asked)
    first = tmp_path / "first"
    assert pd.read_csv(first / "set_aside.csv")["row"].tolist() == [2, 3, 11]
    (audit,) = events(first, "audit")
    assert audit["set_aside"] == {"conflict": 2, "leak": 1}
    assert run_file(first)["rows"]["set aside"] == 3
    notes = [note["text"] for note in events(first, "note")]
    assert any("set_aside.csv" in note for note in notes)
    assert len(notes) == len(set(notes))

    pd.read_csv(first / "set_aside.csv").iloc[:1].to_csv(first / "set_aside.csv", index=False)
    given = run_file(first)["audit_seconds"]
    # far more than a test process is old, whose start the budget counts from
    assert main(["resume", str(first), "--trials", "+1", "--budget", "30m", "--quiet"]) == 0
    assert run_file(first)["audit_seconds"] == given  # with more time it could come to another split
    assert len(pd.read_csv(first / "set_aside.csv")) == 1  # the run leaves a person's edits alone
    autotl.fit("messy.csv", set_aside="first/set_aside.csv", out="second", **asked)
    assert run_file(tmp_path / "second")["rows"]["set aside"] == 1
    assert pd.read_csv(tmp_path / "second" / "set_aside.csv")["row"].tolist() == [2]


# -------------------------------------------------------------------- the budget


@pytest.mark.slow
def test_budget_is_kept_with_a_bundle(command_line, table, new_table, zoo, tmp_path):
    began = time.monotonic()
    answer = command_line("search", "--data", table, "--models", zoo, "--budget", "15s", "--out", "run", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert 11.25 < time.monotonic() - began < 17.5
    assert "autotl predict run" in answer.stdout
    scored = command_line("evaluate", tmp_path / "run", "--data", new_table, "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["accuracy"] > 0.5
    refits = {event["trial"] for event in events(tmp_path / "run", "refit")}
    heads = {model["trial"] for model in events(tmp_path / "run", "answer")[-1]["members"] if model["trial"] < 0}
    assert heads <= refits


# -------------------------------------------------------------------- resume


def test_resume_adds_trials_and_keeps_the_earlier_ones(run, here):
    before = leaderboard(run)
    assert main(["resume", str(run), "--trials", "+2", "--quiet"]) == 0
    after = leaderboard(run)
    kept = {row["trial"]: row["score"] for row in before if row["trial"] != "mean"}
    assert {row["trial"]: row["score"] for row in after}.items() >= kept.items()
    assert {"3", "4"} <= {row["trial"] for row in after}
    started = [event["trial"] for event in events(run, "trial_started")]
    assert len(started) == len(set(started)) == 5
    assert run_file(run)["state"] == "finished"
    assert run_file(run)["seconds"] > 0


def test_resume_refuses_data_that_changed(run, here, frame, tmp_path, capsys):
    changed = json.loads((run / "run.json").read_text(encoding="utf-8"))
    frame.iloc[::-1].to_csv(tmp_path / "changed.csv", index=False)
    changed["request"]["data"] = str(tmp_path / "changed.csv")
    (run / "run.json").write_text(json.dumps(changed), encoding="utf-8")
    bundle = (run / "best" / "bundle.json").read_bytes()
    assert main(["resume", str(run), "--trials", "+1", "--quiet"]) == 2
    assert "has changed since this run began" in capsys.readouterr().err
    assert (run / "best" / "bundle.json").read_bytes() == bundle


@pytest.mark.slow
def test_resume_works_when_no_time_is_left_for_screening_again(run, here):
    """Screening may take a fifth of the whole budget, which a resumed run has long spent."""
    used = run_file(run)["seconds"]
    outcome = resume(run, budget_seconds=used + 12.0, more_trials=100)
    assert not outcome.interrupted
    assert len(events(run, "trial_started")) > 3
    assert run_file(run)["state"] == "finished"


# -------------------------------------------------------------------- what is kept


def test_second_search_gives_the_same_from_what_the_first_one_kept(again):
    for search in again:
        assert search.answer.returncode == 0, search.answer.stderr
        assert {about["about"]["kind"] for about in search.kept["kept"]} >= {"inputs", "features"}
        assert 0 < search.kept["used"] <= search.kept["limit"]
    first, second = again
    assert leaderboard(first.folder) == leaderboard(second.folder)


def test_cache_is_shown_and_cleared(again, cache, command_line, tmp_path):
    environment = {"AUTOTL_CACHE": str(shutil.copytree(cache, tmp_path / "cache"))}
    shown = command_line("cache", cwd=tmp_path, environment=environment).stdout
    assert "inputs, read once" in shown
    assert "features after stages 1 to 3" in shown
    assert command_line("cache", "--clear", cwd=tmp_path, environment=environment).stdout.startswith("removed 0.")
    assert "inputs" not in command_line("cache", cwd=tmp_path, environment=environment).stdout
    assert json.loads(command_line("cache", "--json", cwd=tmp_path, environment=environment).stdout)["used"] == 0


def test_forecasts_are_reported_beside_what_trials_took(finished):
    folder, _ = finished
    started, ended = events(folder, "trial_started"), events(folder, "trial_ended")
    assert all(event["planned_seconds"] > 0 for event in started)
    errors = [abs(e["seconds"] / s["planned_seconds"] - 1) for s, e in zip(started, ended, strict=True)]
    assert events(folder, "finished")[0]["forecast_error"] == pytest.approx(float(np.median(errors)))


# -------------------------------------------------------------------- when things go wrong


@pytest.mark.slow
def test_many_trials_are_compared_at_a_rung_and_the_best_go_on(command_line, table, zoo, tmp_path):
    options = ["--data", table, "--models", zoo / "one", "--trials", 8, "--quiet", "--out", "run"]
    assert command_line("search", *options, cwd=tmp_path).returncode == 0
    run = tmp_path / "run"
    (shape,) = events(run, "shape")
    assert shape["rungs"] == [111]
    ended = events(run, "trial_ended")
    paused = [event["trial"] for event in ended if event["state"] == "paused"]
    complete = [event["trial"] for event in ended if event["state"] == "complete"]
    assert 0 in complete
    assert 0 not in paused
    assert paused
    for event in events(run, "trial_continued"):
        assert event["trial"] in paused
        assert event["permille"] == 111
    rungs = {trial: [e["permille"] for e in events(run, "progress") if e["trial"] == trial] for trial in range(8)}
    for trial in range(8):
        assert rungs[trial] in ([1000], [111], [111, 333, 667, 1000])
    first_ranked = max((trial for trial in range(1, 8) if 111 in rungs[trial]), key=lambda t: score_at(run, t, 111))
    assert first_ranked in complete
    left = {f"{trial:04d}.safetensors" for trial, state in states(run).items() if state == TrialState.RUNNING}
    assert {path.name for path in (run / "paused").iterdir()} == left

    assert command_line("resume", run, "--trials", "+1", "--quiet").returncode == 0
    assert len(states(run)) == 9


def score_at(run, trial, permille):
    return next(e["score"] for e in events(run, "progress") if (e["trial"], e["permille"]) == (trial, permille))


def test_where_no_training_fits_the_time_goes_to_backbones_that_were_put_off(tiny, here, table, zoo, monkeypatch):
    monkeypatch.setattr("autotl.search.pace.FEWEST_ROWS", 10**9)
    monkeypatch.setattr("autotl.search.pace.SCREENING_SHARE", 0.01)
    autotl.fit(table, models=zoo, budget="20s", out="run", quiet=True)
    run = Path("run")
    assert trials(run)  # in what time is left then
    notes = [event["text"] for event in events(run, "note")]
    assert any(re.match(r"tiny/\w+ is looked at only if time is left", text) for text in notes)
    assert "no training fits into the time that sees rows enough to be likely to beat a head" in notes
    assert {event["backbone"] for event in events(run, "screened")} == {"tiny/one", "tiny/two"}
    assert {"tiny/one", "tiny/two"} <= {event["backbone"] for event in events(run, "head")}
