"""What failed in a row, and what is not tried again because of it."""

from __future__ import annotations

from collections import Counter

from autotl.errors import FailureKind, TrialError
from autotl.events import EventLog
from autotl.failures import REMEDIES
from autotl.search.space import Space, TrialConfig

#: A strategy that failed so often in the same way on a backbone, and never worked in between, is not tried on it again:
#: once may be the machine's fault.
REPEATS = 2

#: So many failures of one kind in a row are told, and what they have in common is not tried again.
IN_A_ROW = 3

#: So many of them, and nothing else will go well.
HOPELESS = 6


class Failures:
    """Keeps count, and takes out of the space what does not work here."""

    def __init__(self, space: Space, events: EventLog) -> None:
        self._space, self._events = space, events
        self._row: list[tuple[FailureKind, TrialConfig]] = []
        self._repeats: Counter[tuple[FailureKind, str, str]] = Counter()

    def success(self, config: TrialConfig) -> None:
        """Something worked."""
        self._row.clear()
        for known in list(self._repeats):
            if known[1:] == (config.backbone, config.strategy):
                del self._repeats[known]

    def failure(self, config: TrialConfig, error: TrialError) -> None:
        """A trial of this configuration failed."""
        kind, strategy, backbone = error.kind, config.strategy, config.backbone
        self._row.append((kind, config))
        self._repeats[kind, backbone, strategy] += 1
        if kind == "time" and self._count(kind, strategy) >= REPEATS:  # each costs many times what a trial does
            self._leave_out(strategy=strategy)
        elif self._repeats[kind, backbone, strategy] >= REPEATS:
            self._leave_out(strategy=strategy, backbone=backbone)
        alike = [known for _, known in self._row[-IN_A_ROW:]]
        if self._in_a_row == IN_A_ROW:
            self._note(f"{IN_A_ROW} trials in a row failed of {kind} ({error}): {REMEDIES[kind]}")
            if len({known.strategy for known in alike}) == 1:
                self._leave_out(strategy=strategy)
            elif len({known.backbone for known in alike}) == 1:
                self._leave_out(backbone=backbone)
        if self._in_a_row == HOPELESS:
            self._note("no more trials: all that is left to try has failed alike")

    @property
    def hopeless(self) -> bool:
        """Whether it looks as if everything would fail."""
        return self._in_a_row >= HOPELESS

    @property
    def _in_a_row(self) -> int:
        """How many of the last failures, with nothing that worked in between, are of one kind."""
        count = 0
        for kind, _ in reversed(self._row):
            if kind != self._row[-1][0]:
                break
            count += 1
        return count

    def _count(self, kind: FailureKind, strategy: str) -> int:
        return sum(count for known, count in self._repeats.items() if (known[0], known[2]) == (kind, strategy))

    def _leave_out(self, *, strategy: str | None = None, backbone: str | None = None) -> None:
        if self._space.leave_out(strategy=strategy, backbone=backbone):
            what = " on ".join(name for name in (strategy, backbone) if name)
            self._note(f"{what} is not tried again: it keeps failing")

    def _note(self, text: str) -> None:
        self._events.emit("note", text=text)
