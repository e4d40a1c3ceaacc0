"""Networks run in stages give what the library gives."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import timm
import torch
from autotl_timm.family import TimmFamily
from timm.layers import DropPath

from autotl.plugins.contracts import Candidate

State = dict[str, torch.Tensor]


def state_of(family: TimmFamily, candidate: Candidate, photos: Sequence[str]) -> State:
    encoder = family.encoder(candidate, photos)
    return encoder.batch(encoder.encode(photos))


@torch.no_grad()
def features(backbone: torch.nn.Module, state: State) -> torch.Tensor:
    return backbone.pool(backbone(state))


@torch.no_grad()
def features_of_timm(candidate: Candidate, state: State) -> torch.Tensor:
    network = timm.create_model(f"local-dir:{candidate.location}", pretrained=True, num_classes=0).eval()
    return network.forward_head(network.forward_features(state["x"]), pre_logits=True)


def test_features_are_the_librarys_own(family, local, photos, kind):
    state = state_of(family, local[kind], photos)
    expected = features_of_timm(local[kind], state)

    backbone = family.load(local[kind])

    assert not backbone.training
    assert backbone.width == expected.shape[1]
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    torch.testing.assert_close(features(backbone, state), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["resnet", "mobilenetv2", "convnext"])
def test_features_at_another_side_are_the_librarys_too(family, local, name):
    state = {"x": torch.rand(2, 3, 90, 122)}
    expected = features_of_timm(local[name], state)
    torch.testing.assert_close(features(family.load(local[name]), state), expected, atol=1e-5, rtol=0)


def test_a_state_resumes_at_every_boundary(family, local, photos, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], photos)
    expected = features(backbone, state)
    with torch.no_grad():
        for boundary in range(len(backbone.stages) + 1):
            stored = {name: tensor.clone() for name, tensor in backbone(state, 0, boundary).items()}
            assert torch.equal(backbone.pool(backbone(stored, boundary)), expected)


def test_a_state_is_pooled_to_its_channels_at_every_boundary(family, local, photos, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], photos)
    with torch.no_grad():
        for boundary in range(1, len(backbone.stages) + 1):
            state = backbone(state, boundary - 1, boundary)
            channels = state["x"].shape[-1 if kind.startswith("swin") or state["x"].ndim == 3 else 1]
            assert backbone.pool(state).shape == (len(photos), channels)
    assert channels == backbone.width


def test_what_rides_along_passes_through(family, local):
    mask = torch.ones(2)
    state = family.load(local["resnet"])({"x": torch.rand(2, 3, 64, 64), "mask": mask}, 0, 2)
    assert state["mask"] is mask


def test_known_networks_are_taken_apart(family, local, kind, taken_apart):
    assert (len(family.load(local[kind]).stages) > 3) == taken_apart
    assert taken_apart or len(family.load(local[kind]).stages) == 1


def test_every_weight_is_in_one_stage_under_one_name(family, local, kind):
    backbone = family.load(local[kind])
    network = timm.create_model(f"local-dir:{local[kind].location}", num_classes=0)
    in_stages = [parameter for stage in backbone.stages for parameter in stage.parameters()]
    assert len(in_stages) == len({id(parameter) for parameter in in_stages}) == len(list(network.parameters()))
    assert {id(parameter) for parameter in in_stages} == {id(parameter) for parameter in backbone.parameters()}
    assert len(backbone.state_dict()) == len(network.state_dict())


def test_every_stage_does_something(family, local, photos, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], photos)
    expected = features(backbone, state)
    for stage in backbone.stages:
        first = next(stage.parameters())
        before = first.detach().clone()
        with torch.no_grad():
            first.mul_(torch.rand_like(first))
        assert not torch.equal(features(backbone, state), expected)
        with torch.no_grad():
            first.copy_(before)


def test_a_frozen_prefix_computes_the_same_after_training_what_follows(family, local, photos, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], photos)
    for depth in range(1, len(backbone.stages)):
        with torch.no_grad():
            before = backbone(state, 0, depth)["x"].clone()
            for parameter in backbone.stages[depth:].parameters():
                parameter.add_(0.01)
            assert torch.equal(backbone(state, 0, depth)["x"], before)


def test_batch_statistics_of_a_frozen_stage_stay(family, local, photos):
    backbone = family.load(local["resnet"]).train()
    backbone.stages[0].eval()
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    features(backbone, state_of(family, local["resnet"], photos))
    moved = {name for name, buffer in backbone.named_buffers() if not torch.equal(buffer, before[name])}
    assert moved == {name for name in before if not name.startswith("stages.0.")}


def test_modes_reach_every_module_of_the_network(family, local, kind):
    backbone = family.load(local[kind])
    modules = [backbone, *backbone.modules(), *backbone.network.modules()]
    for training in (True, False):
        backbone.train(training)
        assert {module.training for module in modules} == {training}


def test_gradients_reach_every_weight(family, local, photos, kind):
    backbone = family.load(local[kind]).train()
    backbone.pool(backbone(state_of(family, local[kind], photos))).square().sum().backward()
    assert not [name for name, parameter in backbone.named_parameters() if parameter.grad is None]


def test_converting_the_backbone_converts_all_of_the_network(family, local, photos, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], photos)
    expected = features(backbone, state)
    found = features(backbone.double(), {"x": state["x"].double()})
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), expected, atol=1e-3, rtol=1e-3)


def test_drop_acts_in_training_mode_only(family, local, photos, kind, taken_apart):
    state = state_of(family, local[kind], photos)
    plain, dropping = family.load(local[kind]), family.load(local[kind], drop=0.5)
    assert torch.equal(features(dropping, state), features(plain, state))

    torch.manual_seed(0)
    assert torch.equal(features(plain.train(), state), features(plain, state))
    assert not torch.allclose(features(dropping.train(), state), features(dropping, state), atol=1e-3)
    depths = [m for m in dropping.modules() if isinstance(m, DropPath) and m.training and m.drop_prob > 0]
    assert bool(depths) == (taken_apart or kind == "eva-mixed")


@pytest.mark.parametrize("name", ["resnet", "vit", "swin", "ghostnet"])
def test_a_copy_has_weights_of_its_own(family, local, photos, name):
    backbone = family.load(local[name])
    state = state_of(family, local[name], photos)
    expected = features(backbone, state)
    other = copy.deepcopy(backbone)
    assert torch.equal(features(other, state), expected)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    assert torch.equal(features(backbone, state), expected)
    assert not torch.allclose(features(other, state), expected, atol=1e-3)
