"""Plugins that raise, lie or never return: each is named with its package, and the search ends well and in time."""

from __future__ import annotations

import csv
import json
import os
import re
import time
from pathlib import Path

import pytest
from distributions import write_distribution
from run_folders import events, notes, run_file

from autotl.cli.main import build_parser, main
from autotl.config import SearchRequest
from autotl.plugins import manager
from autotl.plugins.manager import plugins
from autotl.search import pace
from autotl.search.engine import Search

THIRD_PARTY = Path(__file__).parent / "thirdparty"

HANGING_IMPORT = "import time\ntime.sleep(600)\n"

HANGING_HOOK = """
import time
import autotl

@autotl.hookimpl
def autotl_strategies(context):
    time.sleep(600)
"""

#: Strategies with the name of their plugin; `fit` is written by each test.
STRATEGY = """
import time
import autotl
from autotl.plugins.contracts import Progress, Real, Strategy, Work

class Kind(Strategy):
    name = "{name}"
    weight = 8.0  # tried right after trial 0
    def parameters(self, context): return [Real("depth", 0.0, 1.0)]
    def portfolio(self, context): return [{{"depth": depth}} for depth in (0.5, 0.2, 0.8)]
    def work(self, context, settings): return Work(0.0)
    def fit(self, trial):
        trial.settings.number("depth")
{fit}
        yield Progress(1000)

@autotl.hookimpl
def autotl_strategies(context):
    return [Kind()]
"""

#: The tiny family, of one backbone, with a fault.
FAMILY = """
import autotl
import dataclasses
from autotl.plugins.contracts import ZooContext

@autotl.hookimpl
def autotl_model_families(context):
    from autotl_tiny.family import TinyFamily

    class Wrong(TinyFamily):
        name = "wrong"

        def candidates(self, context):
            found = super().candidates(context)
            return [dataclasses.replace(one, family=self.name, prior=0.9) for one in found]

        def load(self, candidate, *, drop=0.0, pretrained=True):
            backbone = super().load(candidate, drop=drop, pretrained=pretrained)
            pool = backbone.pool
            backbone.pool = lambda state: {pooled}
            return backbone

    return [Wrong()]
"""


#: The tiny family, which cannot read every third cell, and says that it is the smallest.
PICKY = """
import autotl
import dataclasses

@autotl.hookimpl
def autotl_model_families(context):
    from autotl_picky_encoder import Picky
    from autotl_tiny.family import TinyFamily

    class Family(TinyFamily):
        name = "picky"

        def candidates(self, context):
            return [dataclasses.replace(one, family=self.name, parameters=1) for one in super().candidates(context)]

        def encoder(self, candidate, sample):
            return Picky()

    return [Family()]
"""

PICKY_ENCODER = """
from zlib import crc32
from autotl.plugins.contracts import Unreadable
from autotl_tiny.family import TinyEncoder

class Picky(TinyEncoder):
    def encode(self, cells):
        rows = super().encode(cells)
        return [Unreadable("no words") if crc32(c.encode()) % 3 == 0 else row for c, row in zip(cells, rows)]
"""


STUBBORN = """
import autotl
from autotl.plugins.contracts import Choice, Regularizer

class Stubborn(Regularizer):
    name = "stubborn"
    def strengths(self, context): return Choice("stubborn", (0.5, 1.0))
    def usual(self, context): return 0.5

@autotl.hookimpl
def autotl_regularizers(context):
    return [Stubborn()]
"""


def strategy(name, *lines):
    return STRATEGY.format(name=name, fit="\n".join(f"        {line}" for line in lines))


def rows_of(folder, strategy):
    """What the leaderboard says of a strategy's trials, in their order."""
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["strategy"] == strategy and row["trial"] != "head"]
    return sorted(rows, key=lambda row: int(row["trial"]))


