"""Logit adjustment: frequent classes are handicapped while training, so that rare ones count (Menon et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Regularizer, StrategyContext
from autotl.training.effect import Effect

if TYPE_CHECKING:
    import torch

    from autotl.training.model import Classifier
    from autotl.training.trial import Trial

#: From the largest class being so many times the smallest on.
IMBALANCED = 5.0

#: Metrics to which every class counts alike.
BALANCED = ("balanced_accuracy", "macro_f1")


class LogitAdjustment(Regularizer):
    """Its strength is tau: 1 is what balanced accuracy wants, 0 what accuracy does."""

    name = "logit_adjustment"

    def strengths(self, context: StrategyContext) -> Choice | None:
        if max(context.class_rows) <= IMBALANCED * max(min(context.class_rows), 1):
            return None
        balanced = context.metric in BALANCED
        return Choice(self.name, (0.0, 0.5, 1.0), (1, 1, 3) if balanced else (3, 1, 1))

    def usual(self, context: StrategyContext) -> float:
        return 1.0 if context.metric in BALANCED else 0.0

    def effect(self, strength: float) -> Effect:
        return _Adjusted(strength)


class _Adjusted(Effect):
    def __init__(self, tau: float) -> None:
        self._tau = tau
        self._shift: torch.Tensor | None = None

    def begin(self, model: Classifier, trial: Trial) -> None:
        import numpy as np
        import torch

        rows = np.bincount(trial.labels[trial.train], minlength=trial.classes)
        shares = torch.from_numpy(np.maximum(rows, 1) / len(trial.train))
        self._shift = self._tau * shares.log().float().to(trial.device)

    def logits(self, logits: torch.Tensor) -> torch.Tensor:
        return logits + self._shift
