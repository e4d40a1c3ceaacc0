"""Where encoders of transformers keep their parts: one class a layout, each giving stages and what guides them.

A layout is a plain object. It registers nothing itself: the weights belong to the stages, each exactly once, and a
weight that many layers read belongs to stage 0, so that what a frozen prefix computes never changes.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from autotl_transformers.ragged import Ragged, takes_ragged

#: What a layer wants beside its input, by keyword.
Guide: TypeAlias = "dict[str, Any]"

#: Who may look where: the mask ``[batch, tokens] bool``, ``[batch, queries, keys] bool``, or where the state has no
#: padding, sequence by sequence.
Visible: TypeAlias = "Tensor | Ragged"

#: Added to the attention scores of padding. The lowest number that fp16, bf16 and fp32 all hold, so that no autocast
#: makes it infinite; its exponential is zero in each.
MASKED = torch.finfo(torch.float16).min


class Embeddings(nn.Module):
    """Stage 0: ``[batch, tokens] int64`` to ``[batch, tokens, width]``, and the home of what all layers share."""

    def __init__(
        self, embeddings: nn.Module, *, project: nn.Module | None = None, shared: Iterable[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.project = project
        self.shared = nn.ModuleList(shared)

    def forward(self, ids: Tensor, mask: Tensor, **beside: Tensor) -> Tensor:
        """beside: what the library's embeddings take of each token beside its id, by their own names."""
        x: Tensor = self.embeddings(input_ids=ids, **beside)
        return x if self.project is None else self.project(x)


class MaskedEmbeddings(Embeddings):
    """Embeddings that want to know the padding (DeBERTa)."""

    def forward(self, ids: Tensor, mask: Tensor, **beside: Tensor) -> Tensor:
        x: Tensor = self.embeddings(input_ids=ids, mask=mask, **beside)
        return x


class Whole(nn.Module):
    """The only stage of an encoder that cannot be taken apart: ids to ``[batch, tokens, width]``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor, **beside: Tensor) -> Tensor:
        x: Tensor = self.model(input_ids=ids, attention_mask=mask.long(), **beside).last_hidden_state
        return x


class Layer(nn.Module):
    """One layer of the encoder: ``[batch, tokens, width]`` to the same."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, mask: Tensor, guide: Guide) -> Tensor:
        out = self.layer(x, **guide)
        return out if isinstance(out, Tensor) else out[0]  # some types, and most before transformers 5, wrap it


class NormedLayer(Layer):
    """The last layer and the norm that closes the encoder (ModernBERT)."""

    def __init__(self, layer: nn.Module, norm: nn.Module) -> None:
        super().__init__(layer)
        self.norm = norm

    def forward(self, x: Tensor, mask: Tensor, guide: Guide) -> Tensor:
        normed: Tensor = self.norm(super().forward(x, mask, guide))
        return normed


class ConvolvedLayer(Layer):
    """The first layer with a convolution beside it (some DeBERTa-v2)."""

    def __init__(self, layer: nn.Module, convolution: nn.Module) -> None:
        super().__init__(layer)
        self.convolution = convolution

    def forward(self, x: Tensor, mask: Tensor, guide: Guide) -> Tensor:
        out: Tensor = self.convolution(x, super().forward(x, mask, guide), mask.long())
        return out


