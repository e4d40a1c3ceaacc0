"""Strategies with faults: one leaves a setting unread, one raises, one would freeze more than there is."""

from __future__ import annotations

import autotl
from autotl.plugins.contracts import Progress, Real, Strategy, Work


class Forgetful(Strategy):
    name = "forgetful"

    def parameters(self, context):
        return [Real("depth", 0.0, 1.0), Real("zeal", 0.0, 1.0)]

    def portfolio(self, context):
        return [{"depth": 0.5, "zeal": 0.5}]

    def work(self, context, settings):
        return Work(0.0)

    def fit(self, trial):
        from autotl.training.model import Classifier

        trial.settings.number("depth")
        trial.model = Classifier(trial.frozen.backbone, trial.probes.penalty_and_head(trial.frozen)[1])
        yield Progress(1000)


class Clumsy(Forgetful):
    name = "clumsy"

    def parameters(self, context):
        return [Real("depth", 0.0, 1.0)]

    def portfolio(self, context):
        return [{"depth": 0.5}]

    def fit(self, trial):
        trial.settings.number("depth")
        raise ZeroDivisionError("dropped the vase")
        yield Progress(1000)


class Boundless(Clumsy):
    name = "boundless"

    def work(self, context, settings):
        return Work(1.0, frozen_fraction=9.0)


@autotl.hookimpl
def autotl_strategies(context):
    return [Clumsy(), Forgetful(), Boundless()]
