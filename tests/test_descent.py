"""L-BFGS against minima that are known: in closed form, or by torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autotl.features.descent import least


def bowl(size: int, condition: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A symmetric matrix whose eigenvalues go from 1 to `condition`, and a place."""
    random = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(random.normal(size=(size, size)))
    matrix = axes @ np.diag(np.geomspace(1, condition, size)) @ axes.T
    return torch.tensor(matrix, dtype=torch.float32), torch.tensor(random.normal(size=size), dtype=torch.float32)


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 30), condition=st.floats(1, 300), seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_the_bottom_of_a_bowl_is_found(size, condition, seed, scale):
    matrix, place = bowl(size, condition, seed)

    def function(x):
        return scale * ((x - place) @ matrix @ (x - place)) / 2

    (found,) = least(function, [torch.zeros(size)], evaluations=400, smallest_change=0.0)
    start = function(torch.zeros(size))
    assert function(found) <= 1e-5 * start + 1e-12


def logistic(rows=300, width=20, classes=4):
    random = np.random.default_rng(0)
    inputs = torch.tensor(random.normal(size=(rows, width)) * np.geomspace(0.1, 3, width), dtype=torch.float32)
    labels = torch.tensor(random.integers(0, classes, rows))

    def loss(weight, bias):
        fit = torch.nn.functional.cross_entropy(inputs @ weight + bias, labels)
        return fit + 1e-3 * weight.square().sum()

    return loss, [torch.zeros(width, classes), torch.zeros(classes)]


def test_several_tensors_are_found_as_by_torch_in_as_many_evaluations():
    loss, start = logistic()
    calls = []

    def counted(*parts):
        calls.append(parts)
        return loss(*parts)

    ours = least(counted, start, evaluations=200, smallest_change=1e-7)
    theirs = [part.clone().requires_grad_() for part in start]
    solver = torch.optim.LBFGS(theirs, max_iter=160, line_search_fn="strong_wolfe", tolerance_change=1e-7)
    torchs = []

    def evaluate():
        solver.zero_grad()
        value = loss(*theirs)
        value.backward()
        torchs.append(value)
        return value

    solver.step(evaluate)
    assert [part.shape for part in ours] == [part.shape for part in start]
    assert loss(*ours).item() == pytest.approx(loss(*theirs).item(), abs=1e-5)
    assert len(calls) <= 1.2 * len(torchs)
    assert all(not part.any() for part in start), "the start is left as it was"


@pytest.mark.parametrize("evaluations", [1, 2, 10])
def test_it_ends_after_about_so_many_evaluations_lower_than_it_began(evaluations):
    loss, start = logistic()
    calls = []

    def counted(*parts):
        calls.append(parts)
        return loss(*parts)

    found = least(counted, start, evaluations=evaluations, smallest_change=0.0)
    assert len(calls) < evaluations + 12
    assert (loss(*found) < loss(*start)) == (evaluations > 1)


def test_what_is_least_already_is_returned():
    place = torch.tensor([1.0, -2.0])
    (found,) = least(lambda x: (x - place).square().sum(), [place], evaluations=50, smallest_change=1e-9)
    assert torch.equal(found, place)


def test_where_there_is_no_number_it_goes_less_far():
    """The logarithm's domain ends beside the minimum, and the first steps go beyond it."""
    start = torch.tensor([10.0])
    (found,) = least(lambda x: (x - x.log()).sum(), [start], evaluations=100, smallest_change=0.0)
    assert float(found) == pytest.approx(1.0, abs=1e-3)
