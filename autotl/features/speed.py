"""Which number format and memory layout are fastest here, and how fast: measured, never assumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from autotl.features.device import best_device
from autotl.features.precision import HALVES, Format, Precision
from autotl.files import write_durably
from autotl.untrusted import read_object

#: A lower precision must pay clearly before its rounding is accepted.
WORTH_IT = 1.15

#: Kernels that give the same numbers need to be faster by no more than the noise.
SAME = 1.05

#: Steps of so few seconds are timed three times: that costs little, and a moment's disturbance decides less.
SHORT_STEP = 0.1

#: Beside steps of so many seconds warming up is little, so that the first of them tells who is far behind: by so much.
LONG_STEP, FAR_BEHIND = 0.5, 1.5

#: A format that is further behind is not tried with plain attention. On a Xeon with AMX a training step of MiniLM took
#: 14 ms a row in bf16 with the fused kernel, 3.6 without, and 5 in fp32 either way.
WORTH_OF_PLAIN = 4.0

#: A race in which this process got less of its cores was disturbed by others: its winner is for this process only.
BUSY = 0.6

#: What was measured is written down again where it has changed by so much: each time it waits for the disk.
CHANGED = 1.25

#: Steps of so few seconds are mostly one thread's work, which says nothing about the other cores.
ONE_THREAD = 0.02


@dataclass(frozen=True)
class Speed:
    """How one pass of one network runs best, and a row's seconds then; `exact` are those in fp32."""

    precision: Precision
    seconds_a_row: float
    exact: float


class SpeedBook:
    """What was measured on this machine with these versions, written down so that later runs agree with this one."""

    def __init__(self, folder: Path | None, versions: str = "") -> None:
        """folder: None keeps nothing. versions: of the packages beside torch that decide how fast a network is."""
        machine = f"{_processor()}|{os.cpu_count()}|{torch.get_num_threads()}|{torch.__version__}|{versions}"
        machine += f"|{WORTH_OF_PLAIN}"  # what was raced when fewer were tried is raced again
        name = f"speed-{hashlib.sha256(machine.encode()).hexdigest()[:12]}.json"
        self._path = None if folder is None else folder / name
        self._known = {} if self._path is None else _read_speeds(self._path)
        self._written = {key: speed.seconds_a_row for key, speed in self._known.items()}
        self._ours: set[str] = set()  #: what this process has measured
        self._unsure: set[str] = set()

    def is_stale(self, key: str) -> bool:
        """Whether what is known is an earlier process's: of other texts, or of a machine that was busy."""
        return key in self._known and key not in self._ours

    def known(self, key: str) -> Speed | None:
        return self._known.get(key)

    def race(self, key: str, options: Sequence[Precision], step: Callable[[Precision], float], *, rows: int) -> Speed:
        """The quickest of `options` at `step`, raced now unless `key` is in the book.

        `step` passes `rows` rows and returns the seconds that count.
        """
        if key not in self._known:
            began, used = time.perf_counter(), time.process_time()
            precision, taken = _race(options, step)
            seconds = taken[precision]
            exact = min((taken[option] for option in taken if option.exact), default=seconds)
            self._known[key] = Speed(precision, seconds / rows, exact / rows)
            self._ours.add(key)
            share = (time.process_time() - used) / (time.perf_counter() - began) / torch.get_num_threads()
            if best_device().type == "cuda" or share > BUSY or seconds < ONE_THREAD:
                self._write()
            else:
                self._unsure.add(key)
        return self._known[key]

    def learn(self, key: str, seconds_a_row: float) -> None:
        """Corrects a race by what the same pass took in earnest."""
        if raced := self._known.get(key):
            exact = raced.exact * seconds_a_row / raced.seconds_a_row if raced.seconds_a_row else seconds_a_row
            self._known[key] = Speed(raced.precision, seconds_a_row, exact)
            self._ours.add(key)
            before = self._written.get(key, 0.0)
            if not before / CHANGED < seconds_a_row < before * CHANGED:
                self._write()

    def _write(self) -> None:
        """Adds what this process knows to what others have written meanwhile."""
        if self._path is None:
            return
        known = _read_speeds(self._path) | {key: self._known[key] for key in self._ours - self._unsure}
        self._written = {key: speed.seconds_a_row for key, speed in known.items()}
        entries = {key: asdict(speed) for key, speed in known.items()}
        with contextlib.suppress(OSError):  # where nothing can be kept, the next process races again
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, json.dumps(entries, indent=1, sort_keys=True))


