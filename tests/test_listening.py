"""Plugins that hear events: told as the log has them, and whatever they do costs the search a note."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from autotl.events import EventLog, read_events
from autotl.plugins.hookspecs import EventContext
from autotl.plugins.manager import plugins
from autotl.search import listening
from autotl.search.listening import Listening
from autotl.testing import BrokenPromise, check_event_listener

HEARS = """
import autotl

heard = []

@autotl.hookimpl
def autotl_event(context, event):
    heard.append((context.folder, event.kind, event.data))
"""

FAULTS = {
    "raising": "raise OSError('no such server')",
    "leaving": "raise SystemExit('away')",
    "drowsy": "import time; time.sleep(600)",
}


def listener(fault):
    return f"import autotl\n\n@autotl.hookimpl\ndef autotl_event(event):\n    {fault}\n"


@pytest.fixture(autouse=True)
def _anew(monkeypatch):
    """Each test has modules of its own to hear with."""
    for name in ("autotl_hears", "autotl_faulty"):
        monkeypatch.delitem(sys.modules, name, raising=False)


class Run:
    """A log of events and the plugins that hear it."""

    def __init__(self, folder):
        self.file = folder / "events.jsonl"
        context = EventContext("1.0", folder)
        self.listening = Listening(plugins().listeners, context, lambda text: self.log.emit("note", text=text))
        self.log = EventLog(self.file, lambda: 1.0, [self.listening])

    @property
    def notes(self):
        return [event.data["text"] for event in read_events(self.file) if event.kind == "note"]


def test_a_plugin_hears_every_event_in_order_and_changes_none(put_on_path, distribution, tmp_path):
    put_on_path(distribution("hears", HEARS), distribution("vandal", listener("event.data.clear()")))
    import autotl_hears

    assert [record.adds for record in plugins().records if record.name == "hears"] == [("listener hears",)]
    run = Run(tmp_path)
    for number in range(50):
        run.log.emit("progress", trial=number)
    run.listening.close(10.0)
    assert autotl_hears.heard == [(tmp_path, "progress", {"trial": number}) for number in range(50)]
    assert run.notes == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [("raising", "OSError: no such server"), ("leaving", "SystemExit: away"), ("drowsy", "it took more than 1 s")],
)
def test_a_plugin_that_fails_or_is_slow_hears_no_more_and_holds_nobody_up(
    put_on_path, distribution, tmp_path, monkeypatch, name, reason
):
    monkeypatch.setattr(listening, "PATIENCE", 0.5)
    put_on_path(distribution(name, listener(FAULTS[name])), distribution("hears", HEARS))
    import autotl_hears

    run, began = Run(tmp_path), time.monotonic()
    run.log.emit("phase", name="reading")
    assert time.monotonic() - began < 0.25
    time.sleep(0.6)
    run.log.emit("phase", name="screening")
    assert len(run.notes) == 1
    assert run.notes[0].startswith(f"plugin {name} hears no more of this run: {reason}")
    run.log.emit("phase", name="searching")
    began = time.monotonic()
    run.listening.close(10.0)
    assert time.monotonic() - began < 0.25
    assert len(run.notes) == 1
    kinds = [kind for _, kind, _ in autotl_hears.heard]
    assert sorted(kinds) == ["note", "phase", "phase", "phase"]


def test_the_end_waits_for_what_is_left_to_hear_but_not_for_ever(put_on_path, distribution, tmp_path):
    put_on_path(distribution("slow", listener("import time; time.sleep(0.1)")))
    run = Run(tmp_path)
    for _ in range(3):
        run.log.emit("phase", name="reading")
    run.listening.close(10.0)
    assert run.notes == []

    run = Run(tmp_path)
    for _ in range(100):
        run.log.emit("phase", name="reading")
    began = time.monotonic()
    run.listening.close(0.0)
    assert time.monotonic() - began < 2.0
    assert "plugin slow hears no more of this run: the run ended before it had heard all" in run.notes[0]


def test_ctrl_c_ends_the_wait_for_plugins_and_nothing_else(put_on_path, distribution, tmp_path):
    put_on_path(distribution("drowsy", listener(FAULTS["drowsy"])))
    run = Run(tmp_path)
    run.log.emit("finished", score=0.5)
    began = time.monotonic()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    run.listening.close(10.0)
    assert time.monotonic() - began < 5.0
    assert "the run ended before it had heard all" in run.notes[0]


@pytest.mark.slow
def test_a_search_tells_plugins_all_that_its_log_has(command_line, distribution, table, zoo, tmp_path):
    """What the kit plays to plugins is what searches say: kinds and fields are compared with a real run's."""
    from autotl.testing import listener as kit

    writes = HEARS + "    (context.folder / 'heard.txt').open('a').write(event.kind + ' ')\n"
    folders = [distribution("broken", listener("1 / 0")), distribution("writes", writes)]
    options = ["--data", table, "--models", zoo / "one", "--trials", 3, "--out", tmp_path / "run", "--quiet"]
    answer = command_line("search", *options, also=folders)
    assert answer.returncode == 0, answer.stderr
    told = read_events(tmp_path / "run" / "events.jsonl")
    assert (tmp_path / "run" / "heard.txt").read_text().split() == [event.kind for event in told]
    (note,) = [event.data["text"] for event in told if event.kind == "note" and "broken" in event.data["text"]]
    assert note == "plugin broken hears no more of this run: ZeroDivisionError: division by zero"

    def fields(data):
        details = {"steps", "loss"}  # as the strategy likes
        return set(data) - set(data.get("units", ())) - details

    played = {kind: fields(data) for kind, data in (*kit.READING, *kit.SCREENING, *kit.TRIALS, *kit.END)}
    for event in told:
        assert (event.kind, fields(event.data)) == (event.kind, played[event.kind])


def test_a_search_that_ends_without_a_model_says_so(put_on_path, distribution, tiny, zoo, bare, tmp_path, monkeypatch):
    from autotl.config import SearchRequest
    from autotl.errors import DataError
    from autotl.search.engine import Search

    put_on_path(distribution("hears", HEARS))
    import autotl_hears

    (tmp_path / "empty.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(DataError):
        Search(SearchRequest(data=str(tmp_path / "empty.csv"), models=(str(zoo),), trials=1), tmp_path / "run").run()
    kinds = [kind for _, kind, _ in autotl_hears.heard]
    assert kinds == ["phase", "failed"]
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------- the kit


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("{}['score']", "hears every event of a run, and in time.*KeyError: 'score'"),
        ("event.data['name'] if event.kind == 'weather' else 0", "hears every event.*KeyError: 'name'"),
        ("print('heard')", "prints nothing on standard output.*heard"),
    ],
)
def test_the_kit_finds_a_listener_that_breaks_its_promises(put_on_path, distribution, fault, found):
    put_on_path(distribution("faulty", listener(fault)))
    with pytest.raises(BrokenPromise, match=found):
        check_event_listener("faulty")


def test_the_kit_finds_a_listener_that_touches_the_run(put_on_path, distribution):
    code = HEARS + "    (context.folder / 'run.json').write_text('mine')\n"
    put_on_path(distribution("touching", code))
    with pytest.raises(BrokenPromise, match=r"leaves the files of the run as they are. Found: run.json"):
        check_event_listener("touching")


def test_the_kit_says_who_hears_nothing(put_on_path, distribution):
    put_on_path(distribution("hears", HEARS))
    check_event_listener("hears")
    with pytest.raises(BrokenPromise, match=r"plugin 'core': is on and has the hook autotl_event. Found: "):
        check_event_listener("core")