class Anatomy:
    """The layout of an encoder. This one leaves it in one piece: it trains, but no part can be frozen or cached."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def stages(self) -> list[nn.Module]:
        """Stage 0, then a stage a layer."""
        return [Whole(self.model)]

    def guides(self, x: Tensor, visible: Visible) -> list[Guide]:
        """What each layer wants, computed once a pass from ``x`` ``[batch, tokens, width]`` and who may look where."""
        return []

    def token_types(self, segment: Tensor) -> Guide:
        """What the embeddings want to know of segments ``[batch, tokens] int64``, by keyword; often nothing."""
        table = getattr(self.model.embeddings, "token_type_embeddings", None)
        return {"token_type_ids": segment} if table is not None and table.num_embeddings > 1 else {}

    def positions(self, positions: Tensor) -> Guide:
        """What the embeddings want to know of positions ``[batch, tokens] int64`` from 0, by keyword.

        Nothing where layers count for themselves how far tokens are apart.
        """
        embeddings = self.model.embeddings
        if getattr(embeddings, "position_embeddings", None) is None:
            return {}
        # RoBERTa and its kin, and MPNet, begin behind the index of the padding
        return {"position_ids": positions + getattr(embeddings, "padding_idx", -1) + 1}

    @property
    def separable(self) -> bool:
        """Whether two texts in one sequence can be kept from each other: by what is visible, and by positions."""
        return False

    @property
    def ragged(self) -> bool:
        """Whether texts can pass without their padding."""
        return False


class Layered(Anatomy):
    """What can be taken apart into layers that look at other tokens by attention alone."""

    @property
    def separable(self) -> bool:
        """Yes, unless its positions cannot be told: DistilBERT's before transformers 5 always count from the start."""
        embeddings = self.model.embeddings
        positions = self.positions(torch.zeros(1, 1, dtype=torch.int64))
        return positions.keys() <= inspect.signature(embeddings.forward).parameters.keys()


class Bert(Layered):
    """BERT, RoBERTa and their kin, ELECTRA, DistilBERT: layers that want a mask."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        encoder = model.transformer if hasattr(model, "transformer") else model.encoder
        self._layers = list(encoder.layer)
        # DistilBERT has another name for the mask in transformers 4.48; it always comes second
        self._mask_name = list(inspect.signature(self._layers[0].forward).parameters)[1]

    def stages(self) -> list[nn.Module]:
        project = getattr(self.model, "embeddings_project", None)
        return [Embeddings(self.model.embeddings, project=project), *map(Layer, self._layers)]

    def guides(self, x: Tensor, visible: Visible) -> list[Guide]:
        return [{self._mask_name: attention_bias(visible, x.dtype)}] * len(self._layers)

    @property
    def ragged(self) -> bool:
        return self.separable and takes_ragged(self.model, self._layers[0])


class MPNet(Layered):
    """One table of relative positions, learned and shared by all layers."""

    def stages(self) -> list[nn.Module]:
        encoder = self.model.encoder
        shared = [encoder.relative_attention_bias]
        return [Embeddings(self.model.embeddings, shared=shared), *map(Layer, encoder.layer)]

    def guides(self, x: Tensor, visible: Visible) -> list[Guide]:
        encoder = self.model.encoder
        guide = {"attention_mask": attention_bias(visible, x.dtype), "position_bias": encoder.compute_position_bias(x)}
        return [guide] * len(encoder.layer)


class Deberta(Layered):
    """DeBERTa-v2 and v3: relative positions are embedded, and shared by all layers."""

    def stages(self) -> list[nn.Module]:
        encoder = self.model.encoder
        shared = [getattr(encoder, name) for name in ("rel_embeddings", "LayerNorm") if hasattr(encoder, name)]
        layers = [Layer(layer) for layer in encoder.layer]
        if encoder.conv is not None:
            layers[0] = ConvolvedLayer(encoder.layer[0], encoder.conv)
        return [MaskedEmbeddings(self.model.embeddings, shared=shared), *layers]

    @property
    def separable(self) -> bool:
        """Not where a convolution runs over both."""
        return self.model.encoder.conv is None and super().separable

    def guides(self, x: Tensor, visible: Visible) -> list[Guide]:
        encoder = self.model.encoder
        guide = {
            "attention_mask": encoder.get_attention_mask(visible),
            "relative_pos": encoder.get_rel_pos(x),
            "rel_embeddings": encoder.get_rel_embedding(),
        }
        return [guide] * len(encoder.layer)


class Rotated(Layered):
    """Nomic's BERT and GTE: rotary positions, the same for all layers."""

    def stages(self) -> list[nn.Module]:
        return [Embeddings(self.model.embeddings, shared=[self.model.rotary_emb]), *map(Layer, self.model.layers)]

    @property
    def ragged(self) -> bool:
        return takes_ragged(self.model, self.model.layers[0])

    def guides(self, x: Tensor, visible: Visible) -> list[Guide]:
        rotations = self.model.rotary_emb(x, places(x, visible))
        guide = {"attention_mask": attention_bias(visible, x.dtype), "position_embeddings": rotations}
        return [guide] * len(self.model.layers)


