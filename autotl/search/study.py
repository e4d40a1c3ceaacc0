"""The Optuna study of a run: its storage and sampler, with every flag and its reason."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

STUDY_FILE = "study.journal"
_NAME = "autotl"


def open_study(folder: Path, *, seed: int) -> optuna.Study:
    """The run's study, new or continued.

    A journal file needs no database and survives a kill between any two lines. The study's seed is moved on by the
    number of trials that exist, so that a resumed search does not draw the same configurations again.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # nobody else writes here (`lock`), and what a kill left of Optuna's own lock would be waited for
    (folder / f"{STUDY_FILE}.lock").unlink(missing_ok=True)
    storage = JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
    study = optuna.create_study(study_name=_NAME, storage=storage, direction="maximize", load_if_exists=True)
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
        n_ei_candidates=24,
    )
    return study


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
