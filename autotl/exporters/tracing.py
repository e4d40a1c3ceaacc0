"""A network as one graph of tensor operations, for any number of rows and any length of texts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.errors import ExportError
from autotl.plugins.contracts import TEXTUAL, InputEncoder, Modality
from autotl.training.model import Classifier

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from autotl.plugins.contracts import State

#: Rows that the network is traced with; one would be taken for a number that never changes.
TRACED = 5


def traced(
    network: Classifier, encoder: InputEncoder, rows: Sequence[np.ndarray], *, modality: Modality, name: str
) -> ExportedProgram:
    """The program from a batch, by name of tensor, to ``[rows, classes] float32`` logits.

    rows: encoded ones. Raises `ExportError` where the network cannot be traced.
    """
    longest = sorted(rows, key=len, reverse=True)[:TRACED]
    if modality in TEXTUAL:  # nor of rows may there be but one token
        longest = [np.concatenate([row, row]) if len(row) == 1 else row for row in longest]
    state = encoder.batch([longest[row % len(longest)] for row in range(TRACED)])
    try:
        program = _program(network, {part: tensor.contiguous() for part, tensor in state.items()}, modality)
    except Exception as error:  # tracing fails in every way that a network's code can
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{name}: this network cannot be traced ({reason}); use the bundle itself") from error
    for limits in program.range_constraints.values():
        # from two on: torch leaves one to the same graph, and every export is tried with one row
        if limits.lower > 2 or limits.upper < (encoder.longest or 0):
            raise ExportError(
                f"{name}: this network computes something else for other numbers of rows or tokens than from "
                f"{limits.lower} to {limits.upper}, which one graph cannot; use the bundle itself"
            )
    return program


def _program(network: Classifier, state: State, modality: Modality) -> ExportedProgram:
    """Rows are free in number, and tokens too, the second dimension of whatever of a text has two."""
    free = torch.export.Dim.DYNAMIC
    shapes = {
        part: {0: free, 1: free} if modality in TEXTUAL and tensor.ndim > 1 else {0: free}
        for part, tensor in state.items()
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(network, (state,), dynamic_shapes=(shapes,))
