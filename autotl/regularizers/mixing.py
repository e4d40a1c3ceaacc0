"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): rows of a batch mixed with each other, and their labels too.

With frozen stages it is their output that is mixed (Verma et al. 2019), so that stored states serve as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Regularizer, StrategyContext
from autotl.training.effect import Effect

if TYPE_CHECKING:
    import numpy as np
    import torch

    from autotl.plugins.contracts import State

#: Rows and passes below which mixing slows a training down more than it helps it (BiT mixes from 20 000 rows on; we
#: leave it to the search from a tenth of that).
FEWEST_ROWS, FEWEST_PASSES = 2000, 15.0

#: Share of the batches that are mixed at all; the others show rows as they will be met.
SHARE = 0.5


def _applies(context: StrategyContext) -> bool:
    return context.augments and context.rows >= FEWEST_ROWS and context.passes >= FEWEST_PASSES


class Mixup(Regularizer):
    """Its strength is the alpha of the Beta distribution that shares are drawn from."""

    name = "mixup"

    def strengths(self, context: StrategyContext) -> Choice | None:
        return Choice(self.name, (0.0, 0.1, 0.4), (6, 1, 1)) if _applies(context) else None

    def effect(self, strength: float) -> Effect:
        return _Mixed(strength)


class CutMix(Regularizer):
    """Its strength is the alpha of the Beta distribution that areas are drawn from.

    Not for several images a row: where they lie side by side in a state, a plane cannot be told from channels.
    """

    name = "cutmix"

    def strengths(self, context: StrategyContext) -> Choice | None:
        applies = _applies(context) and context.candidate.columns == 1
        return Choice(self.name, (0.0, 1.0), (6, 2)) if applies else None

    def effect(self, strength: float) -> Effect:
        return _Cut(strength)


class _Mixed(Effect):
    """Only states of one shape throughout can be mixed; those with a mask go as they are."""

    mixes = True

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha

    def batch(self, state: State, targets: torch.Tensor, generator: torch.Generator) -> tuple[State, torch.Tensor]:
        import numpy as np
        import torch

        x = state["x"]
        random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        if "mask" in state or not x.is_floating_point() or random.random() >= SHARE:
            return state, targets
        others = torch.from_numpy(random.permutation(len(x))).to(x.device)
        share = float(random.beta(self._alpha, self._alpha))
        # a row is most of what stands in its place, as its weight counts there; among pairs it makes no difference
        mixed, share = self._mix(x, x[others], max(share, 1 - share), random)
        return state | {"x": mixed}, torch.lerp(targets[others], targets, share)

    def _mix(
        self, x: torch.Tensor, other: torch.Tensor, share: float, random: np.random.Generator
    ) -> tuple[torch.Tensor, float]:
        """Both mixed, and how much of the first is there."""
        return x * share + other * (1 - share), share


class _Cut(_Mixed):
    """A rectangle of the other where there is a plane; where there is none, in a transformer, a share as in mixup.

    Pictures are square: where the first two dimensions of a row are equal and the third is not, channels come last, as
    in Swin.
    """

    def _mix(
        self, x: torch.Tensor, other: torch.Tensor, share: float, random: np.random.Generator
    ) -> tuple[torch.Tensor, float]:
        if x.ndim != 4:
            return super()._mix(x, other, share, random)
        behind = x.shape[1] == x.shape[2] != x.shape[3]
        height, width = x.shape[1:3] if behind else x.shape[2:]
        tall, wide = round(height * (1 - share) ** 0.5), round(width * (1 - share) ** 0.5)
        top, left = int(random.integers(height - tall + 1)), int(random.integers(width - wide + 1))
        plane = (slice(top, top + tall), slice(left, left + wide))
        where = (slice(None), *plane) if behind else (slice(None), slice(None), *plane)
        mixed = x.clone()
        mixed[where] = other[where]
        return mixed, 1 - tall * wide / (height * width)
