"""How much time there is: parsing what people write, and the clock that everything obeys."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from autotl.errors import BudgetError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

#: Loading torch and one backbone takes 5 to 10 s on two cores; below this no model could be promised.
SHORTEST = 10.0
LONGEST = 30 * 86400.0


def parse_budget(text: str) -> float:
    """Seconds from ``90``, ``30s``, ``5m``, ``1h30m``, ``2h`` or ``1d``.

    Raises `BudgetError` for anything else, and outside `SHORTEST` to `LONGEST`.
    """
    cleaned = text.strip().lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", cleaned):
        seconds = float(cleaned)
    elif re.fullmatch(r"(\d+(\.\d+)?[smhd])+", cleaned):
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", cleaned)
        if len({unit for _, unit in parts}) < len(parts):
            raise BudgetError(f"budget {text!r} names a unit twice: write 30s, 5m, 1h30m or 1d")
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        raise BudgetError(f"budget {text!r} is not a time: write 30s, 5m, 1h30m, 2h or 1d")
    if not SHORTEST <= seconds <= LONGEST:
        raise BudgetError(f"budget {text!r} is outside {SHORTEST:.0f}s to {LONGEST / 86400:.0f}d")
    return seconds


def describe_seconds(seconds: float) -> str:
    """``4.2 s``, ``3:05``, ``2:00:00``: what people read on a clock."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


class Clock:
    """A stretch of time that started at `start` on the monotonic clock and may never end."""

    def __init__(self, seconds: float = math.inf, *, start: float | None = None) -> None:
        self.seconds = seconds
        self.start = time.monotonic() if start is None else start

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.start

    @property
    def remaining(self) -> float:
        return self.seconds - self.elapsed

    def set_back(self, seconds: float) -> None:
        """Counts `seconds` that passed before it started, beside those that it has; the end stays where it is."""
        self.start -= seconds
        self.seconds += seconds

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Does not count what the block takes; the end stays where it is."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.set_back(began - time.monotonic())
