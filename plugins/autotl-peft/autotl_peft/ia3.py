"""(IA)^3: activations of linear layers are scaled, one learned factor a channel (Liu et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autotl_peft.adapters import Adapters

if TYPE_CHECKING:
    import torch
    from peft import IA3Config

    from autotl.training.settings import Settings


class IA3(Adapters):
    """Some 20 000 numbers in a network of 20 million: beside LoRA the other end of what can be adapted.

    It multiplies where LoRA adds, so it makes other mistakes, which a mixture is glad of; its steps are the cheapest,
    as they have no further products of matrices; and merged it is exact. DoRA and its kin are LoRA with dearer steps.
    Of few rows it learned more than LoRA and than all weights did (Liu et al. 2022, on T0).
    """

    name = "ia3"
    #: Factors start at 1 and have to get some way from it within a training: 3e-3, as published, is 30 times the rate
    #: of a narrow encoder and 100 times that of BERT. Not more than is right there: ELECTRA-small's is 3e-4.
    rate, highest_rate = 50.0, 5e-3
    decays = False  #: factors start at 1, and zero would be a dead channel

    def config(self, layers: Mapping[str, torch.nn.Linear], settings: Settings) -> IA3Config:
        """All outputs are scaled, and the inputs of layers that narrow, as in the paper's feed-forward blocks."""
        from peft import IA3Config

        from autotl_peft.layers import exactly

        narrowing = [name for name, layer in layers.items() if layer.in_features > layer.out_features]
        return IA3Config(target_modules=exactly(layers), feedforward_modules=exactly(narrowing))
