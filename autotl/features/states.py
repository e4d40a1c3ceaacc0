"""A batch's state taken apart into rows that can be kept, and put together again beside other rows.

A state may have a `mask` ``[batch, length]``, true where there is something; what is true comes first. Tensors that
run along this length (the activations of tokens) are kept without their padding and padded anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.features.segments import Row

if TYPE_CHECKING:
    from autotl.plugins.contracts import State

#: What fp16 may lose of a channel's largest value: a half of what bf16 rounds off. Beyond 65504 it loses everything,
#: and below a millionth too much.
_MOST_LOST = 2.0**-9


def pack(state: State, *, exact: bool, channels_last: bool) -> list[Row]:
    """One row of arrays for each row of the batch; maps with the channels last when the network runs like that.

    exact: keep fp32 as it is. Otherwise it becomes fp16 where it fits: behind a pass in bf16, which rounds eight times
    as coarsely, that changes nothing that matters. bf16 itself is kept bit by bit, as uint16.
    """
    mask = state.get("mask")
    lengths = None if mask is None else (mask != 0).sum(1).tolist()
    arrays = {name: _to_array(tensor, exact, channels_last) for name, tensor in state.items()}
    rows: list[Row] = []
    for place in range(len(state["x"])):
        row = {name: array[place] for name, array in arrays.items()}
        if mask is not None and lengths is not None:
            row = {
                name: array[: lengths[place]] if _runs_along(state[name], mask) else array
                for name, array in row.items()
            }
        # copies, so that no row keeps its whole batch in memory
        rows.append({name: array.copy() for name, array in row.items()})
    return rows


def unpack(rows: Sequence[Row], *, channels_last: bool) -> State:
    """The batch of rows that `pack` made, on the CPU and as exact as it was kept, padded with zeros to the longest."""
    state: State = {}
    for name, first in rows[0].items():
        arrays = [row[name] for row in rows]
        longest = max((array.shape[0] for array in arrays if array.ndim), default=0)
        shape = (len(rows), longest, *first.shape[1:]) if first.ndim else (len(rows),)
        dtype = np.result_type(*{array.dtype for array in arrays})
        even = all(array.shape == shape[1:] for array in arrays)
        batch = np.empty(shape, dtype) if even else np.zeros(shape, dtype)
        for place, array in enumerate(arrays):
            if even:
                batch[place] = array
            else:
                batch[place, : array.shape[0]] = array
        state[name] = _to_tensor(batch, channels_last)
    return state


def _runs_along(tensor: torch.Tensor, mask: torch.Tensor) -> bool:
    """Whether dimension 1 is the mask's: not for pooled features, whose width may be as large by chance."""
    if tensor.ndim < 2 or tensor.shape[1] != mask.shape[1]:
        return False
    return tensor.ndim > 2 or (tensor.shape == mask.shape and (tensor is mask or not tensor.is_floating_point()))


def _to_array(tensor: torch.Tensor, exact: bool, channels_last: bool) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if tensor.ndim == 4 and channels_last:
        tensor = tensor.permute(0, 2, 3, 1)
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy()
    channel = 1 if tensor.ndim == 4 and not channels_last else -1
    if tensor.dtype == torch.float32 and not exact and _fits_half(tensor, channel):
        tensor = tensor.half()
    return tensor.numpy()


def _fits_half(tensor: torch.Tensor, channel: int) -> bool:
    """Whether fp16 holds the values of every channel: each may be of another magnitude, and matter as much."""
    others = [dimension for dimension in range(tensor.ndim) if dimension != channel % tensor.ndim]
    lost = (tensor - tensor.half().float()).abs().amax(others)
    return bool((lost <= _MOST_LOST * tensor.abs().amax(others)).all())


def _to_tensor(batch: np.ndarray, channels_last: bool) -> torch.Tensor:
    tensor = torch.from_numpy(batch)
    if tensor.dtype == torch.uint16:
        tensor = tensor.view(torch.bfloat16)
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 and channels_last else tensor
