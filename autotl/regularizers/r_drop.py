"""R-Drop: two answers to the same rows, under different dropout, should be right and agree (Liang et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Regularizer, StrategyContext
from autotl.regularizers.drop import Dropping

if TYPE_CHECKING:
    import numpy as np
    import torch

    from autotl.plugins.contracts import State
    from autotl.training.model import Classifier
    from autotl.training.trial import Trial

#: The dropout of its paper's text classification; without any, both answers would be the same.
RATE = 0.1


class RDrop(Regularizer):
    """Its strength is the weight of the divergence, 1 to 5 in the paper.

    For families that do not augment: a step takes twice as long, and augmented rows differ as it is.
    """

    name = "r_drop"
    step_cost = 2.0

    def strengths(self, context: StrategyContext) -> Choice | None:
        if context.augments or not context.classes:  # its divergence is one of distributions over classes
            return None
        return Choice(self.name, (0.0, 1.0, 4.0), (6, 1, 1))

    def effect(self, strength: float) -> Dropping:
        return _Agreeing(strength)


class _Agreeing(Dropping):
    def __init__(self, weight: float) -> None:
        super().__init__(RATE)
        self._weight = weight

    def begin(self, model: Classifier, trial: Trial) -> None:
        self._trial = trial

    def rows(self, indices: np.ndarray) -> None:
        self._rows = indices

    def batch(self, state: State, targets: torch.Tensor, generator: torch.Generator) -> tuple[State, torch.Tensor]:
        self._targets = targets
        return state, targets

    def loss(self, logits: torch.Tensor, again: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The divergence, and what makes the loss of the labels that of both answers in place of the first's."""
        import torch

        rules, weights = self._trial.task.rules, self._trial.weights_of(self._rows)
        counting = None if weights is None else torch.from_numpy(weights).to(logits.device)
        second = again()
        first_lost, lost = (rules.loss(answer, self._targets, counting) for answer in (logits, second))
        one, other = logits.log_softmax(1), second.log_softmax(1)
        there = torch.nn.functional.kl_div(one, other, log_target=True, reduction="batchmean")
        back = torch.nn.functional.kl_div(other, one, log_target=True, reduction="batchmean")
        return (lost - first_lost + self._weight * (there + back)) / 2
