"""The event log, and the leaderboard that is read from it: whole after a kill at any byte."""

from __future__ import annotations

import json

import pytest

from autotl.events import Event, EventLog, read_events
from autotl.report.leaderboard import last_test, leaderboard

LINES = [
    {"at": 1.0, "kind": "head", "trial": -1, "backbone": "f/b", "score": 0.5},
    {
        "at": 2.0,
        "kind": "trial_started",
        "trial": 0,
        "backbone": "f/b",
        "strategy": "finetune",
        "units": {},
        "planned_seconds": 9.0,
    },
    {"at": 3.0, "kind": "progress", "trial": 0, "permille": 1000, "score": 0.8},
    {"at": 4.0, "kind": "incumbent", "trial": 0, "score": 0.8},
    {"at": 5.0, "kind": "answer", "members": [{"trial": 0, "share": 1.0}], "score": 0.8},
    {"at": 6.0, "kind": "trial_ended", "trial": 0, "state": "complete", "score": 0.8, "seconds": 4.0, "reason": ""},
]


@pytest.mark.parametrize("kept", [0, 1, 20, 40])
def test_an_event_after_a_torn_line_has_a_line_of_its_own(tmp_path, kept):
    file = tmp_path / "events.jsonl"
    file.write_text(json.dumps(LINES[0]) + "\n" + json.dumps(LINES[1])[:kept])
    log = EventLog(file, lambda: 7.0, [])
    log.emit("note", text="on again")
    log.close()
    assert [event.kind for event in read_events(file)] == ["head", "note"]


@pytest.mark.parametrize("missing", range(len(LINES)))
def test_a_leaderboard_can_be_made_of_any_log_that_lacks_a_line(tmp_path, missing):
    file = tmp_path / "events.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for number, line in enumerate(LINES) if number != missing))
    rows = {row.name: row for row in leaderboard(read_events(file))}
    assert set(rows) == {"head", "0"} - ({"head"} if missing == 0 else set()) - ({"0"} if missing == 1 else set())
    if "0" in rows and missing not in {2, 3}:
        assert rows["0"].score == 0.8


def test_the_score_of_a_model_in_the_answer_is_that_of_its_saved_weights(tmp_path):
    file = tmp_path / "events.jsonl"
    log = EventLog(file, lambda: 0.0, [])
    for line in LINES[:5]:
        log.emit(**{name: value for name, value in line.items() if name != "at"})
    log.emit("progress", trial=0, permille=667, score=0.9)  # not saved: no incumbent came of it
    (first, *_) = leaderboard(read_events(file))
    assert (first.name, first.best, first.score) == ("0", True, 0.8)
    log.close()


def test_a_test_score_is_that_of_the_answer_that_stands(tmp_path):
    """A run that goes on tells its answer once more, and then perhaps another."""

    def told(*kinds):
        data = {
            "tested": {"score": 0.7},
            "answer": {"members": [{"trial": 0, "share": 1.0}], "score": 0.8},
            "other": {"members": [{"trial": 1, "share": 1.0}], "score": 0.9},
            "refit": {"trial": 0, "taken": True},
        }
        return last_test([Event(1.0, kind.replace("other", "answer"), data[kind]) for kind in kinds])

    assert told("answer", "refit", "answer") is None
    for kinds in (["answer", "tested"], ["answer", "refit", "answer", "tested"], ["answer", "tested", "answer"]):
        assert told(*kinds) == {"score": 0.7}
    for kinds in (["answer", "tested", "other"], ["answer", "tested", "answer", "refit", "answer"]):
        assert told(*kinds) is None
