"""timm networks as an ordered list of stages, without touching their code.

A stage runs a piece of the network's own forward pass and owns the modules that this piece uses. The last one ends
with the library's own pooling, so that all stages together are ``forward_head(forward_features(x), pre_logits=True)``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.eva import Eva
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch.nn.functional import linear, scaled_dot_product_attention

from autotl_timm.folding import folded
from autotl_timm.several import several_width

if TYPE_CHECKING:
    from autotl.plugins.contracts import State

Run = Callable[[torch.Tensor], torch.Tensor]
Owned = Sequence[torch.nn.Module | torch.nn.Parameter | None]

#: ConvNeXt keeps most of its blocks in one group; cut into such pieces, freezing has somewhere to stop.
BLOCKS_A_STAGE = 3


class Stage(torch.nn.Module):
    """A piece of a network: what it computes, and the modules and parameters that it computes it with."""

    _run: Run

    def __init__(self, run: Run, owned: Owned) -> None:
        super().__init__()
        object.__setattr__(self, "_run", run)  # a module too is registered as owned only
        self.owned = torch.nn.ModuleList([part for part in owned if isinstance(part, torch.nn.Module)])
        self.tables = torch.nn.ParameterList([part for part in owned if isinstance(part, torch.nn.Parameter)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(x)


class StagedNetwork(torch.nn.Module):
    """AutoTL's `Backbone` over a timm network made with ``num_classes=0``.

    The state's ``"x"`` is ``[batch, 3, side, side]`` before stage 0, maps or tokens between stages (as the network
    lays them out), and ``[batch, width]`` after the last.
    """

    network: Any

    def __init__(self, network: torch.nn.Module, *, model_args: dict[str, Any]) -> None:
        """model_args: what `network` was created with, for saving."""
        super().__init__()
        # registered through the stages only, so that every parameter has one name and one home
        object.__setattr__(self, "network", network)
        self.model_args = model_args
        self.stages = torch.nn.ModuleList([Stage(run, owned) for run, owned in _split(network)])
        self.features: int = getattr(network, "head_hidden_size", network.num_features)  #: of one image
        self.width = self.features
        self._channels_last_maps = isinstance(network, SwinTransformer | SwinTransformerV2)
        missed = {id(p) for p in network.parameters()} - {id(p) for p in self.parameters()}
        if missed:
            raise ValueError(f"{type(network).__name__}: {len(missed)} parameters are in no stage")

    def forward(self, state: State, start: int = 0, stop: int | None = None) -> State:
        x = state["x"]
        for stage in self.stages[start:stop]:
            x = stage(x)
        return {**state, "x": x}

    def train(self, mode: bool = True) -> StagedNetwork:
        self.network.train(mode)  # containers and the network itself are in no stage
        return super().train(mode)

    def __deepcopy__(self, memo: dict[int, Any]) -> StagedNetwork:
        # a copied stage would still run the modules of the original
        return self._around(copy.deepcopy(self.network, memo)).train(self.training)

    def folded(self) -> StagedNetwork:
        """One that passes faster where nothing is learned; itself where there is none."""
        network = folded(self.network)
        return self if network is None else self._around(network).eval()

    def _around(self, network: torch.nn.Module) -> StagedNetwork:
        """The same with another network of this kind."""
        return StagedNetwork(network, model_args=self.model_args)

    def pool(self, state: State) -> torch.Tensor:
        """``[batch, channels]``: features as they are, the mean over space of maps, the mean of tokens."""
        x = state["x"]
        if x.ndim == 4:
            return x.mean((1, 2) if self._channels_last_maps else (2, 3))
        return x.mean(1) if x.ndim == 3 else x


class SeveralImages(StagedNetwork):
    """The same for rows of several images, each of which passes through the network by itself.

    Between stages the images of a row stand one behind the other in the first dimension of their plane: ``"x"`` is
    ``[batch, 3, images * side, side]`` before stage 0, maps or tokens likewise, and ``[batch, images * features]``
    after the last. So a state has the dimensions of one image's, and whatever stores it, mixes rows or lays out
    channels does as with one. With the channels last in memory, taking images apart moves nothing.

    The features of a row are those of its images in their order, and by how much these differ: the largest less the
    smallest of each, which of two is |u - v|. Without it a head adds up what each image says by itself, and cannot tell
    whether two show the same: of bars in two pictures, turned alike or not, a ridge head on MobileNetV2-0.35 and 160
    rows has 0.55 of 80 test rows right without it, 0.975 with it (the best penalty on these rows for both).
    (u, v, |u - v|) is also the best of the ways to compare in Reimers and Gurevych (2019, table 6).
    """

    def __init__(self, network: torch.nn.Module, *, model_args: dict[str, Any], images: int) -> None:
        """images: of a row."""
        super().__init__(network, model_args=model_args)
        self.images = images
        self.width = several_width(self.features, images)

    def forward(self, state: State, start: int = 0, stop: int | None = None) -> State:
        if not len(self.stages[start:stop]):
            return state
        apart = self._apart(state["x"], channels_last=self._channels_last_maps and start > 0)
        x = super().forward({"x": apart}, start, stop)["x"]
        return {**state, "x": self._together(x)}

    def pool(self, state: State) -> torch.Tensor:
        """``[batch, (images + 1) * channels]``."""
        apart = self._apart(state["x"], channels_last=self._channels_last_maps)
        features = super().pool({"x": apart}).unflatten(0, (-1, self.images))
        return torch.cat([features.flatten(1), features.amax(1) - features.amin(1)], 1)

    def _apart(self, x: torch.Tensor, *, channels_last: bool) -> torch.Tensor:
        """``[batch * images, …]`` from ``[batch, …]``."""
        if x.ndim == 4 and not channels_last:
            return x.unflatten(2, (self.images, -1)).transpose(1, 2).flatten(0, 1)
        return x.unflatten(1, (self.images, -1)).flatten(0, 1)

    def _together(self, x: torch.Tensor) -> torch.Tensor:
        """What `_apart` took apart, after a stage."""
        rows = x.unflatten(0, (-1, self.images))
        if x.ndim == 4 and not self._channels_last_maps:
            return rows.transpose(1, 2).flatten(2, 3)
        return rows.flatten(1, 2)

    def _around(self, network: torch.nn.Module) -> SeveralImages:
        return SeveralImages(network, model_args=self.model_args, images=self.images)


def _split(network: Any) -> list[tuple[Run, Owned]]:
    """The pieces of a network, from the input to the features."""
    for kind, split in _SPLITTERS:
        if isinstance(network, kind):
            return split(network)
    return _whole(network)


def _whole(network: Any) -> list[tuple[Run, Owned]]:
    return [(lambda x: network.forward_head(network.forward_features(x), pre_logits=True), [network])]


def _features(network: Any, before: Run | None = None) -> Run:
    """The library's pooling, after what is left of its feature extractor."""
    if before is None:
        return lambda x: network.forward_head(x, pre_logits=True)
    return lambda x: network.forward_head(before(x), pre_logits=True)


