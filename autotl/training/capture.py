"""A training pass as two launches: small networks on an accelerator wait for a host that starts kernel after kernel."""

from __future__ import annotations

import pickle
import random
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from autotl.features.precision import Precision
    from autotl.plugins.contracts import State
    from autotl.training.model import Classifier


class Captured:
    """What a model does to a batch of one shape, and the way back, recorded as CUDA graphs and played from then on.

    Parameters and buffers are read and written where they are, so they may change but not move; dropout draws anew each
    time, from torch's generator of the device. What the network decides in Python is decided once.
    """

    def __init__(
        self, model: Classifier, stage: int, precision: Precision, sample: State, device: torch.device
    ) -> None:
        """Records the pass from a stage on, in the mode that the model is in. Batch statistics see the sample.

        sample: a batch, placed on the device. Raises `RuntimeError` where the pass cannot be recorded: it waits for the
        device, draws from the host's generators, or needs more memory than there is.
        """
        self._shapes = _shapes(sample)
        self._pass = _Pass(model, stage, precision, list(sample), device)
        before = _host_generators()
        # the way back ends on the stream that it was recorded on, and what follows waits for it: torch warns of that
        warnings.filterwarnings("ignore", "The AccumulateGrad node's stream", UserWarning)
        inputs = tuple(tensor.clone() for tensor in sample.values())
        torch.cuda.make_graphed_callables(self._pass, inputs, allow_unused_input=True)  # type: ignore[no-untyped-call]
        if _host_generators() != before:
            raise RuntimeError("the network draws from the host's generators")
        # left in the module it would be a cycle, and the memory not free before that is collected
        self._play: Callable[..., torch.Tensor] = self._pass.__dict__.pop("forward")

    def takes(self, state: State) -> bool:
        """Whether the batch has the shape of the sample."""
        return _shapes(state) == self._shapes

    def __call__(self, state: State) -> torch.Tensor:
        """Logits ``[batch, outputs] float32``, whose memory the next call uses again."""
        return self._play(*state.values())


class _Pass(torch.nn.Module):
    """From tensors to logits, which is what torch records."""

    def __init__(
        self, model: Classifier, stage: int, precision: Precision, names: list[str], device: torch.device
    ) -> None:
        super().__init__()
        self._model = model
        self._stage, self._precision, self._names, self._device = stage, precision, names, device

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        with self._precision.autocast(self._device):
            logits: torch.Tensor = self._model(dict(zip(self._names, tensors, strict=True)), self._stage)
        return logits


def _shapes(state: State) -> list[tuple[str, torch.Size, torch.dtype]]:
    return [(name, tensor.shape, tensor.dtype) for name, tensor in state.items()]


def _host_generators() -> bytes:
    """The states of torch's, numpy's and Python's."""
    return pickle.dumps((torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()))
