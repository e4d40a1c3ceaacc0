"""The plan: what searches would come to, said before they are started."""

from __future__ import annotations

import json
import signal

import pytest
from run_folders import wait_until


@pytest.fixture
def plan(command_line, zoo, table, tmp_path):
    def ask(*arguments):
        return command_line("plan", "--data", table, "--models", zoo, *arguments, cwd=tmp_path)

    return ask


@pytest.mark.slow
def test_plan_has_a_line_a_budget_and_leaves_nothing_behind(plan, tmp_path):
    answer = plan("--what-if", "20s,10m,1h,100h", "--json")
    assert answer.returncode == 0, answer.stderr
    short, long, longer, longest = json.loads(answer.stdout)
    assert [outlook["budget"] for outlook in (short, long, longer, longest)] == [20, 600, 3600, 360_000]
    assert 1 <= short["trials"] < long["trials"] < longer["trials"]
    assert 50 < longest["trials"] / longer["trials"] < 150  # what is imagined of a hundred hours is not all of them
    assert longest["finished"] < longest["trials"]
    assert longest["rungs"] == [111, 333]
    assert short["memory"] > 100e6
    assert 0 < short["run_folder"] <= longest["run_folder"] < 50e6
    assert short["cache"] > 0
    assert longest["fits"]
    assert short["download"] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_search_comes_to_what_was_planned(plan, command_line, zoo, table, tmp_path):
    (outlook,) = json.loads(plan("--what-if", "20s", "--json").stdout)
    answer = command_line(
        "search", "--data", table, "--models", zoo, "--budget", "20s", "--out", "run", "--quiet", cwd=tmp_path
    )
    assert answer.returncode == 0, answer.stderr
    finished = [line for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines() if '"complete"' in line]
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    # how many begin is noise with trials this short, which few rows judge: a half of them went on, or a tenth
    assert outlook["finished"] / 3 < len(finished) < 3 * outlook["finished"]
    assert outlook["memory"] == pytest.approx(run["memory"], rel=0.3)


@pytest.mark.slow
def test_rows_to_test_on_are_planned_for(plan, new_table):
    """They are read and audited as the search does it."""
    answer = plan("--what-if", "20s", "--json", "--test", new_table)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)[0]["trials"] >= 1
    answer = plan("--what-if", "20s", "--test", new_table.with_name("none.csv"))
    assert answer.returncode == 2
    assert "none.csv" in answer.stderr


@pytest.mark.parametrize("times", ["soon", "5m,,2h", "1s"])
def test_budgets_that_are_none(plan, times):
    answer = plan("--what-if", times)
    assert answer.returncode == 2
    assert answer.stderr.startswith("autotl: budget ")
    assert "Traceback" not in answer.stderr


@pytest.mark.slow
def test_a_plan_that_is_ended_leaves_nothing(started, command_line, zoo, table, tmp_path, monkeypatch):
    (place := tmp_path / "temporary").mkdir()
    monkeypatch.setitem(command_line.environment, "TMPDIR", str(place))
    process = started("plan", "--data", table, "--models", zoo, "--what-if", "10m", "--json", cwd=tmp_path)
    assert wait_until(lambda: list(place.glob("autotl-plan-*/run")))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert not list(place.glob("autotl-plan-*"))
