"""Contenders side by side: round after round, each runs once, and medians are compared within the run."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Rounds that count; one before them warms everything up.
ROUNDS = 5


def apart(cache: Path) -> dict[str, str]:
    """The environment of a search with a cache of its own, and with no backbones but those that it is given."""
    return os.environ | {"AUTOTL_CACHE": str(cache), "AUTOTL_ZOO": ""}


@dataclass(frozen=True)
class Contender:
    """`run` is timed; what it gets from `prepare` is not. `rows`: where it passes fewer than the others."""

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None
    rows: int | None = None


@dataclass(frozen=True)
class Result:
    """Median seconds of each contender for `rows` rows.

    Ratios are `reference`'s seconds over theirs, so more is faster.
    """

    name: str
    reference: str
    seconds: Mapping[str, float]
    rows: int
    note: str = ""
    spread: Mapping[str, float] = field(default_factory=dict)  #: largest over smallest, of the rounds

    def ratio(self, contender: str) -> float:
        return self.seconds[self.reference] / self.seconds[contender]


def contest(name: str, contenders: Mapping[str, Contender], *, reference: str, rows: int, note: str = "") -> Result:
    """Times `contenders` on the same `rows` rows; the first in the mapping runs first in each round."""
    seconds: dict[str, list[float]] = {key: [] for key in contenders}
    for round_ in range(ROUNDS + 1):
        for key, contender in contenders.items():
            prepared = contender.prepare()
            began = time.perf_counter()
            contender.run(prepared)
            if round_:
                seconds[key].append(time.perf_counter() - began)
    medians = {key: statistics.median(taken) * rows / (contenders[key].rows or rows) for key, taken in seconds.items()}
    spread = {key: max(taken) / min(taken) for key, taken in seconds.items()}
    return Result(name, reference, medians, rows, note, spread)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    from importlib.metadata import version

    import torch

    facts = {name: version(name) for name in ("autotl", "torch", "timm", "transformers")}
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        facts["processor"] = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    facts["threads"] = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    if torch.cuda.is_available():
        facts["accelerator"] = torch.cuda.get_device_name()
    facts["capability"] = torch.backends.cpu.get_cpu_capability()
    facts["system"] = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    facts["load before"] = f"{os.getloadavg()[0]:.2f}"
    return facts


def show_accuracies(found: Mapping[str, Mapping[str, list[float]]], reference: str) -> None:
    """Prints means over seeds by data set and contender.

    Beside each: by how many points it is ahead of `reference` in the mean, and that lead's standard error.
    """
    names = list(dict.fromkeys(name for each in found.values() for name in each))
    print("| |" + "|".join(found) + "|\n|" + "---|" * (len(found) + 1))
    for name in names:
        cells = []
        for each in found.values():
            scores = each.get(name, [])
            cell = f"{statistics.mean(scores):.4f}" if scores else ""
            if scores and name != reference and reference in each:
                leads = [100 * (ours - theirs) for ours, theirs in zip(scores, each[reference], strict=True)]
                error = statistics.stdev(leads) / math.sqrt(len(leads)) if len(leads) > 1 else math.nan
                cell += f" ({statistics.mean(leads):+.1f} ± {error:.1f})"
            cells.append(cell)
        print(f"| {name} |" + "|".join(cells) + "|")
