"""A trial is fitted: its strategy, with the regularizers that its settings turn on."""

from __future__ import annotations

from collections.abc import Iterator

from autotl.plugins.contracts import Progress
from autotl.plugins.manager import plugins
from autotl.training.trial import Trial


def fit(trial: Trial, strategy: str) -> Iterator[Progress]:
    """What the strategy yields. Raises `PluginError` when no plugin brings it, and whatever it raises."""
    chosen = plugins().strategy(strategy)
    if chosen.regularized:
        known = [regularizer for regularizer in plugins().regularizers if regularizer.name in trial.settings]
        strengths = {regularizer.name: trial.settings.number(regularizer.name) for regularizer in known}
        at_work = [regularizer for regularizer in known if strengths[regularizer.name]]
        trial.effects = [regularizer.effect(strengths[regularizer.name]) for regularizer in at_work]
        trial.slowed_by = [regularizer.name for regularizer in at_work if regularizer.step_cost != 1.0]
    return chosen.fit(trial)
