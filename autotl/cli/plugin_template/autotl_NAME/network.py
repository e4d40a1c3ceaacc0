"""The network: stages from input to features. What one stage needs of another is in the state that flows through."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from autotl.plugins.contracts import State


class Words(torch.nn.Module):
    """``[batch, length] int64`` to ``[batch, length, width]``."""

    def __init__(self, buckets: int, width: int) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(buckets, width)

    def forward(self, state: State) -> State:
        return state | {"x": self.table(state["x"])}


class Block(torch.nn.Module):
    """Every word on its own, with a residual."""

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(width)
        self.inner = torch.nn.Linear(width, width)
        self.drop = torch.nn.Dropout(drop)

    def forward(self, state: State) -> State:
        return state | {"x": state["x"] + self.drop(torch.nn.functional.gelu(self.inner(self.norm(state["x"]))))}


class Network(torch.nn.Module):
    """The features are the mean over words."""

    def __init__(self, buckets: int, width: int, drop: float) -> None:
        super().__init__()
        self.width = width
        self.stages = torch.nn.ModuleList([Words(buckets, width), Block(width, drop), Block(width, drop)])

    def forward(self, state: State, start: int = 0, stop: int | None = None) -> State:
        for stage in list(self.stages)[start:stop]:
            state = stage(state)
        return state

    def pool(self, state: State) -> torch.Tensor:
        mask = state["mask"].unsqueeze(-1)
        return (state["x"] * mask).sum(1) / mask.sum(1).clamp(min=1.0)
