"""From a number between 0 and 1, which is what Optuna is asked for, to a parameter's value, and back.

The inverse of a prior's distribution function gives Optuna's sampler the prior, which it knows no other way: most of
the unit interval leads to likely values.
"""

from __future__ import annotations

import math
from itertools import accumulate
from statistics import NormalDist

from autotl.plugins.contracts import Choice, Real, Value

#: A value is rounded to so many digits, so that one that went to the unit interval and back is itself again.
_DIGITS = 6


def value_at(parameter: Real | Choice, unit: float) -> Value:
    """The value of a number from 0 to 1."""
    if isinstance(parameter, Choice):
        place = sum(unit >= bound for bound in _bounds(parameter)[1:-1])
        return parameter.options[place]
    low, high, middle = _scaled(parameter)
    if middle is None:
        scaled = low + unit * (high - low)
    else:
        normal = NormalDist(middle, (high - low) / 6)
        below, above = normal.cdf(low), normal.cdf(high)
        scaled = normal.inv_cdf(min(max(below + unit * (above - below), 1e-12), 1 - 1e-12))
    value = math.exp(scaled) if parameter.log else scaled
    return min(max(float(f"{value:.{_DIGITS}g}"), parameter.low), parameter.high)


def unit_of(parameter: Real | Choice, value: Value) -> float:
    """A number that leads to `value`."""
    if isinstance(parameter, Choice):
        bounds = _bounds(parameter)
        place = list(parameter.options).index(value)  # type: ignore[arg-type]
        return (bounds[place] + bounds[place + 1]) / 2
    low, high, middle = _scaled(parameter)
    number = float(value)
    scaled = math.log(number) if parameter.log else number
    if middle is None:
        return min(max((scaled - low) / (high - low), 0.0), 1.0)
    normal = NormalDist(middle, (high - low) / 6)
    below, above = normal.cdf(low), normal.cdf(high)
    return min(max((normal.cdf(scaled) - below) / (above - below), 0.0), 1.0)


def _bounds(parameter: Choice) -> list[float]:
    """Where the part of each option begins, and 1."""
    weights = parameter.weights or (1.0,) * len(parameter.options)
    return [0.0, *accumulate(weight / sum(weights) for weight in weights)]


def _scaled(parameter: Real) -> tuple[float, float, float | None]:
    if not parameter.log:
        return parameter.low, parameter.high, parameter.usual
    usual = None if parameter.usual is None else math.log(parameter.usual)
    return math.log(parameter.low), math.log(parameter.high), usual
