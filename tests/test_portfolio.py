"""Learning from past runs: what is chosen from their logs, in which order, and that a search tries it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.cli.main import main
from autotl.errors import RunError
from autotl.events import read_events
from autotl.portfolio import Portfolio, build, choose, regret_table
from autotl.runs.folder import RUN_LOG_FILE
from autotl.search.portfolio_file import Entry, Sources
from autotl.search.run_log import BackboneFacts, MachineFacts, TaskFacts, TrialLine


def trial(rate, score, *, number=0, run="run", data="data", backbone="tiny/one", state="complete", curve=None, **other):
    """A line of a log; `rate` is the one number that its configuration has, in units."""
    return TrialLine(
        run=run,
        trial=number,
        task=TaskFacts(
            data=data, modality="text", kind="binary", metric="accuracy", rows=100, classes=2, largest_class=0.5,
            log10_budget=2.0,
        ),
        machine=MachineFacts(cores=2, device="cpu"),
        backbone=BackboneFacts(key=backbone, parameters=1000, licence="mit"),
        strategy=other.get("strategy", "finetune"),
        settings={"rate": rate, "schedule": other.get("schedule", "linear")},
        units={"rate": rate, "schedule": other.get("schedule", "linear")},
        curve=((1000, 1.0, score),) if curve is None else curve,
        score=score,
        state=state,
        reason_kind="",
        seconds=1.0,
        planned_seconds=1.0,
        floor=other.get("floor", 0.5),
        noise=other.get("noise", 0.01),
    )  # fmt: skip


def run_of(scores, **facts):
    """One run that tried each rate and got its score."""
    return [trial(rate, score, number=number, **facts) for number, (rate, score) in enumerate(scores.items())]


RATES = st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9])
SCORES = st.integers(40, 100).map(lambda percent: percent / 100)


@st.composite
def logs(draw):
    """A few runs on a few data sets, with ties, failures and trials that were dropped."""
    found = []
    for run in range(draw(st.integers(1, 5))):
        data = draw(st.sampled_from(["a", "b", "c"]))
        tried = draw(st.lists(st.tuples(RATES, SCORES, st.sampled_from(["linear", "cosine"])), min_size=2, max_size=5))
        for number, (rate, score, schedule) in enumerate(tried):
            state = "complete" if number < 2 else draw(st.sampled_from(["complete", "dropped", "failed"]))
            curve = ((111, 0.1, score - 0.05), (1000, 1.0, score)) if state == "complete" else ((111, 0.1, score),)
            found.append(
                trial(
                    rate, None if state == "failed" else score, number=number, run=str(run), data=data, state=state,
                    curve=() if state == "failed" else curve, schedule=schedule,
                )
            )  # fmt: skip
    return found


def chosen(portfolio):
    return [entry.settings["rate"] for entry in portfolio.entries]


@given(logs())
def test_a_portfolio_is_never_worse_than_its_best_single_configuration(trials):
    table = regret_table(trials)
    entries = choose(trials).entries
    assert ((table.regrets >= 0) & (table.regrets <= 1)).all()
    means = [entry.mean_regret for entry in entries]
    assert means[0] == pytest.approx(table.regrets.mean(axis=1).min(), abs=1e-6)
    assert means == sorted(means, reverse=True)
    places = [[dict(one.settings) for one in table.configurations].index(entry.settings) for entry in entries]
    assert means[-1] == pytest.approx(table.regrets[places].min(axis=0).mean(), abs=1e-6)


@given(logs(), st.randoms(use_true_random=False))
def test_order_of_the_logs_does_not_matter(trials, random):
    shuffled = list(trials)
    random.shuffle(shuffled)
    assert choose(shuffled) == choose(trials)


@given(logs(), st.integers(1, 4))
def test_a_smaller_portfolio_is_the_beginning_of_a_larger_one(trials, size):
    smaller, larger = choose(trials, size).entries, choose(trials, size + 1).entries
    assert smaller == larger[: len(smaller)]
    assert len(larger) <= size + 1


def test_second_choice_is_good_where_the_first_is_not():
    one = run_of({0.1: 0.9, 0.5: 0.8, 0.9: 0.5}, run="one", data="one")
    other = run_of({0.1: 0.5, 0.5: 0.8, 0.9: 0.9}, run="other", data="other")
    assert chosen(choose(one + other)) == [0.5, 0.1, 0.9]
    assert choose(one + other).entries[-1].mean_regret == 0


def test_it_ends_when_nothing_is_left_to_gain():
    assert chosen(choose(run_of({0.1: 0.9, 0.5: 0.8, 0.9: 0.7}))) == [0.1]


def test_no_task_outweighs_the_others_by_its_spread_or_its_number_of_trials():
    """Scores of the second task lie ten times closer, and of the first there are two runs."""
    wide = [*run_of({0.1: 0.9, 0.9: 0.5}, run="a"), *run_of({0.1: 0.9, 0.9: 0.5}, run="b")]
    narrow = run_of({0.1: 0.86, 0.9: 0.9}, run="c", data="narrow", floor=0.86, noise=0.001)
    table = regret_table(wide + narrow)
    assert table.regrets.shape == (2, 2)
    np.testing.assert_allclose(table.regrets.mean(axis=1), [0.5, 0.5])


def test_differences_that_are_noise_count_for_little():
    table = regret_table(run_of({0.1: 0.52, 0.9: 0.51}, noise=0.04))
    assert table.regrets[:, 0].tolist() == pytest.approx([0.0, 0.25])


def test_settings_are_not_blamed_for_their_backbone():
    good = run_of({0.1: 0.9, 0.9: 0.8}, backbone="tiny/one")
    poor = [
        line.model_copy(update={"trial": line.trial + 2})
        for line in run_of({0.3: 0.7, 0.9: 0.6}, backbone="tiny/two")
    ]  # fmt: skip
    regrets = regret_table(good + poor).regrets[:, 0]
    assert regrets.tolist() == pytest.approx([0.0, 0.0, 0.25])  # 0.1, 0.3, 0.9; the lead over the head is 0.4


def test_backbone_that_was_tried_once_says_nothing():
    lone = trial(0.7, 0.9, number=9, backbone="tiny/two")
    assert chosen(choose([lone, *run_of({0.1: 0.8, 0.9: 0.7})])) == [0.1]
    with pytest.raises(RunError, match="no two trials"):
        choose([lone])


def test_regret_where_it_was_not_tried_is_that_of_its_neighbours():
    tried = run_of({0.1: 0.9, 0.5: 0.9, 0.9: 0.5}, run="a", data="a")
    elsewhere = run_of({0.12: 0.9, 0.88: 0.9}, run="b", data="b")
    table = regret_table(tried + elsewhere)
    by_rate = {one.settings["rate"]: row for one, row in zip(table.configurations, table.regrets, strict=True)}
    mean = 1 / 3  # of the regrets 0, 0 and 1
    assert by_rate[0.12][0] < mean < by_rate[0.88][0]
    assert by_rate[0.5][1] == pytest.approx(0.0)


def test_configuration_of_a_strategy_without_trials_on_a_task_gets_the_tasks_mean():
    known = run_of({0.1: 0.9, 0.9: 0.5}, run="a", data="a")
    foreign = run_of({0.1: 0.9, 0.2: 0.8}, run="b", data="b", strategy="probe")
    table = regret_table(known + foreign)
    probes = [row[0] for one, row in zip(table.configurations, table.regrets, strict=True) if one.strategy == "probe"]
    assert probes == pytest.approx([0.5, 0.5])


def test_trial_that_was_dropped_is_expected_to_gain_what_finished_ones_did():
    whole = trial(0.1, 0.9, curve=((111, 0.1, 0.7), (1000, 1.0, 0.9)))
    also = trial(0.1, 0.7, number=1, state="dropped", curve=((111, 0.1, 0.6),))
    (regrets,) = regret_table([whole, also]).regrets
    assert regrets.tolist() == pytest.approx([(0.0 + 0.25) / 2])  # 0.6 + 0.2 is 0.1 below 0.9; the lead is 0.4


def test_failed_trial_lost_all_there_was_to_gain_and_is_no_candidate():
    failed = trial(0.9, None, number=5, state="failed", curve=())
    table = regret_table([*run_of({0.1: 0.9, 0.5: 0.8}), failed])
    assert [one.settings["rate"] for one in table.configurations] == [0.1, 0.5]
    assert table.trials == 3


def test_built_file_says_where_it_came_from_and_is_read_again(tmp_path):
    for run in ("one", "two"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        lines = [line.model_dump_json() for line in run_of({0.1: 0.9, 0.9: 0.7}, run=run, data=run)]
        (tmp_path / "runs" / run / RUN_LOG_FILE).write_text("\n".join([*lines, '{"format": 9}', ""]), encoding="utf-8")
    made = build(tmp_path / "runs")
    assert made.sources == Sources(runs=2, tasks=2, trials=4, skipped=2)
    made.save(tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))["format"] == 1
    assert Portfolio.load(tmp_path / "p.json") == made
    with pytest.raises(RunError, match="exists already"):
        made.save(tmp_path / "p.json")


def test_command_writes_the_file_once_and_shows_what_is_in_it(tmp_path, capsys):
    text = "\n".join(line.model_dump_json() for line in run_of({0.1: 0.9, 0.9: 0.7}))
    (tmp_path / RUN_LOG_FILE).write_text(text, encoding="utf-8")
    command = ["portfolio", str(tmp_path), "--out", str(tmp_path / "p.json")]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "rate 0.1" in shown
    assert "from 2 trials of 1 run on 1 task" in shown
    written = (tmp_path / "p.json").read_bytes()
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "p.json").read_bytes() == written


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "--size", "0"], ["."]])
def test_command_says_what_is_missing(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / RUN_LOG_FILE).write_text(trial(0.1, 0.9).model_dump_json() + "\n", encoding="utf-8")
    assert main(["portfolio", *arguments, "--out", "p.json"]) == 2
    assert capsys.readouterr().err.startswith("autotl: ")
    assert not (tmp_path / "p.json").exists()


GOOD = {
    "format": 1,
    "sources": {"runs": 1, "tasks": 1, "trials": 2},
    "entries": [{"strategy": "probe", "settings": {"penalty_multiplier": 2.0}, "mean_regret": 0.0}],
}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "not JSON"),
        ("[]", "format"),
        (json.dumps(GOOD | {"format": 2}), "format"),
        (json.dumps(GOOD | {"entries": []}), "entries"),
        (json.dumps(GOOD | {"entries": [{"strategy": "probe", "settings": {"a": []}, "mean_regret": 0}]}), "settings"),
        (json.dumps(GOOD | {"sources": {}}), "sources"),
    ],
)
def test_file_that_is_no_portfolio_is_refused_with_what_is_wrong(text, wrong, tmp_path):
    (tmp_path / "p.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=rf"p\.json.*{wrong}"):
        Portfolio.load(tmp_path / "p.json")


def test_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunError, match="cannot be read"):
        Portfolio.load(tmp_path / "nowhere.json")


def test_search_that_is_given_no_portfolio_leaves_nothing_behind(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["search", "--data", str(table), "--trials", "1", "--portfolio", "nowhere.json"]) == 2
    assert "nowhere.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_search_tries_the_portfolio_after_the_published_recipe_and_so_does_its_resume(
    command_line, table, zoo, tmp_path
):
    """The file is gone when the search is resumed; the last entry's settings do not all fit here."""
    entries = (
        Entry(strategy="elsewhere", settings={"zeal": 1.0}, mean_regret=0.4),
        Entry(strategy="probe", settings={"penalty_multiplier": 2.0}, mean_regret=0.3),
        Entry(strategy="finetune", settings={"learning_rate_multiplier": 0.5, "augment": 0.6}, mean_regret=0.2),
    )
    Portfolio(sources=Sources(runs=1, tasks=1, trials=3), entries=entries).save(tmp_path / "p.json")
    answer = command_line(
        "search", "--data", table, "--models", zoo, "--trials", 2, "--quiet", "--portfolio", "p.json", "--out", "run",
        cwd=tmp_path,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    (tmp_path / "p.json").unlink()
    answer = command_line("resume", "run", "--trials", "+2", "--quiet", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    events = read_events(tmp_path / "run" / "events.jsonl")
    started = [event.data for event in events if event.kind == "trial_started"]
    best = started[0]["backbone"]
    assert [(one["backbone"] == best, one["strategy"]) for one in started] == [
        (True, "finetune"), (True, "probe"), (True, "finetune"), (False, "finetune"),
    ]  # fmt: skip
    published = {name: started[0][name] for name in started[0]["units"]}
    assert started[1]["penalty_multiplier"] == 2.0
    assert {name: started[2][name] for name in started[2]["units"]} == published | {"learning_rate_multiplier": 0.5}
    assert any("'elsewhere'" in event.data["text"] for event in events if event.kind == "note")
