"""The losses: nothing where student and teacher agree, and for DIST agreement is a matter of order, not of size."""

from __future__ import annotations

import pytest
import torch
from autotl_distill.losses import LOSSES, dist, kd, unrelatedness


def answers(seed, rows=16, classes=5):
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed)).softmax(1)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equal_answers_cost_nothing_and_others_something(loss, temperature):
    same, other = answers(0), answers(1)
    assert float(loss(same, same, temperature)) == pytest.approx(0.0, abs=1e-4)
    assert float(loss(other, same, temperature)) > 0.1


def test_scaled_and_shifted_rows_are_related_entirely():
    taught = answers(0)
    scale, shift = torch.rand(len(taught), 1) + 0.1, torch.randn(len(taught), 1)
    assert float(unrelatedness(scale * taught + shift, taught)) == pytest.approx(0.0, abs=1e-5)
    assert float(unrelatedness(-taught, taught)) == pytest.approx(2.0, abs=1e-5)


def test_a_student_that_is_less_sure_of_the_same_costs_kd_and_not_dist():
    taught = answers(0)
    less_sure = 0.5 * taught + 0.5 / taught.shape[1]
    assert float(dist(less_sure, taught, 1.0)) == pytest.approx(0.0, abs=1e-4)
    assert float(kd(less_sure, taught, 1.0)) > 0.1


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_answers_that_are_all_alike_or_certain_have_finite_gradients(loss):
    for logits in (torch.zeros(8, 5), 200.0 * torch.eye(5).repeat(2, 1)[:8]):
        logits.requires_grad_()
        loss(logits.softmax(1), torch.eye(5).repeat(2, 1)[:8], 1.0).backward()
        assert torch.isfinite(logits.grad).all()
