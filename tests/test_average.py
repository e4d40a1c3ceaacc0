"""The running mean of weights."""

from __future__ import annotations

import pytest
import torch

from autotl.training.average import EVERY, Average


def a_model() -> torch.nn.Module:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    model[0].requires_grad_(False)
    return model


def walk(model: torch.nn.Module, average: Average, values: list[float]) -> None:
    for value in values:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
        model[1].running_mean.fill_(value)
        average.update()


def test_weights_that_stay_have_themselves_as_mean():
    model = a_model()
    average = Average(model)
    walk(model, average, [2.0] * 400)
    average.swap()
    torch.testing.assert_close(model[2].weight, torch.full((2, 3), 2.0), atol=0.02, rtol=0)


def test_the_mean_reaches_back_over_a_ninth_of_the_steps_whatever_their_number():
    for steps in (200, 2000):
        model = a_model()
        average = Average(model)
        walk(model, average, [step / steps for step in range(steps)])
        average.swap()
        assert model[2].weight[0, 0].item() == pytest.approx(0.9, abs=0.02)
        assert model[1].running_mean[0].item() == pytest.approx(0.9, abs=0.02)


def test_the_mean_is_of_all_weights_when_they_are_laid_out_anew():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 1))
    average = Average(model)
    model.to(memory_format=torch.channels_last)
    average.follow_layout()
    for _ in range(400):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(2.0)
        average.update()
    average.swap()
    assert all(torch.allclose(parameter, torch.tensor(2.0), atol=0.02) for parameter in model.parameters())
    average.swap()
    assert all((parameter == 2.0).all() for parameter in model.parameters())
    layouts = zip(average.mean, average.followed, strict=True)
    assert all(mean.stride() == weights.stride() for mean, weights in layouts)


def test_swapping_twice_changes_nothing_and_frozen_weights_never_move():
    model = a_model()
    frozen = model[0].weight.detach().clone()
    average = Average(model)
    with torch.no_grad():
        model[2].weight.add_(1.0)
    for _ in range(EVERY):
        average.update()
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    average.swap()
    assert not torch.equal(model[2].weight, own["2.weight"])
    assert torch.equal(model[0].weight, frozen)
    average.swap()
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())
