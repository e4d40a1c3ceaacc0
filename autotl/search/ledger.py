"""Where the seconds went: every one from the start of the process is booked under one name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

#: Seconds by which accounts may differ from their sum, each being rounded.
_ROUNDED = 0.05


class Ledger:
    """Accounts that take turns; what nobody claims belongs to `scheduling`, the engine's own time."""

    def __init__(self, elapsed: Callable[[], float], used: float, before: Mapping[str, float]) -> None:
        """elapsed: seconds of the run so far. used: those of earlier processes, booked as in `before`.

        What one of these had not booked when it was killed is `killed`. What this process took until now is `starting`.
        """
        self._elapsed = elapsed
        self._seconds = dict(before)
        if (lost := used - sum(before.values())) > _ROUNDED:
            self._seconds["killed"] = self._seconds.get("killed", 0.0) + lost
        self._account, self._since = "starting", used
        self._switch("scheduling")

    @contextmanager
    def book(self, account: str) -> Iterator[None]:
        """Books the block under `account`, but for blocks within it that are booked otherwise."""
        outer = self._account
        self._switch(account)
        try:
            yield
        finally:
            self._switch(outer)

    @property
    def seconds(self) -> dict[str, float]:
        """By account, up to now."""
        self._switch(self._account)
        return {account: round(seconds, 3) for account, seconds in self._seconds.items()}

    def _switch(self, account: str) -> None:
        now = self._elapsed()
        self._seconds[self._account] = self._seconds.get(self._account, 0.0) + now - self._since
        self._account, self._since = account, now
