"""Where the trainings of a run keep the states that they can be continued from."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

CHECKPOINTS_FOLDER = "paused"


class Checkpoints:
    """A file a trial that is not at its end, and a late one a trial that may be refitted."""

    def __init__(self, folder: Path) -> None:
        """folder: of the run."""
        self._folder = folder / CHECKPOINTS_FOLDER

    def of(self, trial: int) -> Path:
        """From which a trial goes on."""
        return self._folder / f"{trial:04d}.safetensors"

    def late(self, trial: int) -> Path:
        """From which its last third can be repeated."""
        return self._folder / f"{trial:04d}-late.safetensors"

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
