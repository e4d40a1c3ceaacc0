"""LoRA: to every linear layer the product of two thin matrices is added (Hu et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Parameter, StrategyContext, Value
from autotl_peft.adapters import Adapters

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig

    from autotl.training.settings import Settings

#: The rank hardly matters on small tables (Schulman et al. 2025, "LoRA without regret").
RANKS = (4, 8, 16)
USUAL = 8

#: Divided by the rank it scales what adapters add, so that the best rate is the same for all ranks where it is constant
#: (Schulman et al. 2025); twice the usual rank is what most people use.
ALPHA = 2 * USUAL

#: The largest rank as a share of the width. In a transformer's layer the adapters are 1.4 ranks a width of the weights,
#: so this keeps them under 3 % even where no vocabulary adds to the weights.
LARGEST_SHARE = 1 / 48


class LoRA(Adapters):
    """On all linear layers: attention alone is worse at the same number of parameters (Schulman et al. 2025)."""

    name = "lora"
    rate = 10.0  #: Schulman et al. (2025) find this factor for every network that they tried
    decays = True

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        shared = super().parameters(context)
        ranks = _ranks(context.candidate.width)
        weights = tuple(3.0 if rank == _usual(ranks) else 1.0 for rank in ranks)
        return [Choice("rank", tuple(map(float, ranks)), weights), *shared] if shared else []

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        return [
            {"rank": float(_usual(_ranks(context.candidate.width))), **settings}
            for settings in super().portfolio(context)
        ]

    def config(self, layers: Mapping[str, torch.nn.Linear], settings: Settings) -> LoraConfig:
        from peft import LoraConfig

        from autotl_peft.layers import exactly

        # features may be several times as wide as the network, such as those of two towers
        narrowest = min(min(layer.in_features, layer.out_features) for layer in layers.values())
        rank = min(int(settings.number("rank")), _ranks(narrowest)[-1])
        return LoraConfig(r=rank, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=exactly(layers))


def _ranks(width: int) -> tuple[int, ...]:
    """Those that keep the adapters small; the least for a network that is too narrow for any."""
    return tuple(rank for rank in RANKS if rank <= LARGEST_SHARE * width) or RANKS[:1]


def _usual(ranks: Sequence[int]) -> int:
    return max(rank for rank in ranks if rank <= USUAL)