def _resnet(network: Any) -> list[tuple[Run, Owned]]:
    stem = [network.conv1, network.bn1, network.act1, network.maxpool]
    groups = [network.layer1, network.layer2, network.layer3]
    last = network.layer4
    return [
        (torch.nn.Sequential(*stem), stem),
        *((group, [group]) for group in groups),
        (_features(network, last), [last, network.global_pool, network.fc]),
    ]


def _regnet(network: Any) -> list[tuple[Run, Owned]]:
    groups = [network.s1, network.s2, network.s3]
    return [
        (network.stem, [network.stem]),
        *((group, [group]) for group in groups),
        (
            _features(network, lambda x: network.final_conv(network.s4(x))),
            [network.s4, network.final_conv, network.head],
        ),
    ]


def _efficientnet(network: Any) -> list[tuple[Run, Owned]]:
    stem = [network.conv_stem, network.bn1]
    tail = [network.conv_head, network.bn2, network.global_pool, network.classifier]
    return [
        (torch.nn.Sequential(*stem), stem),
        *((group, [group]) for group in network.blocks),
        (_features(network, lambda x: network.bn2(network.conv_head(x))), tail),
    ]


def _mobilenetv3(network: Any) -> list[tuple[Run, Owned]]:
    stem = [network.conv_stem, network.bn1]
    tail = [network.global_pool, network.conv_head, network.norm_head, network.act2, network.flatten]
    return [
        (torch.nn.Sequential(*stem), stem),
        *((group, [group]) for group in network.blocks),
        (_features(network), [*tail, network.classifier]),
    ]


def _convnext(network: Any) -> list[tuple[Run, Owned]]:
    pieces: list[tuple[Run, Owned]] = [(network.stem, [network.stem])]
    for group in network.stages:
        blocks = list(group.blocks)
        for start in range(0, len(blocks), BLOCKS_A_STAGE):
            modules = [*([group.downsample] if start == 0 else []), *blocks[start : start + BLOCKS_A_STAGE]]
            pieces.append((torch.nn.Sequential(*modules), modules))
    return [*pieces, (_features(network, network.norm_pre), [network.norm_pre, network.head])]


def _vit(network: Any) -> list[tuple[Run, Owned]]:
    tables = [getattr(network, name, None) for name in ("cls_token", "reg_token", "dist_token", "pos_embed")]
    entrance = [network.patch_embed, network.pos_drop, network.patch_drop, network.norm_pre, *tables]

    def embed(x: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(x))))
        return embedded

    exits = ("norm", "attn_pool", "fc_norm", "head_drop", "head", "head_dist")
    tail = [getattr(network, name, None) for name in exits]
    last = network.blocks[-1]
    run = _for_the_class_token(last) if _only_the_class_token_counts(network) else last
    return [
        (embed, entrance),
        *((block, [block]) for block in network.blocks[:-1]),
        (_features(network, lambda x: network.norm(run(x))), [last, *tail]),
    ]


