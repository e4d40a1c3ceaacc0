"""What networks run on: the processor, or an accelerator."""

from __future__ import annotations

import functools
import logging

import torch

logger = logging.getLogger(__name__)


@functools.cache
def best_device() -> torch.device:
    """An accelerator where there is one that computes: torch also finds those that are full, or that it has no kernels
    for any more.
    """
    if torch.cuda.is_available():
        try:
            torch.ones(8, 8, device="cuda").sum().item()
            return torch.device("cuda")
        except RuntimeError as error:
            said = next(iter(str(error).splitlines()), "")
            logger.warning("the GPU cannot be used (%s): computing on the processor", said)
    return torch.device("cpu")


def wait_for(device: torch.device) -> None:
    """Until an accelerator has done all that it was given, which it does while the program goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