@pytest.fixture
def search(bare, put_on_path, monkeypatch, tmp_path, table, zoo):
    """Runs a search in this process, its worker in another, with the tiny family and the plugins in `folders`."""

    def run(*folders, budget=None, count=None):
        put_on_path(THIRD_PARTY / "tiny", *folders)
        path = os.pathsep.join(map(str, (THIRD_PARTY / "tiny", *folders)))
        monkeypatch.setenv("PYTHONPATH", path)
        monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
        request = SearchRequest(data=str(table), models=(str(zoo / "one"),), budget_seconds=budget, trials=count)
        Search(request, tmp_path / "run").run()
        assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["state"] == "finished"
        return tmp_path / "run"

    return run


# -------------------------------------------------------------------- discovery


@pytest.mark.parametrize(("name", "code"), [("asleep", HANGING_IMPORT), ("dawdling", HANGING_HOOK)])
def test_a_plugin_that_does_not_answer_is_off_and_others_work(put_on_path, distribution, monkeypatch, name, code):
    monkeypatch.setattr(manager, "PATIENCE", 1.0)
    began = time.monotonic()
    put_on_path(distribution(name, code), distribution("fine", strategy("fine", "pass")))
    found = {record.name: record for record in plugins().records}
    assert time.monotonic() - began < 8
    assert (found[name].state, found["fine"].state) == ("off", "on")
    assert f"autotl-{name} 3.2 is off: TimeoutError: {name}" in "\n".join(plugins().complaints)
    assert plugins().unresponsive == [name]


def test_a_plugin_that_did_not_answer_is_not_waited_for_again(put_on_path, distribution, monkeypatch):
    monkeypatch.setenv(manager.OFF_VARIABLE, "asleep")
    began = time.monotonic()
    put_on_path(distribution("asleep", HANGING_IMPORT))
    assert plugins().unresponsive == ["asleep"]
    assert time.monotonic() - began < manager.PATIENCE


COMMAND = """
import autotl

class Kind:
    name, help = "{name}", "one of a plugin"
    def add_arguments(self, parser): {add}
    def run(self, options): return 0

@autotl.hookimpl
def autotl_commands(context):
    return [Kind()]
"""


@pytest.mark.parametrize("line", [["--help"], ["completion", "bash"], ["taste", "--more"], ["plugins"]])
@pytest.mark.parametrize(
    ("name", "add", "told"),
    [
        ("search", "pass", "the command 'search' is AutoTL's own"),
        ("broken", "raise RuntimeError('out of order')", "RuntimeError: out of order"),
        ("greedy", "parser.add_argument('--help')", "ArgumentError"),
    ],
)
def test_a_plugin_whose_command_cannot_be_had_is_off(put_on_path, distribution, capsys, line, name, add, told):
    taste = COMMAND.format(name="taste", add="parser.add_argument('--more', action='store_true')")
    put_on_path(distribution(f"bad{name}", COMMAND.format(name=name, add=add)), distribution("taste", taste))
    try:
        code = main(line)
    except SystemExit as end:
        code = end.code
    assert code in (0, None)
    assert "usage: autotl" in capsys.readouterr().out or line[0] != "--help"
    (complaint,) = [complaint for complaint in plugins().complaints if "autotl-bad" in complaint]
    assert told in complaint
    assert "taste" in {command.name for command in plugins().commands}


def test_the_names_of_our_commands_are_kept_for_us():
    assert set(manager.OWN_COMMANDS) == {name for action in build_parser()._actions for name in action.choices or ()}


# -------------------------------------------------------------------- whole searches