class ModernBert(Rotated):
    """Rotary positions, and most layers look at their neighbourhood only."""

    def stages(self) -> list[nn.Module]:
        *layers, last = self.model.layers
        stem = Embeddings(self.model.embeddings, shared=[self.model.rotary_emb])
        return [stem, *map(Layer, layers), NormedLayer(last, self.model.final_norm)]

    def guides(self, x: Tensor, visible: Visible) -> list[Guide]:
        positions = places(x, visible)
        biases = {
            "full_attention": attention_bias(visible, x.dtype),
            "sliding_attention": near_bias(visible, self.model.config.local_attention // 2, x.dtype),
        }
        kinds = [layer.attention_type for layer in self.model.layers]
        guides = {
            kind: {"attention_mask": biases[kind], "position_embeddings": self.model.rotary_emb(x, positions, kind)}
            for kind in set(kinds)
        }
        return [guides[kind] for kind in kinds]


def places(x: Tensor, visible: Visible) -> Tensor:
    """Where each token of ``x`` ``[batch, tokens, width]`` stands in its text: ``[1, tokens] int64``."""
    return visible.positions if isinstance(visible, Ragged) else torch.arange(x.shape[1], device=x.device)[None]


def attention_bias(visible: Visible, dtype: torch.dtype) -> Tensor | Ragged | None:
    """What is added to attention scores: ``[batch, 1, queries or 1, keys]``, 0 where one may look, else `MASKED`.

    None when nothing is hidden, which lets attention take its fastest path; not asked on an accelerator, where the
    answer would have to be waited for, and not while the network is exported, which has to serve every mask. What has
    no padding is its own.
    """
    if isinstance(visible, Ragged):
        return visible
    if visible.device.type == "cpu" and not torch.compiler.is_compiling() and bool(visible.all()):
        return None
    hidden = ~(visible[:, None, None, :] if visible.ndim == 2 else visible[:, None])
    return torch.zeros(hidden.shape, dtype=dtype, device=visible.device).masked_fill_(hidden, MASKED)


def near_bias(visible: Visible, reach: int, dtype: torch.dtype) -> Tensor | Ragged | None:
    """The same where a token sees no further than so many others on each side."""
    if isinstance(visible, Ragged):
        return visible.reaching(reach)
    tokens = visible.shape[-1]
    if not torch.compiler.is_compiling() and tokens <= reach + 1:  # an exported network serves every length
        return attention_bias(visible, dtype)
    positions = torch.arange(tokens, device=visible.device)
    near = (positions[:, None] - positions).abs() <= reach
    return attention_bias((visible if visible.ndim == 3 else visible[:, None, :]) & near, dtype)


def anatomy_of(model: Any) -> Anatomy:
    """The layout of `model`, by its type; in one piece where it is not known."""
    layouts: dict[str, type[Anatomy]] = dict.fromkeys(
        ("bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "ernie", "data2vec-text"), Bert
    )
    layouts |= {"mpnet": MPNet, "deberta-v2": Deberta, "nomic_bert": Rotated, "gte": Rotated}
    if hasattr(model, "rotary_emb"):  # in transformers 4.48 its layers keep their rotations to themselves
        layouts["modernbert"] = ModernBert
    return layouts.get(model.config.model_type, Anatomy)(model)
