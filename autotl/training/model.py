"""A backbone and a linear head: what is trained, evaluated, saved and shipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autotl.errors import BundleError
from autotl.features.frozen import pooled
from autotl.features.heads import LinearHead
from autotl.features.layers import Layered
from autotl.untrusted import read_header, refuse_links
from autotl.usage import folder_bytes, free_memory

if TYPE_CHECKING:
    from autotl.features.precision import Precision
    from autotl.features.rows import EncodedRows
    from autotl.plugins.contracts import Backbone, InputEncoder, ModelFamily, State

HEAD_FILE = "head.safetensors"
BACKBONE_FOLDER = "backbone"


class Classifier(torch.nn.Module):
    """``[batch, outputs] float32`` from a batch: logits of classes or labels, or numbers as they are learned."""

    def __init__(self, backbone: Backbone | Layered, head: LinearHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = torch.nn.Linear(*head.weight.shape)
        self.set_head(head)

    @torch.no_grad()
    def set_head(self, head: LinearHead) -> None:
        """Puts these numbers into the head."""
        self.head.weight.copy_(torch.from_numpy(head.weight.T))
        self.head.bias.copy_(torch.from_numpy(head.bias))

    def forward(self, state: State, start: int = 0) -> torch.Tensor:
        features = self.backbone.pool(self.backbone(state, start))
        with torch.autocast(features.device.type, enabled=False):  # the head is small, and its rounding is not
            logits: torch.Tensor = self.head(features.float())
        return logits

    def linear_head(self) -> LinearHead:
        weight, bias = self.head.weight.detach().cpu().numpy(), self.head.bias.detach().cpu().numpy()
        return LinearHead(np.ascontiguousarray(weight.T), bias.copy())

    def logits(self, rows: EncodedRows, indices: np.ndarray, precision: Precision, device: torch.device) -> np.ndarray:
        """``[rows, outputs] float32`` for readable rows, without gradients, in eval mode."""
        return self.linear_head().logits(pooled(self.backbone, rows, indices, precision, device))


def save_model(model: Classifier, family: ModelFamily, encoder: InputEncoder, folder: Path) -> None:
    """Writes the weights of backbone and head (safetensors) and how to read inputs, into a new folder."""
    (folder / BACKBONE_FOLDER).mkdir(parents=True)
    head = {"weight": model.head.weight.detach().cpu().contiguous(), "bias": model.head.bias.detach().cpu()}
    backbone = model.backbone
    if isinstance(backbone, Layered):
        head["lowest"] = torch.tensor(backbone.lowest)
        backbone = backbone.plain
    family.save(backbone, encoder, folder / BACKBONE_FOLDER)
    save_file(head, folder / HEAD_FILE)


def load_model(family: ModelFamily, folder: Path) -> tuple[Classifier, InputEncoder]:
    """What `save_model` wrote. Raises `BundleError` when files are missing, torn, or not what a model has.

    All its files lie in `folder` itself: a link to somewhere else is refused.
    """
    try:
        refuse_links(folder)
        size, free = folder_bytes(folder), free_memory()
        if free is not None and size > free:
            raise ValueError(f"it has {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB of memory are free")
        read_header(folder / HEAD_FILE)
        head = load_file(folder / HEAD_FILE)
        backbone: Backbone | Layered
        backbone, encoder = family.restore(folder / BACKBONE_FOLDER)
        weight, bias = head["weight"].float().numpy(), head["bias"].float().numpy()
        if "lowest" in head:
            lowest, stages = int(head["lowest"]), len(backbone.stages)
            if not 1 <= lowest <= stages:
                raise ValueError(f"a head on stages from {lowest} of {stages}")
            backbone = Layered(backbone, lowest, width=weight.shape[-1])
        if weight.shape != (len(bias), backbone.width):
            raise ValueError(f"a head of {weight.shape} for {backbone.width} features")
    except Exception as error:  # whatever a library says of a torn file, it means this
        raise BundleError(f"{folder}: the model cannot be loaded ({type(error).__name__}: {error})") from error
    return Classifier(backbone, LinearHead(np.ascontiguousarray(weight.T), bias)).eval(), encoder
