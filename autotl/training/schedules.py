"""Learning-rate schedules: a factor on the peak rate for a trial's progress from 0 to 1.

As functions of progress they fit any length, and a trial that runs late still cools down by its deadline.
"""

from __future__ import annotations

import math
from collections.abc import Callable

#: Share of a trial spent warming up; 10 % is what the stable fine-tuning recipes use (Mosbach et al. 2021).
WARM_UP = 0.1

#: Share of a constant schedule spent cooling down to zero (Hägele et al. 2024 find 10 to 30 % enough).
COOLDOWN = 0.25


def constant_with_cooldown(progress: float) -> float:
    """Warm-up, constant, linear cooldown: its middle does not depend on its length."""
    return min(progress / WARM_UP, 1.0, (1.0 - progress) / COOLDOWN)


def cosine(progress: float) -> float:
    """Warm-up, then half a cosine to zero (Loshchilov and Hutter 2017)."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1.0 + math.cos(math.pi * (progress - WARM_UP) / (1.0 - WARM_UP)))


def linear(progress: float) -> float:
    """Warm-up, then straight to zero, as BERT was fine-tuned."""
    return min(progress / WARM_UP, (1.0 - progress) / (1.0 - WARM_UP))


def one_cycle(progress: float) -> float:
    """A cosine up over 30 % and down to zero (Smith 2018): high rates in the middle regularize."""
    rise = 0.3
    if progress < rise:
        return 0.5 * (1.0 - math.cos(math.pi * progress / rise)) * 0.96 + 0.04
    return 0.5 * (1.0 + math.cos(math.pi * (progress - rise) / (1.0 - rise)))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant-cooldown": constant_with_cooldown,
    "cosine": cosine,
    "linear": linear,
    "one-cycle": one_cycle,
}
