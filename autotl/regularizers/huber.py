"""Huber's loss for numbers: an error beyond a bound pulls no harder than the bound (Huber 1964)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Regularizer, StrategyContext
from autotl.training.effect import Effect

if TYPE_CHECKING:
    import torch

    from autotl.plugins.contracts import State


class Huber(Regularizer):
    """Its strength is one over the bound, in deviations of the target: at 1 what is off by more counts less.

    What few rows are far off, by a slip of the pen or by their nature, otherwise decides the most.
    """

    name = "huber"

    def strengths(self, context: StrategyContext) -> Choice | None:
        return Choice(self.name, (0.0, 0.5, 1.0), (4, 1, 1)) if context.squared else None

    def effect(self, strength: float) -> Effect:
        return _Bounded(1 / strength)


class _Bounded(Effect):
    def __init__(self, bound: float) -> None:
        self._bound = bound

    def batch(self, state: State, targets: torch.Tensor, generator: torch.Generator) -> tuple[State, torch.Tensor]:
        self._targets = targets
        return state, targets

    def logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Where its squared error is Huber's loss of what was answered."""
        import torch

        off, bound = logits - self._targets, self._bound
        # clamped, since a root below zero has no gradient even where it is not taken
        far = (2 * bound * off.abs() - bound**2).clamp(min=bound**2).sqrt()
        return self._targets + torch.where(off.abs() <= bound, off, off.sign() * far)
