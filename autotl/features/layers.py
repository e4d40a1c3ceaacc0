"""Features of several depths of a network at once, for heads: what the last layer has dropped is often of use.

After Head2Toe (Evci et al. 2022), which is as good as fine-tuning on 19 small sets with chosen features of all layers.
Here they are all of the upper layers': test accuracy of a logistic head on the last layer, and on what `upper_layers`
takes, fitted to all rows and to 20 a class (mean of three draws):

=====================  =====  =====  =========  =========
\\                      last   upper  last, few  upper, few
=====================  =====  =====  =========  =========
MiniLM, trec6          0.898  0.944  0.621      0.724
MiniLM, sst2           0.811  0.834  0.618      0.654
MiniLM, sms-spam       0.979  0.989  0.854      0.958
MobileNetV2, flowers   0.705  0.736  0.588      0.612
MobileNetV2, digits    0.936  0.963  0.880      0.902
MobileNetV2, insects   0.941  0.935  0.915      0.908
=====================  =====  =====  =========  =========
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import torch

from autotl.errors import BundleError, PluginError

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone, State

#: Features of all depths together, in widths of the last, and in columns: four layers of an encoder as science has them
#: (the last four of BERT: Devlin et al. 2019), all of a small convolutional network, and a head is fitted in seconds.
MOST_WIDTHS, MOST_COLUMNS = 4, 3072

#: A `Backbone`, or a `Layered` one.
Network = TypeVar("Network", bound=torch.nn.Module)

#: Begins the names under which pooled layers ride along in a state.
_LAYER = "layer "


class Layered(torch.nn.Module):
    """A `Backbone` whose features are those of another after each of its upper stages, side by side, last the last."""

    def __init__(self, plain: Backbone, lowest: int, *, width: int) -> None:
        """lowest: stages passed at the first of these features. width: of them all, side by side."""
        super().__init__()
        self.plain, self.lowest, self.width = plain, lowest, width

    @property
    def stages(self) -> torch.nn.ModuleList:
        """Those of the other backbone."""
        return self.plain.stages

    def folded(self) -> Layered:
        """The same around what passes faster."""
        return Layered(folded(self.plain), self.lowest, width=self.width)

    @property
    def ragged(self) -> bool:
        """As the other backbone."""
        return getattr(self.plain, "ragged", False)

    def forward(self, state: State, start: int = 0, stop: int | None = None) -> State:
        """As the contract says; pooled layers ride along in the state."""
        stop = len(self.stages) if stop is None else stop
        seen = {name: layer for name, layer in state.items() if name.startswith(_LAYER)}
        for below, above in pairwise(sorted({start, *range(max(start, self.lowest), stop), stop})):
            state = self.plain(state, below, above)
            if above >= self.lowest:
                seen[f"{_LAYER}{above}"] = self.plain.pool(state)
        return state | seen

    def pool(self, state: State) -> torch.Tensor:
        """``[batch, width]`` after the last stage. Raises `BundleError` for layers of another width."""
        features = torch.cat([state[f"{_LAYER}{depth}"] for depth in range(self.lowest, len(self.stages) + 1)], 1)
        if features.shape[1] != self.width:
            raise BundleError(f"its layers have {features.shape[1]} features, and its head is for {self.width}")
        return features


def folded(backbone: Network) -> Network:
    """One that passes faster where nothing is learned; itself where its family knows none."""
    fold: Callable[[], Network] | None = getattr(backbone, "folded", None)
    return backbone if fold is None else fold()


@torch.no_grad()
def upper_layers(backbone: Backbone, state: State) -> Layered:
    """What a head should see of a backbone: from the last stage down as far as it is not too many columns.

    state: the input of stage 0. Raises `PluginError` where features do not have the width that was promised.
    """
    widths = []
    for depth in range(len(backbone.stages)):
        state = backbone(state, depth, depth + 1)
        pooled = backbone.pool(state)
        widths.append(pooled.shape[1])
    if pooled.shape != (promised := (len(state["x"]), backbone.width)):
        raise PluginError(f"pool() gives {list(pooled.shape)} in place of [batch, width] = {list(promised)}")
    lowest, columns = len(widths), backbone.width
    while lowest > 1 and columns + widths[lowest - 2] <= min(MOST_WIDTHS * backbone.width, MOST_COLUMNS):
        lowest -= 1
        columns += widths[lowest - 1]
    return Layered(backbone, lowest, width=columns)
