"""Only the lower stages are trained: where inputs look different but mean the same (Lee et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Parameter, Progress, Strategy, StrategyContext, Value, Work
from autotl.strategies import tuning

if TYPE_CHECKING:
    import torch

    from autotl.training.trial import Trial


class Surgical(Strategy):
    """AdamW on the first part of the stages and on the head, which starts from the linear probe."""

    name = "surgical"
    regularized = True
    weight = 0.2

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        if context.stages == 1:
            return []
        return [Choice("trained_fraction", (0.25, 0.5)), *tuning.parameters(context)]

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        return [tuning.usual(context) | {"trained_fraction": 0.25}]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return tuning.work(context, settings, method=f"{self.name} {settings['trained_fraction']:g}")

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.features.boundary import stage_at
        from autotl.training.loop import train
        from autotl.training.model import Classifier

        backbone, fraction = trial.load_backbone(), trial.settings.number("trained_fraction")
        above = max(stage_at(fraction, backbone), 1)

        def is_low(stage: int, name: str, parameter: torch.nn.Parameter) -> bool:
            return stage < above

        trial.model = Classifier(backbone, trial.starting_head()).to(trial.device)
        yield from train(
            trial.model, trial, replace(tuning.plan(trial), method=f"{self.name} {fraction:g}", trains=is_low)
        )
