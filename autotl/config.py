"""What a person asks of a search, and where things live on this machine."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from autotl.data.inspection import SKIP_LIMIT
from autotl.data.roles import Overrides
from autotl.errors import BudgetError, RunError

#: Five minutes on two cores buy one good fine-tuning of a small backbone on some thousand rows.
DEFAULT_BUDGET = "5m"

#: What Python with torch takes before it has done anything.
LEAST_SIZE = 200 * 10**6

#: File names that say nothing about what is in them; the folder's name does then.
_COLOURLESS = {"train", "training", "data", "dataset", "table", "labels", "all", "index", "metadata"}


class SearchRequest(BaseModel):
    """Everything that decides a search, as it stands in ``run.json``."""

    model_config = ConfigDict(frozen=True)

    data: str  #: path of the table, or "DataFrame"
    test: str | None = None
    target: str | None = None
    image: str | None = None
    text: str | None = None
    group: str | None = None
    metric: str | None = None
    set_aside: str | None = None  #: path of the list of rows to leave out, in place of the audit's own
    models: tuple[str, ...] = ()
    budget_seconds: float | None = None  #: None: as many trials as asked for, however long
    trials: int | None = None
    offline: bool = False
    skip_limit: float = SKIP_LIMIT
    max_memory: int | None = None  #: bytes that training may take; None: a share of what is free
    seed: int = 0

    @property
    def overrides(self) -> Overrides:
        return Overrides(target=self.target, image=self.image, text=self.text, group=self.group)


def parse_trials(trials: int | None) -> int | None:
    """Raises `BudgetError` for a number of trials that makes no search."""
    if trials is not None and not 1 <= trials <= 100_000:
        raise BudgetError(f"{trials} trials: give a number from 1 to 100000")
    return trials


def parse_seed(seed: int) -> int:
    """Raises `BudgetError` for a seed that not every generator takes."""
    if not 0 <= seed < 2**31:
        raise BudgetError(f"seed {seed}: give a number from 0 to {2**31 - 1}")
    return seed


def parse_size(text: str) -> int:
    """Bytes from ``6GB``, ``512MB`` or ``1.5GiB``. Raises `BudgetError` for anything else, and for next to nothing."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?\s*", text, re.IGNORECASE)
    size = 0
    if match:
        base = 1024 if match[3] else 1000
        size = int(float(match[1]) * base ** (1 + "KMGT".index(match[2].upper())))
    if size < LEAST_SIZE:
        raise BudgetError(f"{text!r} is no size to work with: write 6GB, 512MB or 1.5GiB, at least 200MB")
    return size


def run_folder(data: str, out: str | Path | None) -> Path:
    """The folder of a new run: `out`, or ``runs/NAME`` with the name of the data."""
    if out is not None:
        return Path(out).expanduser()
    path = Path(data).expanduser()
    name = path.name if path.is_dir() else path.stem
    if name.lower() in _COLOURLESS and (parent := path.resolve().parent.name):
        name = parent
    return Path("runs") / (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run")


def create_run_folder(folder: Path) -> None:
    """Makes a new run folder. Raises `RunError` when it exists with something in it, or cannot be written."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(
                f"{folder} exists already. Continue it with 'autotl resume {folder}', or name another with --out"
            )
        (folder / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error.strerror}). Name another folder with --out") from error


def cache_folder() -> Path:
    """Where AutoTL keeps what later runs can use: ``AUTOTL_CACHE``, or the system's cache folder."""
    if given := os.environ.get("AUTOTL_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "autotl"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "autotl"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "autotl"
