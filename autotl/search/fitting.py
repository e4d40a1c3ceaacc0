"""A trial is fitted: its strategy, with the regularizers that its settings turn on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from autotl.plugins.contracts import Progress
from autotl.plugins.manager import plugins
from autotl.training.rungs import RUNGS
from autotl.training.trial import Trial


def fit(trial: Trial, strategy: str) -> Iterator[Progress]:
    """What the strategy yields at each of `RUNGS`, where trials are compared, or next after it.

    Raises `PluginError` when no plugin brings it, and whatever it raises.
    """
    chosen = plugins().strategy(strategy)
    if chosen.regularized:
        known = [regularizer for regularizer in plugins().regularizers if regularizer.name in trial.settings]
        strengths = {regularizer.name: trial.settings.number(regularizer.name) for regularizer in known}
        at_work = [regularizer for regularizer in known if strengths[regularizer.name]]
        trial.effects = [regularizer.effect(strengths[regularizer.name]) for regularizer in at_work]
        trial.slowed_by = [regularizer.name for regularizer in at_work if regularizer.step_cost != 1.0]
    ahead = list(RUNGS)
    for progress in chosen.fit(trial):
        passed = [rung for rung in ahead if rung <= progress.permille]
        if passed:
            del ahead[: len(passed)]
            yield replace(progress, permille=passed[-1])
