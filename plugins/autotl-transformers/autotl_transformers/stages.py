"""The backbone: an encoder of transformers run stage by stage, and pooled to one vector a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from torch import Tensor, nn

from autotl_transformers.anatomy import anatomy_of

if TYPE_CHECKING:
    from autotl.plugins.contracts import State

Pooling: TypeAlias = Literal["mean", "cls"]


class Backbone(nn.Module):
    """Stage 0 embeds ``[batch, tokens] int64`` ids; every later stage is a layer; the last also pools.

    A state holds ``x`` and ``mask`` ``[batch, tokens] bool`` (true where there is a token), which rides along.
    `model` is the library's own network. Its modules are the ones in `stages`, so both always have the same weights;
    it is kept to be saved, and its own forward is not used.
    """

    def __init__(self, model: Any, *, pooling: Pooling) -> None:
        super().__init__()
        self._anatomy = anatomy_of(model)
        self.pooling: Pooling = pooling
        self.width: int = model.config.hidden_size
        self.stages = nn.ModuleList(self._anatomy.stages())

    @property
    def model(self) -> Any:
        """The `PreTrainedModel` whose modules the stages are."""
        return self._anatomy.model

    def forward(self, state: State, start: int = 0, stop: int | None = None) -> State:
        """The state after stages `start` to `stop` (exclusive; None: all that follow).

        ``x`` is ``[batch, tokens, width]`` between stages and ``[batch, width]`` after the last.
        """
        stages = list(self.stages)
        stop = len(stages) if stop is None else stop
        if start >= stop:
            return state
        x, mask = state["x"], state["mask"]
        if start == 0:
            x = stages[0](x, mask)
        first = max(start, 1)
        if first < stop:
            guides = self._anatomy.guides(x, mask)
            for stage, guide in zip(stages[first:stop], guides[first - 1 : stop - 1], strict=True):
                x = stage(x, mask, guide)
        if stop == len(stages):
            x = pool_tokens(x, mask, self.pooling)
        return state | {"x": x}

    def pool(self, state: State) -> Tensor:
        """``[batch, width]`` from the state at any boundary after stage 0."""
        x = state["x"]
        return x if x.ndim == 2 else pool_tokens(x, state["mask"], self.pooling)


def pool_tokens(x: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """``[batch, width]`` from ``[batch, tokens, width]``: the mean over tokens, or the first token."""
    if pooling == "cls":
        return x[:, 0]
    weights = mask.to(x.dtype)
    return (x * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True)
