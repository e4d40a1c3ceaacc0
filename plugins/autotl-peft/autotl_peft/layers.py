"""Adapters in linear layers: where they can go, how they get there, and how they are multiplied out again."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from peft import PeftConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer

from autotl.errors import TrialError

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone
    from autotl.training.model import Classifier
    from autotl.training.trial import Trial


@torch.no_grad()
def linear_layers(backbone: Backbone, trial: Trial, frozen_stages: int) -> dict[str, torch.nn.Linear]:
    """Linear layers above the frozen stages, by their names in ``backbone.stages``, that a pass goes through as such.

    One row is passed to find them: some networks take the weights of a layer and do the product themselves (the last
    block of our vision transformers, Swin v2), and would never notice an adapter. Raises `TrialError` where there are
    none.
    """
    called: set[torch.nn.Module] = set()
    found = {
        f"{depth}.{name}" if name else f"{depth}": module
        for depth, stage in enumerate(backbone.stages)
        for name, module in stage.named_modules()
        if depth >= frozen_stages and type(module) is torch.nn.Linear
    }
    watches = [module.register_forward_hook(lambda module, *_: called.add(module)) for module in found.values()]
    state = trial.frozen.rows.batch(trial.train[:1], trial.device)
    backbone.pool(backbone({name: tensor.to(trial.device) for name, tensor in state.items()}))
    for watch in watches:
        watch.remove()
    layers = {name: module for name, module in found.items() if module in called}
    if not layers:
        raise TrialError(f"{trial.frozen.candidate.key} has no linear layers above stage {frozen_stages} to adapt")
    return layers


def exactly(names: Iterable[str]) -> str:
    """A pattern for these names and no others: lists of names would be matched by their endings."""
    return "|".join(map(re.escape, names))


def adapt(backbone: Backbone, config: PeftConfig, *, seed: int) -> set[int]:
    """Puts adapters into the backbone's layers; returns the identities of their parameters."""
    torch.manual_seed(seed)  # some begin at random
    inject_adapter_in_model(config, backbone.stages)
    return {id(parameter) for parameter in backbone.stages.parameters() if parameter.requires_grad}


@torch.no_grad()
def merge(adapted: Classifier, plain: Classifier) -> None:
    """Gives `plain` the weights and buffers of `adapted`, adapters multiplied out."""
    for name, module in plain.named_modules():
        source = adapted.get_submodule(name)
        if isinstance(source, BaseTunerLayer):
            source = copy.deepcopy(source)
            source.merge()
            source = source.get_base_layer()
        for ours, theirs in (
            *zip(module.parameters(recurse=False), source.parameters(recurse=False), strict=True),
            *zip(module.buffers(recurse=False), source.buffers(recurse=False), strict=True),
        ):
            ours.copy_(theirs)
