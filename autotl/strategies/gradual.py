"""Stages thaw one part after the other, from the top (gradual unfreezing, Howard and Ruder 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Parameter, Progress, Strategy, StrategyContext, Value, Work
from autotl.strategies import tuning

if TYPE_CHECKING:
    from autotl.training.trial import Trial

#: Progress, and the share of the stages that is frozen from there on. The upper part is trained alone for about as long
#: as a rate warms up, and all stages for more than half of the time.
THAWS = ((0.0, 0.75), (0.15, 0.5), (0.4, 0.0))


class Gradual(Strategy):
    """AdamW on ever more stages, from the linear probe's head. Early steps are cheap, as what is frozen is stored."""

    name = "gradual"
    regularized = True
    weight = 0.2

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        return [] if context.stages == 1 else tuning.parameters(context)

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        return [tuning.usual(context)]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return tuning.work(context, settings)  # most of its time goes into the steps in which nothing is frozen

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.features.boundary import stage_at
        from autotl.training.loop import train
        from autotl.training.model import Classifier

        backbone = trial.load_backbone()
        trial.model = Classifier(backbone, trial.starting_head()).to(trial.device)
        (_, first), *later = ((when, stage_at(share, backbone)) for when, share in THAWS)
        yield from train(trial.model, trial, replace(tuning.plan(trial), frozen_stages=first, thaws=tuple(later)))
