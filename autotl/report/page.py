"""``report.html``: one file that says what a run came to, with nothing to fetch and nothing that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from autotl.budget import Clock, describe_seconds
from autotl.data.wording import counted, kind_of_input
from autotl.events import Event
from autotl.files import write_durably
from autotl.report import classes, figures, labels, numbers, words
from autotl.report.answers import Answers, answers_of
from autotl.report.canvas import Picture, drawing
from autotl.report.examples import MOST_NAMED, MOST_SET_ASIDE, repeats, shown
from autotl.report.findings import Findings, TableRows, TooLong
from autotl.report.mistakes import Mistakes
from autotl.report.record import Record, read_record
from autotl.runs.folder import REPORT_FILE

#: Lines of a table that a person reads; more are in ``leaderboard.csv``.
MOST_LINES = 50

#: Notes are sentences; what they quote of the data may be long.
LONGEST_NOTE = 400

#: Who shows what answers get wrong, by `Kind.module`.
SHOWS = {"classes": classes, "labels": labels, "numbers": numbers}

_HERE = Path(__file__).parent


def write_report(folder: Path, findings: Findings, *, out: Path | None = None, clock: Clock | None = None) -> Path:
    """Writes the report of a run, in its folder unless `out` names another file, and returns where it is.

    Raises `RunError` where there is no run, and `TooLong` when the clock ends on the way; then nothing is written.
    """
    target = out or folder / REPORT_FILE
    record, clock = read_record(folder), clock or Clock()
    text = _page(record, findings, clock)
    write_durably(target, text.encode("utf-8", "replace").decode("utf-8"))  # a cell may hold half a character
    return target


def _page(record: Record, findings: Findings, clock: Clock) -> str:
    rows, card, task = findings.rows, record.card, record.run.task
    answers = answers_of(record.folder, card, rows.targets) if rows and card else None
    drawn = _drawn(record, findings, answers, clock)
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"short": words.short, "seconds": describe_seconds, "settings": words.settings_in_words}
    facts: dict[str, Any] = {
        "style": Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        "record": record,
        "card": card,
        "task": task,
        "words": words,
        "counted": counted,
        "kind_of_input": kind_of_input,
        "pictures": drawn,
        "board": record.board[:MOST_LINES],
        "licences": _licences(record),
        "why_no_rows": findings.why_no_rows,
        "why_no_importances": findings.why_no_importances,
        "answered": answers is not None,
        "audit": record.last("audit"),
        "notes": list(dict.fromkeys(event.data["text"] for event in record.of("note"))),
        "most_named": MOST_NAMED,
        "longest_note": LONGEST_NOTE,
        "mistakes": Mistakes(),
        "drawings": [],
        "repeats": [],
        "set_aside": [],
        "left_out": 0,
    }
    if rows:
        facts |= _of_the_table(rows, record, clock)
    if rows and card and answers:
        _check(clock)
        shows = SHOWS[task.rules.module]
        facts |= {"mistakes": shows.mistakes(answers, rows, card), "drawings": shows.drawings(answers)}
    return environment.get_template("template.html").render(facts)


def _drawn(record: Record, findings: Findings, answers: Answers | None, clock: Clock) -> Mapping[str, Picture]:
    """The figures that there is something for, by name."""
    shares = findings.importances
    makers: dict[str, Callable[[], Picture | None]] = {
        "time": lambda: figures.score_over_time(record),
        "screening": lambda: figures.screening(record),
        "curves": lambda: figures.learning_curves(record),
        "importances": lambda: figures.importances(shares, findings.finished_trials),
        "slices": lambda: figures.slices(record, shares),
        "ledger": lambda: figures.where_the_time_went(record.spent),
    }
    if answers:
        makers |= {drawing.name: drawing.make for drawing in SHOWS[record.run.task.rules.module].drawings(answers)}
    found = {}
    with drawing():
        for name, make in makers.items():
            _check(clock)
            if drawn := make():
                found[name] = drawn
    return found


def _of_the_table(rows: TableRows, record: Record, clock: Clock) -> dict[str, Any]:
    _check(clock)
    modality = record.run.task.modality
    return {
        "repeats": repeats(rows, modality),
        "set_aside": [(shown(row.name, row.cell, modality), row.reason) for row in rows.set_aside[:MOST_SET_ASIDE]],
        "left_out": len(rows.set_aside),
    }


def _licences(record: Record) -> dict[str, str]:
    """Of the pretrained weights, by backbone: of those in the answer, or else of all that were screened."""
    screened: list[Event] = record.of("screened")
    known = {event.data["backbone"]: event.data["licence"] for event in screened}
    return {member.backbone: member.licence for member in record.card.members} if record.card else known


def _check(clock: Clock) -> None:
    if clock.remaining <= 0:
        raise TooLong
