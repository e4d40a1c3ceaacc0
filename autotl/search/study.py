"""The Optuna study of a run: its storage, sampler and pruner, with every flag and its reason."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from autotl.search.space import TrialConfig

STUDY_FILE = "study.journal"
_NAME = "autotl"


def open_study(folder: Path, *, seed: int) -> optuna.Study:
    """The run's study, new or continued.

    A journal file needs no database and survives a kill between any two lines. The study's seed is moved on by the
    number of trials that exist, so that a resumed search does not draw the same configurations again.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
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
        # one worker: no running trial to stay away from
        constant_liar=False,
        n_ei_candidates=24,
    )
    study.pruner = optuna.pruners.SuccessiveHalvingPruner(
        # rungs are permille of a trial's own length, so that slow backbones are not ranked below fast ones
        min_resource=111,
        # a third goes on at 111 and at 333
        reduction_factor=3,
        min_early_stopping_rate=0,
        bootstrap_count=0,
    )
    return study


def book_interrupted(study: optuna.Study, cut: Collection[int]) -> list[TrialConfig]:
    """Fails the trials that a kill left running; returns their configurations so that they can run again.

    cut: numbers of trials that an end by time or Ctrl-C cut; they run again too, unless they have since.
    """
    interrupted = []
    done = [trial.params for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))]
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.FAIL)):
        if frozen.state == TrialState.RUNNING:
            study.tell(frozen.number, state=TrialState.FAIL)
        elif frozen.number not in cut or frozen.params in done:
            continue
        params = dict(frozen.params)
        strategy = params.pop("strategy", None)
        if "backbone" in params and strategy:
            strategy = frozen.user_attrs.get("strategy", strategy)  # what ran, where another did not apply
            interrupted.append(TrialConfig(params.pop("backbone"), strategy, params))
    return interrupted
