"""L-BFGS: where a smooth convex function, such as the loss of a linear head, is least (Nocedal & Wright 2006, 7.2).

torch has one, but any optimizer of torch's loads its compiler, 1.3 s in which no head is fitted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from autotl.budget import Clock

#: Pairs of a step and what it did to the gradient that make up the curvature known. Heads on features of three sets end
#: where they do with torch's hundred; with 10 up to 8e-4 above, at the weakest penalties.
HISTORY = 30

#: Bytes of these pairs at most, and pairs in any case: heads of thousands of classes have vectors of 100 MB.
MOST_KEPT, FEWEST_PAIRS = 2**29, 3

#: A step is taken that lowers the function by this share of what its slope promised (Nocedal & Wright's values), …
_SUFFICIENT = 1e-4
#: … and leaves at most this share of the slope.
_FLATTER = 0.9

#: Of a function's value: below it nothing can be found along a line. 40 logistic regressions that end there took 1018
#: evaluations before it was looked at, 483 since, and torch 467.
_ROUNDING = torch.finfo(torch.float32).eps

#: Points that are tried along a line at most: rounding may leave nothing to be found.
_TRIES = 12


@dataclass(frozen=True)
class _Point:
    """How far along a line; the function, its gradient and slope there."""

    way: float
    value: float
    gradient: torch.Tensor
    slope: float


@dataclass(frozen=True)
class _Curvature:
    """A step, what it did to the gradient, and the product of both."""

    step: torch.Tensor
    change: torch.Tensor
    along: float


def least(
    function: Callable[..., torch.Tensor],
    start: Sequence[torch.Tensor],
    *,
    evaluations: int,
    smallest_change: float,
    smallest_gradient: float = 1e-7,
    clock: Clock | None = None,
) -> list[torch.Tensor]:
    """The arguments ``float32`` at which `function`, a scalar of as many tensors, is least, beginning at `start`.

    Ends when a step changes the function or each number by less than `smallest_change`, or promises no more than
    rounding would hide, when no part of the gradient is above `smallest_gradient`, after about so many `evaluations`,
    or when the clock does.
    """
    shapes, sizes = [part.shape for part in start], [part.numel() for part in start]
    spent = 0

    def split(flat: torch.Tensor) -> list[torch.Tensor]:
        return [part.view(shape) for part, shape in zip(torch.split(flat, sizes), shapes, strict=True)]

    def evaluate(flat: torch.Tensor) -> tuple[float, torch.Tensor]:
        nonlocal spent
        spent += 1
        parts = [part.detach().requires_grad_() for part in split(flat)]
        value = function(*parts)
        gradients = torch.autograd.grad(value, parts)
        return float(value.detach()), torch.cat([gradient.flatten() for gradient in gradients])

    here = torch.cat([part.flatten() for part in start])
    value, gradient = evaluate(here)
    met: deque[_Curvature] = deque(maxlen=max(min(HISTORY, MOST_KEPT // (8 * here.numel())), FEWEST_PAIRS))
    while float(gradient.abs().max()) > smallest_gradient and spent < evaluations:
        if clock is not None and clock.remaining <= 0:
            break
        direction = _newton(gradient, met)
        begin = _Point(0.0, value, gradient, float(gradient @ direction))
        if met and -begin.slope / 2 <= _ROUNDING * abs(value):  # what a whole step promises
            break
        first = 1.0 if met else min(1.0, 1.0 / float(gradient.abs().sum()))
        end = _searched(evaluate, here, direction, begin, first)
        if end.value > value or not end.way:
            break
        step, change = end.way * direction, end.gradient - gradient
        here, before, value, gradient = here + step, value, end.value, end.gradient
        if before - value < smallest_change or float(step.abs().max()) <= smallest_change:
            break
        if (along := float(step @ change)) > 1e-10:
            met.append(_Curvature(step, change, along))
    return split(here)


def _newton(gradient: torch.Tensor, met: Sequence[_Curvature]) -> torch.Tensor:
    """Where Newton's method would go, by the curvature that steps have met: the two loops of L-BFGS."""
    direction = -gradient
    shares = []
    for one in reversed(met):
        share = float(one.step @ direction) / one.along
        direction.sub_(one.change, alpha=share)
        shares.append(share)
    if met:
        last = met[-1]
        direction.mul_(last.along / float(last.change @ last.change))
    for one, share in zip(met, reversed(shares), strict=True):
        direction.add_(one.step, alpha=share - float(one.change @ direction) / one.along)
    return direction


def _searched(
    evaluate: Callable[[torch.Tensor], tuple[float, torch.Tensor]],
    here: torch.Tensor,
    direction: torch.Tensor,
    begin: _Point,
    way: float,
) -> _Point:
    """A point that lies low enough and is flat enough; the lowest found where rounding leaves none (3.5 and 3.6)."""
    low, high = begin, None
    for _ in range(_TRIES):
        value, gradient = evaluate(here + way * direction)
        point = _Point(way, value, gradient, float(gradient @ direction))
        enough = begin.value + _SUFFICIENT * way * begin.slope
        if not value <= min(low.value, enough):  # or is no number
            high = point
        elif abs(point.slope) <= -_FLATTER * begin.slope:
            return point
        elif point.slope > 0:
            high = point
        else:
            low = point
        if high is not None:
            way = _between(low, high)
        else:  # to where the slope, taken for a straight line, is zero
            fall = point.slope / begin.slope
            way *= min(100.0, max(2.0, 1 / (1 - fall))) if fall < 1 else 100.0
    return low


def _between(low: _Point, high: _Point) -> float:
    """Where the cubic through both has its least value, not too near to either."""
    width = high.way - low.way
    bend = low.slope + high.slope - 3 * (low.value - high.value) / (low.way - high.way)
    root = bend * bend - low.slope * high.slope
    share = 0.5
    if root >= 0:
        share = 1 - (high.slope + root**0.5 - bend) / (high.slope - low.slope + 2 * root**0.5)
    return low.way + width * min(0.9, max(0.1, share))  # in this order of what is no number too
