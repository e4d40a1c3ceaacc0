"""What a report says of an answer's mistakes; each kind of task has a module beside this one that finds it.

Such a module has ``drawings(answers)`` and ``mistakes(answers, rows, card)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autotl.report.canvas import Picture
from autotl.report.examples import Wrong


@dataclass(frozen=True)
class Drawing:
    """A figure that may be made."""

    name: str
    heading: str
    make: Callable[[], Picture | None]


@dataclass(frozen=True)
class Listing:
    """A table: `rows` have words in the first columns, and numbers, as they are shown, in the others."""

    caption: str
    words: Sequence[str]
    numbers: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Mistakes:
    """All of it may be empty."""

    listings: Sequence[Listing] = ()
    wrong: Sequence[Wrong] = ()  #: the worst first
    suspects: Sequence[str] = ()  #: names of rows whose target may be an error, the likeliest first
    why_suspect: str = ""


def share(part: float, whole: float) -> str:
    """As a listing shows it."""
    return f"{part / whole:.3f}" if whole else "none"
