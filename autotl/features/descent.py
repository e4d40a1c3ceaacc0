"""L-BFGS: where a smooth convex function, such as the loss of a linear head, is least (Nocedal & Wright 2006, 7.2).

torch has one, but any optimizer of torch's loads its compiler, 1.3 s in which no head is fitted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

#: Pairs of a step and what it did to the gradient that make up the curvature known. Heads on features of three sets end
#: where they do with torch's hundred; with 10 up to 8e-4 above, at the weakest penalties.
HISTORY = 30

#: A step is taken that lowers the function by this share of what its slope promised (Nocedal & Wright's values), …
_SUFFICIENT = 1e-4
#: … and leaves at most this share of the slope.
_FLATTER = 0.9

#: Points that are tried along a line at most: rounding may leave nothing to be found.
_TRIES = 12


@dataclass(frozen=True)
class _Point:
    """How far along a line; the function, its gradient and slope there."""

    way: float
    value: float
    gradient: torch.Tensor
    slope: float


def least(
    function: Callable[..., torch.Tensor],
    start: Sequence[torch.Tensor],
    *,
    evaluations: int,
    smallest_change: float,
    smallest_gradient: float = 1e-7,
) -> list[torch.Tensor]:
    """The arguments ``float32`` at which `function`, a scalar of as many tensors, is least, beginning at `start`.

    Ends when a step changes the function or each number by less than `smallest_change`, when no part of the gradient
    is above `smallest_gradient`, or after about so many `evaluations`.
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
    pairs: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=HISTORY)
    while float(gradient.abs().max()) > smallest_gradient and spent < evaluations:
        direction = _newton(gradient, pairs)
        begin = _Point(0.0, value, gradient, float(gradient @ direction))
        first = 1.0 if pairs else min(1.0, 1.0 / float(gradient.abs().sum()))

        end = _searched(evaluate, here, direction, begin, first)
        if end.value > value or not end.way:
            break
        step, change = end.way * direction, end.gradient - gradient
        here, before, value, gradient = here + step, value, end.value, end.gradient
        if before - value < smallest_change or float(step.abs().max()) <= smallest_change:
            break
        if float(step @ change) > 1e-10:
            pairs.append((step, change))
    return split(here)


def _newton(gradient: torch.Tensor, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Where Newton's method would go, by the curvature that steps have met: the two loops of L-BFGS."""
    direction = -gradient
    shares = []
    for step, change in reversed(pairs):
        share = (step @ direction) / (step @ change)
        direction = direction.sub_(share * change)
        shares.append(share)
    if pairs:
        step, change = pairs[-1]
        direction = direction.mul_((step @ change) / (change @ change))
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        direction = direction.add_((share - (change @ direction) / (step @ change)) * step)
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