class SettledSpeeds(SpeedBook):
    """Races nothing, so that what is computed does not depend on how fast anything was, and keeps nothing.

    Processors compute in fp32, images with the channels last, as predictions do; accelerators in 16 bits, which is
    several times as fast there whatever the network.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(None)
        self._exact = device.type == "cpu"

    def race(self, key: str, options: Sequence[Precision], step: Callable[[Precision], float], *, rows: int) -> Speed:
        if key not in self._known:
            wanted = [option for option in options if option.exact == self._exact][:1]
            for settled in [*wanted, *(option for option in options if option.exact)]:
                step(settled)  # warms up, as in `_race`
                seconds = step(settled) / rows
                if math.isfinite(seconds):  # else its numbers are not, in 16 bits
                    break
            self._known[key] = Speed(settled, seconds, seconds)
        return self._known[key]


def _read_speeds(path: Path) -> dict[str, Speed]:
    """What was written down; nothing where that cannot be read."""
    try:
        return {
            key: Speed(Precision(**entry["precision"]), float(entry["seconds_a_row"]), float(entry["exact"]))
            for key, entry in read_object(path).items()
        }
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return {}


class _AttentionWatch(TorchFunctionMode):
    """Notices whether a network has attention that could run in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= func is torch.nn.functional.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


def _race(options: Sequence[Precision], step: Callable[[Precision], float]) -> tuple[Precision, dict[Precision, float]]:
    """The option whose `step` is quickest, and the seconds of each; a later one wins only when it pays clearly.

    The first step of each warms up: kernels are chosen and weights are repacked in it. The quickest of each number
    format that is not far behind is tried with plain attention too; with the fused one, attention may hide what a
    format is worth.
    """
    taken: dict[Precision, float] = {}
    watch = _AttentionWatch()

    def run(option: Precision) -> None:
        with contextlib.nullcontext() if taken else watch:  # which takes time itself, so not while it counts
            seconds = step(option)
        if seconds < max(LONG_STEP, FAR_BEHIND * min(taken.values(), default=math.inf)):
            seconds = step(option)
        taken[option] = seconds if seconds > SHORT_STEP else min(seconds, step(option), step(option))

    for option in options:
        run(option)
    if len(options) == 1:
        return options[0], taken
    if watch.seen:
        for alike in ([option for option in options if option.exact == exact] for exact in (True, False)):
            quickest = min(alike, key=lambda option: taken[option], default=None)
            plain = quickest and replace(quickest, plain_attention=True)
            if quickest and plain and plain not in taken and taken[quickest] < WORTH_OF_PLAIN * min(taken.values()):
                run(plain)
    first = options[0]

    def handicapped(option: Precision) -> float:
        same = replace(option, plain_attention=False) == first
        return taken[option] * (1.0 if option == first else SAME if same else WORTH_IT)

    return min(taken, key=handicapped), taken


def measure_matrix_product(device: torch.device, half: Format) -> float:
    """How many times faster `half` multiplies matrices here than fp32: a hint, not a promise for any network."""
    matrix = torch.randn(1024, 1024, device=device)
    fastest_seconds = []
    for dtype in (torch.float32, HALVES[half]):
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
    return model + (torch.cuda.get_device_name() if best_device().type == "cuda" else "")
