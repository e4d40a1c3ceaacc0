"""Logit adjustment: frequent classes are handicapped while training, so that rare ones count (Menon et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Regularizer, StrategyContext
from autotl.training.effect import Effect

if TYPE_CHECKING:
    import torch

    from autotl.training.model import Classifier
    from autotl.training.trial import Trial


class LogitAdjustment(Regularizer):
    """Its strength is tau, how much of their advantage frequent classes lose, as `BALANCE` has it for metrics."""

    name = "logit_adjustment"

    def strengths(self, context: StrategyContext) -> Choice | None:
        from autotl.data.labels import is_imbalanced

        usual, strengths = self.usual(context), (0.0, 0.5, 1.0)
        # heads are balanced wherever the metric wants it, and trainings begin at these
        wanted = usual > 0 and len(set(context.class_rows)) > 1
        if not (wanted or (context.class_rows and is_imbalanced(context.class_rows))):
            return None
        likely = 3.0 if usual else 6.0  # where the metric asks for none, as most regularizers are left out
        return Choice(self.name, strengths, tuple(likely if strength == usual else 1.0 for strength in strengths))

    def usual(self, context: StrategyContext) -> float:
        from autotl.kinds.classes import BALANCE

        return 0.0 if context.costs else BALANCE.get(context.metric, 0.0)

    def effect(self, strength: float) -> Effect:
        return _Adjusted(strength)


class _Adjusted(Effect):
    def __init__(self, tau: float) -> None:
        self._tau = tau

    def begin(self, model: Classifier, trial: Trial) -> None:
        import torch

        from autotl.features.heads import log_shares

        shift = self._tau * log_shares(trial.targets[trial.train], trial.outputs, trial.weights_of(trial.train))
        self._shift = torch.from_numpy(shift).to(trial.device)
        with torch.no_grad():
            model.head.bias.sub_(self._shift)  # what the head was fitted to is what the loss sees at first

    def logits(self, logits: torch.Tensor) -> torch.Tensor:
        return logits + self._shift
