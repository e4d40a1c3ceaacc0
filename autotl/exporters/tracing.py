"""A network as one graph of tensor operations, for any number of rows and any length of texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.errors import ExportError
from autotl.plugins.contracts import InputEncoder, Modality
from autotl.training.model import Classifier

if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: Rows that the network is traced with; one would be taken for a number that never changes, and so would two where
#: something else in the network is two.
TRACED = 5


def traced(
    network: Classifier, encoder: InputEncoder, rows: Sequence[np.ndarray], *, modality: Modality, name: str
) -> ExportedProgram:
    """The program from a batch, by name of tensor, to ``[rows, classes] float32`` logits.

    rows: encoded ones. Raises `ExportError` where the network cannot be traced.
    """
    longest = sorted(rows, key=len, reverse=True)[:TRACED]
    state = encoder.batch([longest[row % len(longest)] for row in range(TRACED)])
    free = torch.export.Dim.DYNAMIC
    shapes = {
        part: {0: free, 1: free} if modality == "text" and tensor.ndim > 1 else {0: free}
        for part, tensor in state.items()
    }
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                network, ({part: tensor.contiguous() for part, tensor in state.items()},), dynamic_shapes=(shapes,)
            )
    except Exception as error:  # tracing fails in every way that a network's code can
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(
            f"{name}: torch.export cannot trace this network ({reason}); use the bundle itself"
        ) from error
    for limits in program.range_constraints.values():
        # torch takes a size of one for granted where two will do
        if limits.lower > 2 or limits.upper < (encoder.longest or 0):
            raise ExportError(
                f"{name}: this network computes something else for other numbers of rows or tokens than from "
                f"{limits.lower} to {limits.upper}, which one graph cannot; use the bundle itself"
            )
    return program
