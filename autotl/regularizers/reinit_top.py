"""The last stages drawn anew: what pretraining left there may be of no use here (Zhang et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Regularizer, StrategyContext
from autotl.training.effect import Effect

if TYPE_CHECKING:
    from autotl.training.model import Classifier
    from autotl.training.trial import Trial

#: Its evidence is of text encoders on tables smaller than this.
MOST_ROWS = 5000


class ReinitTop(Regularizer):
    """Its strength is a number of stages, 1 or 2. Where a strategy trains them in part only, all stays as published:
    matrices and the norms behind them were made for each other.

    The lowest stage stays in any case: all of a network drawn anew is no fine-tuning, and one of a single stage is left
    as it is. The head begins at zero then, as it was fitted to what is gone.
    """

    name = "reinit_top"

    def strengths(self, context: StrategyContext) -> Choice | None:
        if not context.pretrained or context.augments or context.rows >= MOST_ROWS:
            return None
        return Choice(self.name, (0.0, 1.0, 2.0), (8, 1, 1))

    def effect(self, strength: float) -> Effect:
        return _DrawnAnew(int(strength))


class _DrawnAnew(Effect):
    def __init__(self, stages: int) -> None:
        self._stages = stages

    def begin(self, model: Classifier, trial: Trial) -> None:
        import torch

        lowest = max(len(model.backbone.stages) - self._stages, 1)
        torch.manual_seed(trial.seed)
        new = dict(trial.load_backbone(pretrained=False).stages[lowest:].named_parameters())
        ours = dict(model.backbone.stages[lowest:].named_parameters())
        if not ours or ours.keys() != new.keys() or not all(weight.requires_grad for weight in ours.values()):
            return
        with torch.no_grad():
            for name, weight in ours.items():
                weight.copy_(new[name])
            model.head.weight.zero_()
            model.head.bias.zero_()
