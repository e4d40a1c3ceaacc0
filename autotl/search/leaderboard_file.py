"""Keeps ``leaderboard.csv`` as it is while trials come to their ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from autotl.events import Event
from autotl.report.leaderboard import write_leaderboard
from autotl.search.disk import Disk

#: Of the time, at most so much goes into writing it, which takes some 25 ms after 600 trials; but one that is older
#: than so many seconds is written however slow the disk.
SHARE, OLDEST = 0.002, 60.0


class LeaderboardFile:
    """Hears the events of a run, and has those of earlier processes."""

    def __init__(self, folder: Path, disk: Disk, past: Sequence[Event]) -> None:
        """folder: of the run."""
        self._folder, self._disk = folder, disk
        self.events = list(past)  #: of the run so far
        self._rests_until = 0.0  #: on the monotonic clock

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if event.kind == "trial_ended" and time.monotonic() >= self._rests_until:
            self.write()

    def write(self) -> None:
        """Puts all that was heard into the file."""
        began = time.monotonic()
        with suppress(PermissionError):  # on Windows, where it is open in a spreadsheet: the next one may be written
            self._disk.keep(lambda: write_leaderboard(self._folder, self.events))
        ended = time.monotonic()
        self._rests_until = ended + min((ended - began) / SHARE, OLDEST)