def _only_the_class_token_counts(network: Any) -> bool:
    """Whether pooling takes the class token of a plain block and leaves the other tokens."""
    kind, last = type(network), network.blocks[-1]
    plain = type(last) is Block and type(last.attn) is Attention and getattr(last.attn, "gate", None) is None
    pools = kind.pool is VisionTransformer.pool and kind.forward_head is VisionTransformer.forward_head
    return plain and pools and network.attn_pool is None and network.global_pool == "token"


def _for_the_class_token(block: Any) -> Run:
    """What `block` makes of the first token: every token is looked at, one looks, a sixth of the block's work.

    A step that trains the last stage of a ViT-S from stored states is four times as fast for it.
    """
    attention = block.attn
    heads, width = attention.num_heads, attention.head_dim

    def run(x: torch.Tensor) -> torch.Tensor:
        seen, token = block.norm1(x), x[:, :1]
        query_rows = heads * width  # the first third of the joint projection
        weight, bias = attention.qkv.weight, attention.qkv.bias
        query = linear(seen[:, :1], weight[:query_rows], None if bias is None else bias[:query_rows])
        both = linear(seen, weight[query_rows:], None if bias is None else bias[query_rows:])
        # not len(x), which is a fixed number to whoever traces this
        query = query.reshape(x.shape[0], 1, heads, width).transpose(1, 2)
        key, value = both.reshape(x.shape[0], -1, 2, heads, width).permute(2, 0, 3, 1, 4).unbind(0)
        drop = attention.attn_drop.p if attention.training else 0.0
        mixed = scaled_dot_product_attention(
            attention.q_norm(query), attention.k_norm(key), value, dropout_p=drop, scale=attention.scale
        )
        mixed = mixed.transpose(1, 2).reshape(x.shape[0], 1, query_rows)
        mixed = attention.proj_drop(attention.proj(attention.norm(mixed)))
        token = token + block.drop_path1(block.ls1(mixed))
        changed: torch.Tensor = token + block.drop_path2(block.ls2(block.mlp(block.norm2(token))))
        return changed

    return run


def _eva(network: Any) -> list[tuple[Run, Owned]]:
    """EVA-02, DINOv3 and their kin: each block asks anew for the rotations by which it knows positions.

    Whole where these differ by the block, or are drawn at random while training, as all blocks have the same then.
    """
    rope = network.rope
    drawn = any(getattr(rope, name, None) for name in ("shift_coords", "jitter_coords", "rescale_coords"))
    if network.rope_mixed or drawn or network.patch_drop is not None:
        return _whole(network)
    tables = [network.cls_token, network.reg_token, network.pos_embed]

    def embed(x: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = network.norm_pre(network._pos_embed(network.patch_embed(x))[0])
        return embedded

    def rotations(x: torch.Tensor) -> torch.Tensor | None:
        if rope is None:
            return None
        if not network.dynamic_img_size and hasattr(rope, "feat_shape"):
            fixed: torch.Tensor = rope.get_embed()
            return fixed
        side = math.isqrt(x.shape[1] - network.num_prefix_tokens)  # images are squares
        found: torch.Tensor = rope.get_embed(shape=(side, side))
        return found

    def through(block: Any) -> Run:
        return lambda x: block(x, rope=rotations(x))

    last = through(network.blocks[-1])
    tail = [network.norm, network.attn_pool, network.fc_norm, network.head_drop, network.head]
    return [
        (embed, [network.patch_embed, network.pos_drop, network.norm_pre, rope, *tables]),
        *((through(block), [block]) for block in network.blocks[:-1]),
        (_features(network, lambda x: network.norm(last(x))), [network.blocks[-1], *tail]),
    ]


def _swin(network: Any) -> list[tuple[Run, Owned]]:
    table = getattr(network, "absolute_pos_embed", None)
    last = network.layers[-1]
    return [
        (network.patch_embed, [network.patch_embed, table]),
        *((group, [group]) for group in network.layers[:-1]),
        (_features(network, lambda x: network.norm(last(x))), [last, network.norm, network.head]),
    ]


_SPLITTERS: tuple[tuple[Any, Callable[[Any], list[tuple[Run, Owned]]]], ...] = (
    (ResNet, _resnet),
    (RegNet, _regnet),
    (EfficientNet, _efficientnet),
    (MobileNetV3, _mobilenetv3),
    (ConvNeXt, _convnext),
    (VisionTransformer, _vit),
    (Eva, _eva),
    ((SwinTransformer, SwinTransformerV2), _swin),
)
