"""The live view fits any screen, and says what there is to know; plain and JSON forms for logs."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from autotl.budget import Clock
from autotl.events import Event
from autotl.report.leaderboard import Row
from autotl.report.live import JsonView, LiveView, PlainView, leaderboard_table, view_for_people


def a_search(trials=30):
    """Events as a search emits them, with names that are too long for any line."""
    backbone = "transformers/" + "a-very-long-name-of-a-backbone-" * 3 + "[bold]"
    yield Event(0.1, "phase", {"name": "searching"})
    yield Event(
        0.5, "task",
        {"task": "multiclass", "target": "t", "classes": ["a", "b"], "asks": "2 classes", "modality": "text",
         "input": "i" * 99, "rows": {"training": 9, "validation": 5}, "metric": "accuracy"},
    )  # fmt: skip
    yield Event(1.0, "head", {"trial": -1, "backbone": backbone, "score": 0.5})
    yield Event(1.0, "incumbent", {"trial": -1, "score": 0.5})
    yield Event(
        1.0, "answer", {"members": [{"trial": -1, "share": 1.0}], "score": 0.5, "models": f"probe of {backbone}"}
    )
    for number in range(trials):
        at = 2.0 + number
        yield Event(
            at, "trial_started",
            {"trial": number, "backbone": backbone, "strategy": "contrastive", "units": {"rate": 0.5},
             "planned_seconds": 1.0, "rate": 0.125, "why": "sampler"},
        )  # fmt: skip
        for permille in range(50, 1001, 50):
            yield Event(at + permille / 2000, "progress", {"trial": number, "permille": permille, "score": 0.6})
        if number < trials - 1:
            ended = {"trial": number, "state": "failed", "score": 0.6, "seconds": 0.9, "reason": "r " * 99}
            yield Event(at + 0.9, "trial_ended", ended | {"reason_kind": "numbers"})
    yield Event(2.5 + trials, "incumbent", {"trial": trials - 1, "score": 0.7251})
    members = [{"trial": trials - 1, "share": 1.0}]
    yield Event(2.5 + trials, "answer", {"members": members, "score": 0.7, "models": f"contrastive of {backbone}"})


def screen(events, width, height):
    """The lines of the view's screen after these events, on a terminal of that size."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height)
    clock = Clock(100.0)
    view = LiveView(clock, console)
    for event in events:
        clock.set_back(event.at - clock.elapsed)
        view(event)
    console.print(view.render())
    return file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (60, 15), (100, 30)])
def test_it_fits_the_screen_from_the_first_event_to_the_last(width, height):
    events = list(a_search())
    for count in (0, 1, 2, 3, 5, 10, 40, len(events)):
        lines = screen(events[:count], width, height)
        assert len(lines) <= height
        assert max(map(len, lines)) <= width
    assert len(lines) >= height - 1  # and what there is room for is shown


def test_it_says_what_there_is_to_know():
    lines = screen(a_search(), 80, 24)
    assert "searching" in lines[0]
    assert "left" in lines[0]
    assert lines[2].startswith("best 0.7000  contrastive of")
    assert "▁" in lines[3]
    assert "█  0.5000 → 0.7000" in lines[3]
    assert "now  trial 29: contrastive of" in lines[4]
    assert "the sampler proposes it" in lines[5]
    assert any(line.split()[:2] == ["29", "0.7251"] for line in lines)
    assert "best so far: 0.7251 by trial 29" in lines[-1]


def board(names, width):
    """The lines of a leaderboard of these backbones."""
    file = io.StringIO()
    rows = [
        Row(str(place), name, "contrastive", "complete", 0.9, 83.0, curve=[(n, n) for n in range(8)])
        for place, name in enumerate(names)
    ]
    Console(file=file, width=width).print(leaderboard_table(rows, width))
    return [line.split() for line in file.getvalue().splitlines()]


MINI, LARGE = (
    "transformers/sentence-transformers/all-MiniLM-L6-v2",
    "transformers/sentence-transformers/all-mpnet-base-v2",
)


def test_a_leaderboard_has_as_much_of_names_as_there_is_room_for():
    """First families go, then curves, then the middle of names; no other cell is ever cut."""
    assert [line[2] for line in board([MINI, LARGE], 120)] == ["backbone", MINI, LARGE]
    small = ["timm/mobilenetv2_100", "timm/resnet18"]
    assert [line[2] for line in board(small, 80)] == ["backbone", *small]
    assert all(line[-1] == "▁▂▃▄▅▆▇█" for line in board(small, 80)[1:])
    longer = ["timm/mobilenetv3_large_100.ra", "timm/resnet18"]
    assert [line[2] for line in board(longer, 80)[1:]] == ["mobilenetv3_large_100.ra", "resnet18"]
    head, *lines = board([MINI, LARGE], 80)
    assert head == ["trial", "score", "backbone", "strategy", "state", "time"]
    for line, name in zip(lines, [MINI, LARGE], strict=True):
        begin, end = line[2].split("…")
        assert name.removeprefix("transformers/").startswith(begin)
        assert name.endswith(end)
        assert end
        assert line[3:] == ["contrastive", "complete", "1:23"]
    assert lines[0][2].endswith("all-MiniLM-L6-v2")


def test_families_stay_where_only_they_tell_backbones_apart():
    names = ["transformers/a-name-of-many-letters", "towers/a-name-of-many-letters"]
    assert [line[2] for line in board(names, 80)[1:]] == names


def test_plain_and_json_forms(capsys):
    events = list(a_search(2))
    for event in events:
        JsonView()(event)
        PlainView()(event)
    out, err = capsys.readouterr()
    assert [json.loads(line)["kind"] for line in out.splitlines()] == [event.kind for event in events]
    assert "[  2.0 s] trial 0: contrastive of" in err


def test_a_search_goes_on_when_nobody_reads_its_events(monkeypatch):
    class Gone:
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Gone())
    event = next(iter(a_search(1)))
    JsonView()(event)
    with pytest.raises(BrokenPipeError):  # who only tells has nothing else to do
        JsonView(stops_unread=True)(event)


@pytest.mark.parametrize(("term", "kind"), [("dumb", PlainView), ("xterm", LiveView)])
def test_a_terminal_that_cannot_draw_gets_lines(monkeypatch, term, kind):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for name in ("FORCE_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert type(view_for_people(Clock(1.0))) is kind


def test_a_log_gets_lines_whatever_colours_are_forced(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert type(view_for_people(Clock(1.0))) is PlainView
