"""What every opponent has: its clock, and its rows. Standard library only, as some live in an environment apart."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path


class Race:
    """Seconds since the process was started, and who leads."""

    def __init__(self, seconds: float, start: float) -> None:
        """start: on the monotonic clock, which all processes of a machine share."""
        self._start = start
        self._seconds = seconds
        self._best = -1.0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        return self._seconds - self.elapsed

    def finished(self, validation: float, test: Callable[[], float]) -> None:
        """There is a model; when it is the best so far its accuracy on the test rows is told, which is not charged."""
        at = self.elapsed
        if validation > self._best:
            self._best = validation
            accuracy = test()
            print(json.dumps({"seconds": round(at, 2), "accuracy": accuracy}), flush=True)
            self._start += self.elapsed - at

    def over(self) -> None:
        """Nothing more will come."""
        print(json.dumps({"over": round(self.elapsed, 2)}), flush=True)


def read(path: Path) -> tuple[list[str], list[str]]:
    """Cells and labels; images as absolute paths."""
    with path.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    column, target = list(records[0])[:2]
    cells = [str(path.parent / r[column]) if column == "image" else r[column] for r in records]
    return cells, [r[target] for r in records]
