"""Text from elsewhere is shown as it is spelled: no terminal, page or spreadsheet obeys it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
import uvicorn
from bundle_edits import edit_member
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from autotl.cli.main import main
from autotl.config import SearchRequest
from autotl.escaping import as_json, for_csv, for_markdown, for_terminal
from autotl.events import EventLog
from autotl.plugins.contracts import ZooContext
from autotl.predictor.bundle import read_card
from autotl.report.words import short
from autotl.runs.run_file import RunFile
from autotl.testing import make_bundle

TEXTS, CLASSES = ["a cat", "an oak", "of slate"], ("animal", "plant", "stone")

EVIL = "[red]=cmd|' /C calc'!A0[/red]\x1b[2J\x1b]0;mine\x07<script>|\n# Mine"


@pytest.fixture
def bundle(bare, tiny, zoo, tmp_path):
    return make_bundle(tiny, tiny.candidates(ZooContext((zoo,)))[:1], TEXTS, tmp_path, classes=CLASSES).folder


@pytest.fixture
def evil_bundle(bare, tiny, zoo, tmp_path):
    """One whose classes hold whatever could break out of where it is shown."""
    evil = (EVIL, "=1+1", "-1")
    return make_bundle(tiny, tiny.candidates(ZooContext((zoo,)))[:1], TEXTS, tmp_path, classes=evil).folder


def test_card_shows_markup_as_it_is_spelled(evil_bundle):
    card = (evil_bundle / "README.md").read_text(encoding="utf-8")
    assert "<script>" not in card
    assert "\x1b" not in card
    assert "\n# Mine" not in card
    assert "\\[red\\]" in card


def test_screen_shows_markup_as_it_is_spelled(evil_bundle, tmp_path, capsys):
    rows = pd.DataFrame({"text": ["a", "b"], "label": [EVIL, "-1"]})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert main(["evaluate", str(evil_bundle), "--data", str(tmp_path / "rows.csv")]) == 0
    shown = "".join(capsys.readouterr().out.split())
    assert "\x1b" not in shown
    assert "[red]" in shown


@pytest.fixture
def evil_run(bundle):
    """One whose strategy, backbone, settings and events hold what could break out of a terminal."""
    card = read_card(bundle)
    edit_member(bundle, strategy=EVIL, backbone=EVIL)
    known = {"request": SearchRequest(data=EVIL, budget_seconds=60.0), "task": card.task, "state": "finished"}
    known |= {"id": "0" * 32, "data_fingerprint": EVIL, "rows": {}, "audit_seconds": 1.0}
    known |= {"versions": {}, "machine": ""}
    RunFile(**known).write(bundle)
    log = EventLog(bundle / "events.jsonl", lambda: 1.0, [])
    started = {"backbone": EVIL, "strategy": EVIL, "units": {EVIL: EVIL}, "planned_seconds": 1.0, "why": EVIL}
    ended = {"state": "failed", "score": None, "seconds": 1.0, "reason": EVIL, "reason_kind": EVIL}
    answer = {"members": [{"trial": 0, "share": 1.0}], "score": 0.5, "models": EVIL}
    log.emit("trial_started", trial=0, **started, **{EVIL: EVIL})
    log.emit("trial_ended", trial=0, **ended)
    log.emit("answer", **answer, single_score=0.5, single_latency=0.001, latency=0.001, optimism=0.0)
    log.emit("note", text=EVIL)
    log.close()
    return bundle


@pytest.mark.parametrize("command", [["compare", 0, 0], ["show", 0, "0"], ["watch", 0]], ids=lambda words: words[0])
def test_screen_shows_text_of_a_run_as_it_is_spelled(evil_run, capsys, command):
    assert main([word or str(evil_run) for word in command]) == 0
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]" in "".join(shown.split())


def test_service_says_what_it_serves_as_it_is_spelled(evil_run, capsys, monkeypatch):
    monkeypatch.setattr(uvicorn.Server, "run", lambda server, sockets: None)
    assert main(["serve", str(evil_run), "--port", "0"]) == 0
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert "[red]" in shown


def test_predictions_are_no_formulas(evil_bundle, tmp_path):
    pd.DataFrame({"text": ["a"]}).to_csv(tmp_path / "rows.csv", index=False)
    for number, shown in enumerate((EVIL, "'=1+1", "-1")):
        head = {"weight": np.zeros((3, 32), np.float32), "bias": np.eye(3, dtype=np.float32)[number]}
        save_file(head, tmp_path / "head")
        (tmp_path / "head").replace(evil_bundle / "weights" / "0-0" / "head.safetensors")
        out = tmp_path / f"{number}.csv"
        assert main(["predict", str(evil_bundle), "--data", str(tmp_path / "rows.csv"), "--out", str(out)]) == 0
        assert pd.read_csv(out, dtype=str)["prediction"].tolist() == [shown]


def test_predictions_on_a_screen_are_not_obeyed(evil_bundle, tmp_path, capsys, monkeypatch):
    pd.DataFrame({"text": ["a\x9b2J"]}).to_csv(tmp_path / "rows.csv", index=False)
    head = {"weight": np.zeros((3, 32), np.float32), "bias": np.eye(3, dtype=np.float32)[0]}
    save_file(head, tmp_path / "head")
    (tmp_path / "head").replace(evil_bundle / "weights" / "0-0" / "head.safetensors")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for more in ([], ["--json"]):
        assert main(["predict", str(evil_bundle), "--data", str(tmp_path / "rows.csv"), *more]) == 0
        shown = capsys.readouterr().out
        assert "[red]" in shown
        assert not {"\x1b", "\x07", "\x9b"} & set(shown)


@given(st.text())
def test_nothing_shown_is_obeyed(text):
    assert not {"\x1b", "\n", "\r", "\x9b", "\u202e"} & set(for_terminal(text))
    assert not {"<", ">", "\n"} & set(for_markdown(text))
    assert not str(for_csv(text)).startswith(("=", "@", "\t", "\r"))
    assert not {"\x1b", "\n", "\r", "\x7f", "\x9b", "\u202e"} & set(as_json([text]))
    assert json.loads(as_json([text])) == [text]


def test_joiners_of_scripts_are_kept_in_pages():
    assert short("می\u200cخواهم") == "می\u200cخواهم"
    assert short("a\u0007b") == "a b"
