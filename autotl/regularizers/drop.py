"""Stochastic depth (Huang et al. 2016) in networks of residual blocks, dropout in others and in text encoders."""

from __future__ import annotations

from autotl.plugins.contracts import Choice, Regularizer, StrategyContext
from autotl.training.effect import Effect


class Drop(Regularizer):
    """Its strength is the rate at which blocks, or activations, are left out; which ones, the family knows."""

    name = "drop"

    def strengths(self, context: StrategyContext) -> Choice | None:
        return Choice(self.name, (0.0, 0.1, 0.2), (4, 2, 1))

    def effect(self, strength: float) -> Effect:
        return Dropping(strength)


class Dropping(Effect):
    """Has the backbone loaded with this rate."""

    def __init__(self, rate: float) -> None:
        self.drop = rate
