"""Batch normalization folded into the convolutions before it, for passes of which nothing is learned.

In evaluation it multiplies and adds a constant by channel, which the convolution can do itself (Jacob et al. 2018,
section 3.2): the pass reads and writes every map once less.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

#: Of the sample that the two networks are compared on: all stages of a network divide it.
_SAMPLE = (2, 3, 64, 64)

#: How far folded features may be off, of the largest: rounding is a tenth of it.
_TOLERANCE = 1e-4


@torch.no_grad()
def folded(network: Any) -> Any | None:
    """A copy in eval mode that gives the same. None where there is nothing to fold, or it would not be the same.

    network: of timm, made with ``num_classes=0``, on any device.
    """
    found = copy.deepcopy(network).eval()
    if not any(isinstance(module, nn.BatchNorm2d) for module in found.modules()):
        return None
    weight = next(found.parameters())
    sample = torch.randn(_SAMPLE, generator=torch.Generator().manual_seed(0)).to(weight.device, weight.dtype)
    try:
        expected = found(sample)
    except (AssertionError, RuntimeError, ValueError):  # made for one size of pictures
        return None
    for convolution, name in _pairs(found, sample):
        norm = found.get_submodule(name)
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        parent, _, child = name.rpartition(".")
        setattr(found.get_submodule(parent), child, _rest_of(norm))
    off = (found(sample) - expected).abs().max()
    return found if bool(off <= _TOLERANCE * expected.abs().max()) else None


def _rest_of(norm: nn.Module) -> nn.Module:
    """What a normalization does behind itself."""
    return nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()


def _pairs(network: nn.Module, sample: Tensor) -> list[tuple[nn.Conv2d, str]]:
    """Each convolution whose output goes into a normalization as it is, and the name of that.

    Whether it goes elsewhere, too, only the result tells.
    """
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the identity of the output, which is kept to stay its own
    pairs, calls, handles = list[tuple[nn.Conv2d, str]](), list[int](), list[Any]()

    def convolved(convolution: Any, _: Any, output: Tensor) -> None:
        calls.append(id(convolution))
        made[id(output)] = convolution, output

    def normalizing(name: str) -> Any:
        def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            calls.append(id(norm))
            if id(inputs[0]) in made:
                pairs.append((made[id(inputs[0])][0], name))

        return look

    for name, module in network.named_modules():
        if type(module) in (nn.Conv2d, Conv2dSame):  # others do something with their weights first
            handles.append(module.register_forward_hook(convolved))
        if type(module) in (nn.BatchNorm2d, BatchNormAct2d) and module.track_running_stats and module.affine:
            handles.append(module.register_forward_pre_hook(normalizing(name)))
    try:
        network(sample)
    finally:
        for handle in handles:
            handle.remove()
    once = {number for number in calls if calls.count(number) == 1}
    return [(conv, name) for conv, name in pairs if {id(conv), id(network.get_submodule(name))} <= once]
