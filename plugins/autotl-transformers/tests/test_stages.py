"""Encoders run in stages give what the library gives."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from autotl_transformers.family import TransformersFamily
from transformers import AutoModel

from autotl.plugins.contracts import Candidate

pytestmark = pytest.mark.usefixtures("zoo")

#: Those whose attention can be told which tokens are of one text.
RAGGED = {
    "bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "ernie", "data2vec", "modernbert", "nomic",
    "gte",
}  # fmt: skip


def state_of(family: TransformersFamily, candidate: Candidate, texts: Sequence[str]) -> dict[str, torch.Tensor]:
    encoder = family.encoder(candidate, texts)
    return encoder.batch(encoder.encode(texts))


@torch.no_grad()
def features(backbone: torch.nn.Module, state: dict[str, torch.Tensor]) -> torch.Tensor:
    return backbone.pool(backbone(state))


def test_features_are_the_mean_of_the_librarys_last_hidden_state(family, local, texts, kind):
    candidate = local[kind]
    state = state_of(family, candidate, texts)
    reference = AutoModel.from_pretrained(candidate.location).eval()
    with torch.no_grad():
        hidden = reference(input_ids=state["x"], attention_mask=state["mask"].long()).last_hidden_state
    expected = torch.stack([row[kept].mean(0) for row, kept in zip(hidden, state["mask"], strict=True)])

    backbone = family.load(candidate)

    assert not state["mask"].all()
    assert backbone.width == candidate.width == expected.shape[1]
    torch.testing.assert_close(features(backbone, state), expected, atol=1e-5, rtol=0)


def test_features_of_a_full_batch_are_the_librarys_too(family, local, kind):
    candidate = local[kind]
    state = state_of(family, candidate, ["the plot was very boring and not short", "a good film but it was very long"])
    reference = AutoModel.from_pretrained(candidate.location).eval()
    with torch.no_grad():
        expected = reference(input_ids=state["x"], attention_mask=state["mask"].long()).last_hidden_state.mean(1)

    assert state["mask"].all()
    torch.testing.assert_close(features(family.load(candidate), state), expected, atol=1e-5, rtol=0)


def test_features_do_not_depend_on_the_padding_of_the_batch(family, local, texts, kind):
    backbone = family.load(local[kind])
    together = features(backbone, state_of(family, local[kind], texts))
    alone = torch.cat([features(backbone, state_of(family, local[kind], [text])) for text in texts])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_texts_pass_without_their_padding_where_nothing_is_learned(family, local, texts, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], texts)
    assert backbone.ragged == (kind in RAGGED)
    for stop in range(1, len(backbone.stages)):
        with_padding = backbone(state, 0, stop)["x"]
        with torch.no_grad():
            without = backbone(state, 0, stop)["x"]
        torch.testing.assert_close(without[state["mask"]], with_padding[state["mask"]], atol=1e-5, rtol=0)
        if backbone.ragged:
            assert (without[~state["mask"]] == 0).all()
            assert not (with_padding[~state["mask"]] == 0).all()


def test_a_state_resumes_at_every_boundary(family, local, texts, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], texts)
    expected = features(backbone, state)
    with torch.no_grad():
        for boundary in range(len(backbone.stages) + 1):
            stored = backbone(state, 0, boundary)
            assert stored["x"].shape[0] == stored["mask"].shape[0] == len(texts)
            assert torch.equal(backbone.pool(backbone(stored, boundary)), expected)
            if boundary > 0:
                assert backbone.pool(stored).shape == (len(texts), backbone.width)


def test_there_is_a_stage_for_the_embeddings_and_one_a_layer(family, local, kind):
    backbone = family.load(local[kind])
    whole = kind == "albert" or (kind == "modernbert" and not hasattr(backbone.model, "rotary_emb"))
    assert len(backbone.stages) == (1 if whole else 4)


def test_every_weight_is_in_one_stage_and_none_is_left_out(family, local, kind):
    backbone = family.load(local[kind])
    in_stages = [parameter for stage in backbone.stages for parameter in stage.parameters()]
    assert len(in_stages) == len({id(parameter) for parameter in in_stages})
    assert {id(parameter) for parameter in in_stages} == {id(p) for p in backbone.model.parameters()}
    assert len(in_stages) == len(list(backbone.parameters()))


def test_moving_the_backbone_moves_all_of_the_model(family, local, kind):
    backbone = family.load(local[kind]).to("meta")
    assert {tensor.device.type for tensor in (*backbone.model.parameters(), *backbone.model.buffers())} == {"meta"}


def test_a_frozen_prefix_computes_the_same_after_training_what_follows(family, local, texts, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], texts)
    for depth in range(1, len(backbone.stages)):
        with torch.no_grad():
            before = backbone(state, 0, depth)["x"]
            for stage in backbone.stages[depth:]:
                for parameter in stage.parameters():
                    parameter.add_(0.1)
            assert torch.equal(backbone(state, 0, depth)["x"], before)


def test_gradients_reach_every_weight_that_is_used(family, local, texts, kind):
    backbone = family.load(local[kind]).train()
    backbone.pool(backbone(state_of(family, local[kind], texts))).square().sum().backward()
    assert not [name for name, parameter in backbone.named_parameters() if parameter.grad is None]


def test_without_drop_training_mode_is_exact(family, local, texts, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], texts)
    expected = features(backbone, state)
    assert torch.equal(features(backbone.train(), state), expected)


def test_drop_acts_in_training_mode_only(family, local, texts, kind):
    backbone = family.load(local[kind], drop=0.4)
    state = state_of(family, local[kind], texts)
    expected = features(family.load(local[kind]), state)
    assert torch.equal(features(backbone, state), expected)
    assert not torch.allclose(features(backbone.train(), state), expected, atol=1e-3)


def test_bfloat16_autocast_stays_close_and_finite(family, local, texts, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], texts)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = features(backbone, state).float()
    torch.testing.assert_close(rounded, features(backbone, state), atol=0.2, rtol=0.2)


def test_a_copy_has_weights_of_its_own(family, local, texts, kind):
    backbone = family.load(local[kind])
    state = state_of(family, local[kind], texts)
    expected = features(backbone, state)
    other = copy.deepcopy(backbone)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    assert torch.equal(features(backbone, state), expected)
    assert not torch.allclose(features(other, state), expected, atol=1e-3)
