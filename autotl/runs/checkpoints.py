"""Where the trainings of a run keep the states that they can be continued from."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from pathlib import Path

from autotl.runs.folder import CHECKPOINTS_FOLDER
from autotl.untrusted import read_header, refuse_links


class Checkpoints:
    """A file a trial that is not at its end, and a late one a trial that may be refitted."""

    def __init__(self, folder: Path) -> None:
        """folder: of the run."""
        self._folder = folder / CHECKPOINTS_FOLDER

    def of(self, trial: int) -> Path:
        """From which a trial goes on."""
        return self._folder / f"{trial:04d}.safetensors"

    def reached(self, trial: int) -> list[float]:
        """How far a trial was when its checkpoint was written: which of its trainings, and its next step."""
        told = _told(self.of(trial))
        return [told.get("training", 0.0), told.get("step", 0.0)]

    def late(self, trial: int) -> Path:
        """From which its last third can be repeated."""
        return self._folder / f"{trial:04d}-late.safetensors"

    def seconds_after(self, file: Path) -> float:
        """From when another file was written last to the last checkpoint; 0 for none.

        As their times on disk say, which a copy may have changed, but no more than its training says it has taken.
        """
        since, found = _written(file), [0.0]
        for state in self._folder.glob("[0-9]*.safetensors"):
            found.append(min(_written(state) - since, _told(state).get("seconds", 0.0)))
        return max(found)

    def give_way(self, running: int | None, needed: Container[int]) -> None:
        """Removes all but that of the trial that is running and the late ones of trials that may be refitted.

        A paused trial that has none begins anew when its turn comes.
        """
        for file in self._folder.glob("[0-9]*.safetensors"):
            number = int(file.stem.partition("-")[0])
            if number not in needed if file.stem.endswith("-late") else number != running:
                file.unlink(missing_ok=True)

    def keep_late(self, trials: Container[int]) -> None:
        """Removes the late ones of all others."""
        for file in self._folder.glob("[0-9]*-late.safetensors"):
            if int(file.name.split("-")[0]) not in trials:
                file.unlink()


def _told(file: Path) -> Mapping[str, float]:
    """What a checkpoint says of its training; nothing where it is torn, or not there."""
    try:
        refuse_links(file)
        told = json.loads(read_header(file).metadata.get("progress", "{}"))
        return {name: float(told[name]) for name in ("training", "step", "seconds") if name in told}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _written(file: Path) -> float:
    """When, in seconds since 1970; 0 where it is not there."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
