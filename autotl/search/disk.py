"""What makes way when the disk is full: the cache first, then what the run can do without, and never the bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from autotl.config import cache_folder
from autotl.errors import RunError
from autotl.features.store import clear_store, on_one_disk
from autotl.files import is_disk_full, making_room
from autotl.predictor.bundle import BUNDLE_FILE, BUNDLE_FOLDER

Written = TypeVar("Written")


class Disk:
    """The disk that a run's folder is on, as the engine writes to it."""

    def __init__(self, folder: Path) -> None:
        """folder: of the run."""
        self._folder = folder
        self._givers: list[Callable[[], object]] = []

    def _clear_cache(self) -> None:
        if on_one_disk(cache_folder(), self._folder):
            clear_store(cache_folder())

    def gives_way(self, giver: Callable[[], object]) -> None:
        """giver: removes what the run can do without, after the cache and what was named before."""
        self._givers.append(giver)

    def give_way(self) -> None:
        """Removes all that the run can do without, for the worker, whose cache has made way already."""
        for giver in self._givers:
            giver()

    def keep(self, write: Callable[[], Written]) -> Written:
        """Has something written. Raises `RunError` where there is no room, whatever makes way."""
        try:
            return making_room(write, [self._clear_cache, *self._givers])
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise RunError(f"{self._folder} has no room ({error.strerror}). {self._way_out}") from error

    @property
    def _way_out(self) -> str:
        if (self._folder / BUNDLE_FOLDER / BUNDLE_FILE).exists():
            return (
                f"The best model so far is whole in {self._folder / BUNDLE_FOLDER}. Free some space, and go on with "
                f"'autotl resume {self._folder}'"
            )
        return "Free some space, or name a folder on another disk with --out"
