"""A run's folder: one search at a time, nobody else's files, and it may be moved with what it was made of."""

from __future__ import annotations

import shutil

import pytest
from run_folders import events, read_until, run_file

from autotl.cli.main import main
from autotl.search.portfolio_file import Entry, Portfolio, Sources


def test_second_search_in_a_folder_is_refused_with_the_first_ones_process(started, table, zoo, here, tmp_path, capsys):
    process = started("search", "--data", table, "--models", zoo, "--trials", 9, "--json", "--out", "run", cwd=tmp_path)
    read_until(process, "trial_started")
    before = (tmp_path / "run" / "run.json").read_text(encoding="utf-8")
    assert main(["resume", "run", "--trials", "+1"]) == 2
    assert f"another search (process {process.pid} on " in capsys.readouterr().err
    assert (tmp_path / "run" / "run.json").read_text(encoding="utf-8") == before


def test_folder_of_a_search_that_was_killed_in_its_first_second_is_no_obstacle(table, zoo, here, tmp_path, capsys):
    (tmp_path / "run" / "trials").mkdir(parents=True)
    (tmp_path / "run" / ".lock.json").write_text('{"process": 1, "host": "elsewhere"}')
    (tmp_path / "run" / "events.jsonl").write_text('{"at": 0.1, "kind": "phase", "name": "rea')
    (tmp_path / "run" / ".run.json.0a1b2c3d").write_text("{")  # that was about to take its name
    assert main(["resume", "run"]) == 2
    assert "has not read its table yet; if it was killed, begin it again" in capsys.readouterr().err
    sources = Sources(runs=1, tasks=1, trials=1)
    entry = Entry(strategy="probe", settings={"penalty_multiplier": 1.0}, mean_regret=0.0)
    for folder in (tmp_path, tmp_path / "run"):
        Portfolio(sources=sources, entries=(entry,)).save(folder / "portfolio.json")
    request = ["search", "--data", str(table), "--models", str(zoo), "--trials", "1", "--quiet", "--out", "run"]
    assert main([*request, "--portfolio", str(tmp_path / "portfolio.json")]) == 0
    assert events(tmp_path / "run", "phase")[0]["name"] == "reading"


def test_folder_whose_trials_are_somebody_elses_is_left_alone(table, zoo, here, tmp_path, capsys):
    theirs = tmp_path / "run" / "trials" / "patient 1.csv"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("dose\n5\n")
    request = ["search", "--data", str(table), "--models", str(zoo), "--trials", "1", "--quiet", "--out", "run"]
    assert main([*request, "--target", "lable"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert theirs.read_text() == "dose\n5\n"


def test_a_portfolio_that_somebody_keeps_in_the_folder_is_left_alone(table, zoo, here, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    entry = Entry(strategy="probe", settings={"penalty_multiplier": 1.0}, mean_regret=0.0)
    theirs = tmp_path / "run" / "portfolio.json"
    Portfolio(sources=Sources(runs=1, tasks=1, trials=1), entries=(entry,)).save(theirs)
    request = ["search", "--data", str(table), "--models", str(zoo), "--trials", "1", "--quiet", "--out", "run"]
    assert main([*request, "--portfolio", str(theirs)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert Portfolio.load(theirs).entries == (entry,)


@pytest.mark.slow
def test_run_that_was_moved_with_its_data_and_models_goes_on(table, zoo, here, tmp_path, monkeypatch, capsys):
    first, second = tmp_path / "here", tmp_path / "there"
    first.mkdir()
    shutil.copy(table, first / "kinds.csv")
    shutil.copytree(zoo, first / "zoo")
    monkeypatch.chdir(first)
    request = ["search", "--data", "kinds.csv", "--models", "zoo", "--trials", "1", "--quiet", "--out", "run"]
    assert main(request) == 0
    first.rename(second)
    monkeypatch.chdir(second)
    assert main(["resume", "run", "--trials", "+1", "--quiet"]) == 2
    assert "--data" in capsys.readouterr().err
    moved = ["--data", "kinds.csv", "--models", "zoo"]
    assert main(["resume", "run", "--trials", "+1", "--quiet", *moved]) == 0
    assert [event["state"] for event in events(second / "run", "trial_ended")] == ["complete"] * 2
    assert run_file(second / "run")["request"]["data"] == str(second / "kinds.csv")
