"""The backbones: an encoder of transformers run stage by stage, and pooled to one vector a text, or a pair of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from autotl_transformers.anatomy import anatomy_of
from autotl_transformers.pairs import FEATURES
from autotl_transformers.ragged import Ragged, ragged, ragged_attention

if TYPE_CHECKING:
    from autotl.plugins.contracts import State

Pooling: TypeAlias = Literal["mean", "cls"]


class Unsuitable(ValueError):
    """A network that cannot be used like this."""


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
        self._takes_ragged = self._anatomy.ragged

    def extra_repr(self) -> str:
        """What tells networks of the same weights apart, stored features with them."""
        return f"pooling={self.pooling!r}"

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
        texts = self._without_padding(state)
        if texts is None:
            x = self._passed(state, start, stop)
        else:
            with ragged_attention(self.model):
                x = texts.put_back(self._passed(state, start, stop, texts))
        if stop == len(stages):
            x = self._pooled(state | {"x": x})
        return state | {"x": x}

    def pool(self, state: State) -> Tensor:
        """``[batch, width]`` from the state at any boundary after stage 0."""
        x = state["x"]
        return x if x.ndim == 2 else self._pooled(state)

    @property
    def ragged(self) -> bool:
        """Whether texts pass without their padding where nothing is learned."""
        return self._takes_ragged and next(self.parameters()).device.type == "cpu"

    def _passed(self, state: State, start: int, stop: int, texts: Ragged | None = None) -> Tensor:
        """``x`` after the stages `start` to `stop`: ``[batch, tokens, width]``, or as `texts` take it."""
        stages = list(self.stages)
        x, mask = state["x"] if texts is None else texts.take(state["x"]), state["mask"]
        if start == 0:
            beside = self._beside(state)
            if texts is not None:
                beside = {name: texts.take(told) for name, told in beside.items()}
                beside |= self._anatomy.positions(texts.positions)
            x = stages[0](x, mask, **beside)
        first = max(start, 1)
        if first < stop:
            guides = self._anatomy.guides(x, self._visible(state) if texts is None else texts)
            for stage, guide in zip(stages[first:stop], guides[first - 1 : stop - 1], strict=True):
                x = stage(x, mask, guide)
        return x

    def _without_padding(self, state: State) -> Ragged | None:
        """How a state passes without its padding; None where it passes with it, or has none."""
        mask = state["mask"]
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or not self.ragged or bool(mask.all()):
            return None
        return ragged(self._lengths(state), tuple(mask.shape))

    def _lengths(self, state: State) -> Tensor:
        """``[batch, sequences] int64``: tokens of what sees each other, one behind the other in a row."""
        return state["mask"].sum(1, keepdim=True)

    def _beside(self, state: State) -> dict[str, Tensor]:
        """What the embeddings are told of each token beside its id, ``[batch, tokens]``, by the library's names."""
        return {}

    def _visible(self, state: State) -> Tensor:
        """Which tokens may be looked at: ``[batch, tokens] bool``, or ``[batch, queries, keys] bool``."""
        return state["mask"]

    def _pooled(self, state: State) -> Tensor:
        """``[batch, width]`` from ``x`` ``[batch, tokens, channels]``."""
        return pool_tokens(state["x"], state["mask"], self.pooling)


class CrossEncoder(Backbone):
    """Both texts of a pair in one sequence, so that every layer compares them (Devlin et al. 2019, BERT).

    A state also has ``segment`` ``[batch, tokens] int64``: the token types, for encoders that learned them.
    """

    @property
    def token_types(self) -> bool:
        """Whether the network is told which text a token is of."""
        return bool(self._anatomy.token_types(torch.zeros(1, 1, dtype=torch.int64)))

    def _beside(self, state: State) -> dict[str, Tensor]:
        return self._anatomy.token_types(state["segment"])


class TwoTowers(Backbone):
    """Each text of a pair by itself through the same network, and what comes of the two compared at the end.

    With u and v for the pooled texts the features are u, v, |u - v| and u * v, element by element (InferSent: Conneau
    et al. 2017). Spearman's correlation of a ridge on these, of MiniLM as published, with the scores of 1379 pairs of
    STS, after 200, 1000 and 5749 others: 0.814, 0.827, 0.833; without u and v, which alone say which text is which,
    0.814, 0.825, 0.827; with u and v scaled to one length 0.824, 0.824, 0.826; of u and v alone 0.05, 0.07, 0.26. Their
    cosine, which learns nothing, has 0.821.

    A state also has ``segment`` ``[batch, tokens] int64``: which text a token is of. The texts stay one sequence, in
    which no token sees one of the other text and positions begin anew. That is the same as a pass for each, and states
    are those of any text.
    """

    def __init__(self, model: Any, *, pooling: Pooling) -> None:
        """Raises `Unsuitable` for a network that mixes tokens in other ways than by attention."""
        super().__init__(model, pooling=pooling)
        if not self._anatomy.separable:
            raise Unsuitable(f"two texts cannot be kept apart in a network of the type {model.config.model_type}")
        self.width = FEATURES * self.width

    def _beside(self, state: State) -> dict[str, Tensor]:
        # padding has no position, and could be beyond the last one; each text is the first of its own sequence
        positions, types = _positions(state) * state["mask"], torch.zeros_like(state["segment"])
        return self._anatomy.positions(positions) | self._anatomy.token_types(types)

    def _lengths(self, state: State) -> Tensor:
        mask, segment = state["mask"], state["segment"]
        return torch.stack([(mask & (segment == text)).sum(1) for text in (0, 1)], 1)

    def _visible(self, state: State) -> Tensor:
        mask, segment = state["mask"], state["segment"]
        return mask[:, None, :] & (segment[:, :, None] == segment[:, None, :])

    def _pooled(self, state: State) -> Tensor:
        x, mask, segment = state["x"], state["mask"], state["segment"]
        if self.pooling == "cls":
            mask = mask & (_positions(state) == 0)
        u, v = (pool_tokens(x, mask & (segment == text), "mean") for text in (0, 1))
        return compare(u, v)


def compare(u: Tensor, v: Tensor) -> Tensor:
    """``[batch, FEATURES * width]`` of two texts ``[batch, width]`` each."""
    return torch.cat([u, v, (u - v).abs(), u * v], 1)


def _positions(state: State) -> Tensor:
    """``[batch, tokens] int64``: of each token in its own text, from 0; of padding anything."""
    mask, segment = state["mask"], state["segment"]
    first = (mask & (segment == 0)).sum(1, keepdim=True)
    return torch.arange(mask.shape[1], device=mask.device) - first * segment


def pool_tokens(x: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """``[batch, width]`` from ``[batch, tokens, width]``: the mean over tokens, or the first token."""
    if pooling == "cls":
        return x[:, 0]
    weights = mask.to(x.dtype)
    return (x * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True)