@pytest.mark.slow
def test_plugins_that_are_off_are_named_by_the_search(search, distribution, monkeypatch):
    monkeypatch.setattr(manager, "PATIENCE", 2.0)
    folder = search(
        distribution("broken", "raise RuntimeError('out of order')"),
        distribution("asleep", HANGING_IMPORT),
        distribution("dawdling", HANGING_HOOK),
        count=1,
    )
    told = "\n".join(notes(folder))
    assert "plugin broken of autotl-broken 3.2 is off: RuntimeError: out of order" in told
    assert "plugin asleep of autotl-asleep 3.2 is off: TimeoutError: asleep did not answer within 2 s" in told
    assert "plugin dawdling of autotl-dawdling 3.2 is off: TimeoutError: dawdling.autotl_strategies" in told
    assert [event["state"] for event in events(folder, "trial_ended")] == ["complete"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pooled", "found"),
    [("pool(state)[:, :7]", r"pool\(\) gives \[\d+, 7\]"), ("pool(state)[0]", r"pool\(\) gives \[32\]|IndexError")],
)
def test_a_family_with_wrong_shapes_is_named_and_left_out(search, distribution, pooled, found):
    folder = search(distribution("wrong", FAMILY.replace("{pooled}", pooled)), count=1)
    (told,) = [note for note in notes(folder) if note.startswith("wrong/one cannot be used: ")]
    assert "wrong/one of autotl-wrong 3.2: " in told
    assert re.search(found, told)
    assert {event["backbone"] for event in events(folder, "trial_started")} == {"tiny/one"}


@pytest.mark.slow
def test_a_strategy_whose_model_answers_in_a_wrong_shape_is_a_failed_trial(search, distribution):
    wrong = strategy(
        "misshapen",
        "import numpy as np",
        "from autotl.features.heads import LinearHead",
        "from autotl.training.model import Classifier",
        "head = LinearHead(np.zeros((32, 2), np.float32), np.zeros(2, np.float32))",
        "trial.model = Classifier(trial.frozen.backbone, head)",
    )
    folder = search(distribution("misshapen", wrong), count=3)
    row = rows_of(folder, "misshapen")[0]
    assert row["state"] == "failed"
    assert row["reason"].startswith("misshapen of autotl-misshapen 3.2: TrialError: the model answers with [")
    assert row["reason"].endswith(", 2] in place of [rows, 3] logits")


@pytest.fixture(scope="module")
def stuck(searching, table, zoo, tmp_path_factory):
    """The run of a strategy that first sleeps and then spins, and the seconds that it took."""
    place = tmp_path_factory.mktemp("stuck")
    ways = ('if trial.settings.number("depth") > 0.3:', "    time.sleep(600)", "while True: pass")
    request = SearchRequest(data=str(table), models=(str(zoo / "one"),), budget_seconds=36.0, trials=5)
    with searching(write_distribution(place, "stuck", strategy("stuck", *ways))) as patched:
        patched.setattr(pace, "SECONDS_BESIDE", 3.0)
        began = time.monotonic()
        Search(request, place / "run").run()
        seconds = time.monotonic() - began
    assert run_file(place / "run")["state"] == "finished"
    return place / "run", seconds


@pytest.mark.slow
def test_a_strategy_that_never_returns_costs_its_trial_and_the_search_goes_on(stuck):
    folder, seconds = stuck
    assert seconds < 39
    row = rows_of(folder, "stuck")[0]
    assert row["state"] == "failed"
    assert row["reason"].startswith("stuck of autotl-stuck 3.2: nothing came of it for ")
    order = [event["trial"] for event in events(folder, "trial_ended")]
    states = {event["trial"]: event["state"] for event in events(folder, "trial_ended")}
    assert "complete" in [states[number] for number in order[order.index(int(row["trial"])) :]]


@pytest.mark.slow
def test_a_strategy_that_never_returns_is_not_waited_for_a_third_time(stuck):
    folder, _ = stuck
    rows = rows_of(folder, "stuck")
    assert [row["state"] for row in rows] == ["failed"] * 2
    assert [float(row["depth"]) for row in rows] == [0.5, 0.2]  # asleep, and at full speed
    assert "nothing came of it for" in rows[1]["reason"]
    assert "stuck is not tried again: it keeps failing" in notes(folder)
    assert len(events(folder, "trial_ended")) == 5


@pytest.mark.slow
def test_a_strategy_that_never_returns_is_cut_at_the_end_at_the_latest(search, distribution):
    began = time.monotonic()
    folder = search(distribution("stuck", strategy("stuck", "time.sleep(600)")), budget=14.0)
    assert time.monotonic() - began < 16.5
    assert rows_of(folder, "stuck")[0]["state"] in {"cut", "failed"}


