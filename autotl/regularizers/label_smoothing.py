"""Label smoothing: a little of every class in what is learned (Szegedy et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Regularizer, StrategyContext
from autotl.training.effect import Effect

if TYPE_CHECKING:
    import torch

    from autotl.plugins.contracts import State

#: The smaller of the two usual values: short trainings are not confident for long.
USUAL = 0.05


class LabelSmoothing(Regularizer):
    """Its strength is the share of the targets that is spread evenly; for three classes or more."""

    name = "label_smoothing"

    def strengths(self, context: StrategyContext) -> Choice | None:
        return Choice(self.name, (0.0, USUAL, 0.1), (1, 3, 1)) if context.classes > 2 else None

    def usual(self, context: StrategyContext) -> float:
        return USUAL

    def effect(self, strength: float) -> Effect:
        return _Smoothed(strength)


class _Smoothed(Effect):
    def __init__(self, share: float) -> None:
        self._share = share

    def batch(self, state: State, targets: torch.Tensor, generator: torch.Generator) -> tuple[State, torch.Tensor]:
        return state, targets * (1 - self._share) + self._share / targets.shape[1]
