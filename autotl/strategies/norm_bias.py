"""Only norms and biases are trained: next to nothing to overfit with (BitFit, Ben Zaken et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Parameter, Progress, Strategy, StrategyContext, Value, Work
from autotl.strategies import tuning

if TYPE_CHECKING:
    import torch

    from autotl.training.trial import Trial

#: A thousandth of the weights has to go a longer way: BitFit's rates are 5 to 20 times those of full fine-tuning.
RATE = 10.0


class NormBias(Strategy):
    """AdamW on every parameter with one dimension, at all depths, from the linear probe's head.

    On a thousand rows it is as good as other ways to tune a few parameters, and makes other mistakes than full
    fine-tuning does, which a mixture is glad of (Mai et al. 2024).
    """

    name = "norm_bias"
    regularized = True
    weight = 0.3

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        return tuning.parameters(context)

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        return [tuning.usual(context)]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return tuning.work(context, settings, method=self.name)

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.training.loop import train
        from autotl.training.model import Classifier

        trial.model = Classifier(trial.load_backbone(), trial.starting_head()).to(trial.device)
        plan = replace(tuning.plan(trial, rate=RATE), weight_decay=0.0, method=self.name, trains=_is_norm_or_bias)
        yield from train(trial.model, trial, plan)


def _is_norm_or_bias(stage: int, name: str, parameter: torch.nn.Parameter) -> bool:
    return parameter.ndim == 1
