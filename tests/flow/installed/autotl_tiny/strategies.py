"""Strategies that break their contract, each in one way."""

from __future__ import annotations

import os

from autotl.plugins.contracts import Progress, Real


class Crashes:
    """Raises when it fits; kills its whole process where the zoo says so."""

    name = "crashes"

    def parameters(self, context):
        return [Real("penalty_multiplier", 0.1, 10.0, log=True)]

    def portfolio(self, context):
        return [{"penalty_multiplier": 1.0}]

    def cost(self, context, settings):
        return 0.0

    def fit(self, trial):
        trial.settings.number("penalty_multiplier")
        if "killer" in trial.frozen.candidate.name:
            os.kill(os.getpid(), 9)
        raise ValueError("the strategy crashed")
        yield


class ForgetsSetting:
    """States a parameter that has no effect."""

    name = "forgets"

    def parameters(self, context):
        return [Real("forgotten", 0.0, 1.0)]

    def portfolio(self, context):
        return [{"forgotten": 0.5}]

    def cost(self, context, settings):
        return 0.0

    def fit(self, trial):
        from autotl.training.model import Classifier

        _, head = trial.probes.penalty_and_head(trial.frozen)
        trial.model = Classifier(trial.frozen.backbone, head)
        yield Progress(1000)
