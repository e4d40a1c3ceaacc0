"""The Optuna study of a run: its storage and sampler, with every flag and its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from autotl.errors import RunError
from autotl.files import drop_torn_end
from autotl.runs.folder import STUDY_FILE
from autotl.search.disk import Disk

_NAME = "autotl"


class _Journal(JournalFileBackend):
    """A journal that holds whole lines only: Optuna refuses one where anything stands behind a torn line."""

    def __init__(self, path: Path, disk: Disk) -> None:
        # whose default lock is a symbolic link, which not every disk can hold
        super().__init__(str(path), lock_obj=JournalFileOpenLock(str(path)))
        self._path, self._disk = path, disk
        drop_torn_end(path)  # as a kill leaves it

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._disk.keep(lambda: self._append(logs))

    def _append(self, logs: list[dict[str, Any]]) -> None:
        size = self._path.stat().st_size
        try:
            super().append_logs(logs)
        except OSError:
            os.truncate(self._path, size)
            raise


def open_study(folder: Path, disk: Disk, *, seed: int) -> optuna.Study:
    """The run's study, new or continued.

    A journal file needs no database and survives a kill between any two lines. The study's seed is moved on by the
    number of trials that exist, so that a resumed search does not draw the same configurations again.
    Raises `RunError` for a journal that cannot be read.
    """
    journal = folder / STUDY_FILE
    # nobody else writes here (`lock`), and what a kill left of Optuna's own lock would be waited for
    journal.with_name(f"{STUDY_FILE}.lock").unlink(missing_ok=True)
    try:
        storage = JournalStorage(_Journal(journal, disk))
        study = optuna.create_study(study_name=_NAME, storage=storage, direction="maximize", load_if_exists=True)
    except (OSError, RunError):
        raise
    except Exception as error:  # whatever Optuna stumbles over, it means this
        raise RunError(f"{journal} cannot be read ({type(error).__name__}); search again with another --out") from error
    study.sampler = optuna.samplers.TPESampler(
        seed=seed + len(study.trials),
        # the portfolio already gives TPE something to stand on; the default of 10 is a whole budget here
        n_startup_trials=6,
        # a strategy's own parameters are conditional; independent estimates did best late in our simulations of
        # such spaces, and Optuna 5's new default of True falls back to them for conditional parameters anyway
        multivariate=False,
        group=False,
        # one worker: trials that are paused are not to be stayed away from
        constant_liar=False,
    )
    return study


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna tells of every trial, as the search does in its own way. The process may be one that uses Optuna too."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def read_study(folder: Path) -> optuna.Study | None:
    """The run's study to be looked at, also while a search is at work in it; None where there is none yet."""
    if not (folder / STUDY_FILE).is_file():
        return None
    storage = JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
    known = [summary.study_name for summary in storage.get_all_studies()]
    return optuna.load_study(study_name=_NAME, storage=storage) if _NAME in known else None


def unfinished(study: optuna.Study) -> list[tuple[FrozenTrial, optuna.Trial]]:
    """Trials that an earlier process began and did not end, as they are known and as they can be gone on with."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [(frozen, optuna.Trial(study, frozen._trial_id)) for frozen in running]
