"""What lies in the folder of a run, by name, and how a new one begins.

The answer's folder is named by `autotl.predictor.bundle`, the list of rows set aside by `autotl.data.set_aside`.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from autotl.config import FRAME
from autotl.data.cells import in_whole_characters
from autotl.data.paths import absolute, expanded
from autotl.errors import RunError
from autotl.files import to_be

RUN_FILE = "run.json"  #: what was asked and found
EVENTS_FILE = "events.jsonl"
RUN_LOG_FILE = "trials.jsonl"  #: made to be shared
LOG_FILE = "worker.log"
SPLIT_FILE = "split.json"
PORTFOLIO_FILE = "portfolio.json"  #: what past runs say to try first
LEADERBOARD_FILE = "leaderboard.csv"
REPORT_FILE = "report.html"
LOCK_FILE, HOLDER_FILE = ".lock", ".lock.json"
TRIALS_FOLDER = "trials"  #: models, a folder each
CHECKPOINTS_FOLDER = "paused"
TEACHER_FOLDER = "teacher"  #: the bundle that strategies learn from
TWINS_FOLDER = "twins"  #: what models of other parts of the table said
STUDY_FILE = "study.journal"  #: Optuna's

#: File names that say nothing about what is in them; the folder's name does then.
_COLOURLESS = {"train", "training", "data", "dataset", "table", "labels", "all", "index", "metadata"}


def run_folder(data: str, out: str | Path | None) -> Path:
    """The folder of a new run: `out`, or ``runs/NAME`` with the name of the data. Raises `RunError` for no text."""
    if out is not None:
        if str(out) != in_whole_characters(str(out)):
            raise RunError(f"{out}: the name is not UTF-8. Name another folder with --out")
        return expanded(out)
    path = absolute(data)
    name = path.name if path.is_dir() else path.stem
    if data == FRAME:  # all frames have one name
        names = itertools.chain([FRAME], (f"{FRAME}-{number}" for number in itertools.count(2)))
        return next(folder for name in names if not (folder := Path("runs") / name).exists())
    if name.lower() in _COLOURLESS and (parent := path.parent.name):
        name = parent
    return Path("runs") / (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run")


#: All that a search has written before it knows what it is about; with nothing else, a folder holds no run to lose.
_BEGINNING = {TRIALS_FOLDER, EVENTS_FILE, PORTFOLIO_FILE, LOG_FILE, LOCK_FILE, HOLDER_FILE}


#: What it may have been about to write when it was killed.
_HALF_WRITTEN = {RUN_FILE, HOLDER_FILE, PORTFOLIO_FILE}


def create_run_folder(folder: Path) -> None:
    """Makes a new run folder. Raises `RunError` when it exists with something in it, or cannot be written."""
    try:
        if folder.exists() and not _holds_at_most_a_beginning(folder):
            raise RunError(
                f"{folder} exists already. Continue it with 'autotl resume {folder}', or name another with --out"
            )
        (folder / TRIALS_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error.strerror}). Name another folder with --out") from error


def _holds_at_most_a_beginning(folder: Path) -> bool:
    """Whether it is a folder with nothing to lose in it; another program may call one ``trials`` too."""
    names = {path.name for path in folder.iterdir() if to_be(path) not in _HALF_WRITTEN} if folder.is_dir() else set()
    if not folder.is_dir() or names - _BEGINNING or (PORTFOLIO_FILE in names and EVENTS_FILE not in names):
        return False  # a portfolio by itself is a person's
    trials = folder / TRIALS_FOLDER
    return not trials.exists() or (trials.is_dir() and not any(trials.iterdir()))