def test_names_that_would_be_taken_for_something_else_cost_their_strategy(search, distribution):
    """Words that another strategy has not, under its name; and names that the log has for other things."""
    words = 'return [Choice("schedule", ("up", "down"))]'
    clash = strategy("clash", "pass").replace('return [Real("depth", 0.0, 1.0)]', words)
    clash = clash.replace('[{"depth": depth} for depth in (0.5, 0.2, 0.8)]', '[{"schedule": "up"}]')
    clash = clash.replace("import Progress", "import Choice, Progress")
    taken = strategy("taken", "pass").replace('"depth"', '"kind"')
    told = notes(search(distribution("clash", clash), distribution("taken", taken), count=2))
    assert any("strategy 'clash'" in note and "'schedule' offers other options" in note for note in told)
    assert any("strategy 'taken'" in note and "no parameter can be called 'kind'" in note for note in told)


def test_what_a_strategy_tells_and_fails_to_say_costs_itself(search, distribution):
    """Figures by the names that the log has, and work that nobody can tell once it is asked for in earnest."""
    model = (
        "from autotl.training.model import Classifier",
        "trial.model = Classifier(trial.load_backbone(), trial.starting_head())",
    )
    talks = strategy("talks", *model, 'yield Progress(500, {"score": 9.0, "trial": 7, "kind": 1.0, "loss": 0.5})')
    # says it as long as nobody trains, which is when it is vetted
    silent = strategy("silent", *model).replace(
        "return Work(0.0)", 'return {True: Work(0.0)}[sys._getframe(2).f_code.co_name != "_forecast"]'
    )
    folder = search(distribution("talks", talks), distribution("silent", "import sys\n" + silent), count=8)
    told = [event for event in events(folder, "progress") if "loss" in event and event["loss"] == 0.5]
    assert told
    assert all(event["score"] <= 1.0 and event["trial"] != 7 for event in told)
    ours = {event["trial"] for event in events(folder, "trial_started") if event["strategy"] == "silent"}
    ended = [event for event in events(folder, "trial_ended") if event["trial"] in ours]
    failed = [event["reason"] for event in ended if event["state"] != "complete"]
    assert failed
    assert all("does not say what it would do" in reason for reason in failed), failed


@pytest.mark.slow
def test_strategies_and_regularizers_that_cannot_say_what_they_would_do_are_named_and_left_out(search, distribution):
    methods = ("parameters", "portfolio", "work")
    folders = [
        distribution(
            method,
            strategy(method, "pass") + f"\ndef fail(*_):\n    raise KeyError('{method}')\n\nKind.{method} = fail\n",
        )
        for method in methods
    ]
    folder = search(*folders, distribution("stubborn", STUBBORN), count=1)
    told = notes(folder)
    for method in methods:
        assert f"strategy '{method}' of autotl-{method} 3.2 is left out: KeyError: '{method}'" in told
    assert any(
        note.startswith("regularizer 'stubborn' of autotl-stubborn 3.2 is left out: PluginError") for note in told
    )
    assert rows_of(folder, "finetune")[0]["state"] == "complete"
    assert "stubborn" not in events(folder, "trial_started")[0]


@pytest.mark.slow
def test_a_family_that_cannot_read_the_rows_is_left_out_and_one_that_can_goes_on(search, distribution):
    folder = distribution("picky", PICKY)
    (folder / "autotl_picky_encoder.py").write_text(PICKY_ENCODER)
    run = search(folder, count=2)
    (told,) = [note for note in notes(run) if "is left out" in note]
    assert told.startswith("the family 'picky' is left out: ")
    assert "rows cannot be read, more than 5%" in told
    assert {event["backbone"] for event in events(run, "trial_started")} == {"tiny/one"}
    assert {event["backbone"] for event in events(run, "screened")} == {"tiny/one"}
