"""Which number format and memory layout are fastest here: measured, never assumed.

bfloat16 makes most networks two to three times faster on processors that have it, and some slower.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from autotl.files import write_durably

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone, State

#: A lower precision must pay clearly before its rounding is accepted.
WORTH_IT = 1.15


@dataclass(frozen=True)
class Precision:
    """How a network runs: `bf16` autocast or fp32, channels last or first."""

    bf16: bool = False
    channels_last: bool = False

    def __str__(self) -> str:
        return ("bf16" if self.bf16 else "fp32") + (", channels last" if self.channels_last else "")

    def autocast(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.bf16)

    def arrange(self, backbone: Backbone) -> None:
        """Lays out the weights of `backbone` in place."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        backbone.to(memory_format=layout)  # type: ignore[call-overload]

    def place(self, state: State, device: torch.device) -> State:
        """The state on `device`, images in this layout."""
        placed = {name: tensor.to(device, non_blocking=True) for name, tensor in state.items()}
        if placed["x"].ndim == 4:
            layout = torch.channels_last if self.channels_last else torch.contiguous_format
            placed["x"] = placed["x"].contiguous(memory_format=layout)
        return placed


def options_for(state: State) -> list[Precision]:
    """What is worth racing for this input: layouts matter for images only. fp32 first."""
    layouts = [True, False] if state["x"].ndim == 4 else [False]
    return [Precision(bf16, channels_last) for bf16 in (False, True) for channels_last in layouts]


class PrecisionBook:
    """Races each network once a machine and writes the winner down, so that later runs agree with this one."""

    def __init__(self, folder: Path) -> None:
        machine = f"{_processor()}|{os.cpu_count()}|{torch.get_num_threads()}|{torch.__version__}"
        self._path = folder / f"precision-{hashlib.sha256(machine.encode()).hexdigest()[:12]}.json"
        try:
            self._known: dict[str, dict[str, bool]] = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def choose(self, key: str, options: Sequence[Precision], step: Callable[[Precision], None]) -> Precision:
        """The quickest of `options` at `step`, raced now unless `key` is in the book."""
        if key not in self._known:
            self._known[key] = asdict(_race(options, step))
            with contextlib.suppress(OSError):  # where nothing can be kept, the next process races again
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_durably(self._path, json.dumps(self._known, indent=1, sort_keys=True))
        return Precision(**self._known[key])


def _race(options: Sequence[Precision], step: Callable[[Precision], None]) -> Precision:
    """The option whose second `step` is quickest; the first is kept unless another pays clearly.

    The first step of each warms up: kernels are chosen and weights are repacked in it.
    """
    best, best_seconds = options[0], float("inf")
    for option in options:
        step(option)
        start = time.perf_counter()
        step(option)
        seconds = time.perf_counter() - start
        if seconds * (WORTH_IT if option != options[0] else 1.0) < best_seconds:
            best, best_seconds = option, seconds
    return best


def measure_matrix_product(device: torch.device) -> float:
    """How many times faster bf16 multiplies matrices here than fp32: a hint, not a promise for any network."""
    matrix = torch.randn(1024, 1024, device=device)
    fastest_seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        operand, seconds = matrix.to(dtype), []
        for _ in range(5):
            began = time.perf_counter()
            (operand @ operand).float().sum().item()
            seconds.append(time.perf_counter() - began)
        fastest_seconds.append(min(seconds))
    return fastest_seconds[0] / fastest_seconds[1]


def _processor() -> str:
    """The processor's model, and the accelerator's where there is one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags")))
        flags = next((line for line in lines if line.startswith("flags")), "")
        model += hashlib.sha256(flags.encode()).hexdigest()[:8]
    except (OSError, StopIteration):
        model = platform.processor()
    return model + (torch.cuda.get_device_name() if torch.cuda.is_available() else "")
