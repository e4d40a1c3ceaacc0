"""Goes on with a run: finds what its request named, settles its budget, and hands over to the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autotl.config import FRAME
from autotl.errors import RunError
from autotl.events import Listener
from autotl.predictor.bundle import BUNDLE_FILE, BUNDLE_FOLDER
from autotl.runs.folder import (
    CHECKPOINTS_FOLDER,
    EVENTS_FILE,
    LOG_FILE,
    RUN_LOG_FILE,
    STUDY_FILE,
    TEACHER_FOLDER,
    TRIALS_FOLDER,
    TWINS_FOLDER,
)
from autotl.runs.run_file import read_run_file
from autotl.search.engine import Outcome, Search
from autotl.untrusted import refuse_links

#: What a search adds to, and removes things from.
_WRITTEN = (
    EVENTS_FILE, LOG_FILE, RUN_LOG_FILE, STUDY_FILE, BUNDLE_FOLDER, CHECKPOINTS_FOLDER, TEACHER_FOLDER, TRIALS_FOLDER,
    TWINS_FOLDER,
)  # fmt: skip


def resume(
    folder: Path,
    *,
    budget_seconds: float | None = None,
    more_seconds: float = 0.0,
    more_trials: int = 0,
    moved: Mapping[str, Any] | None = None,
    listeners: Sequence[Listener] = (),
    start: float | None = None,
) -> Outcome:
    """Continues a run: with what is left of its budget, a new total, or so much more.

    moved: where the files of its request are by now, by the names of its fields.
    Raises `RunError` when there is no run, or no budget left.
    """
    known = read_run_file(folder)
    _refuse_links(folder)
    if known.request.data == FRAME:
        raise RunError(f"{folder} was made from a DataFrame, which is gone; save it as a file and search that")
    request = known.request.model_copy(update=moved or {})
    if request.test == FRAME:
        raise RunError(
            f"{folder} was tested on a DataFrame, which is gone; save it: autotl resume {folder} --test PATH"
        )
    paths = {
        "data": request.data,
        "test": request.test,
        "costs": request.costs,
        "set-aside": request.set_aside,
        "teacher": request.teacher,
    }
    for name, path in paths.items():
        if path is not None and not Path(path).exists():
            raise RunError(
                f"{path} is not there any more; say where it is by now: autotl resume {folder} --{name} PATH"
            )
    if more_seconds:
        total: float | None = known.seconds + more_seconds
    else:
        total = budget_seconds or known.request.budget_seconds
    killed = known.state == "running" and total == known.request.budget_seconds
    ends_yet = killed and (folder / BUNDLE_FOLDER / BUNDLE_FILE).is_file()
    if total is not None and total - known.seconds < 5 and not ends_yet:
        raise RunError(f"{folder}: its budget of {total:.0f} s is spent; add some, such as --budget +10m")
    counted = known.request.trials
    if more_trials and counted is None:
        raise RunError(f"{folder} has a budget of time and counts no trials; add time, such as --budget +10m")
    # time that is added to a run of so many trials is there to be used, but for trials that are added too
    longer = more_seconds or (budget_seconds or 0.0) > (known.request.budget_seconds or 0.0)
    trials = None if counted is None or (longer and not more_trials) else counted + more_trials
    request = request.model_copy(update={"budget_seconds": total, "trials": trials})
    return Search(request, folder, listeners=listeners, start=start, resumed=known).run()


def _refuse_links(folder: Path) -> None:
    """Raises `RunError` for one in a run, which may come from anywhere: what it leads to would be written over."""
    for name in _WRITTEN:
        try:
            refuse_links(folder / name)
        except FileNotFoundError:  # there is none yet; or another search works here, which its lock will tell
            continue
        except (OSError, ValueError) as error:
            raise RunError(f"{folder / name}: {error}; put what it leads to in its place") from error
