"""Stored states of every kind of network train as the network itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autotl.features.frozen import FrozenBackbone
from autotl.features.rows import EncodedRows
from autotl.features.speed import SpeedBook
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import ZooContext
from autotl.testing import check_stored_states

#: One of each way in which a state is laid out: maps, tokens, maps with the channels last, and nothing to cut. None
#: with batch statistics: with random weights and batches of eight they soon blow up any rounding.
LAYOUTS = ["convnext", "vit", "swin", "ghostnet"]


@pytest.mark.parametrize("kind", LAYOUTS)
def test_training_from_stored_states_equals_training_through_the_frozen_stages(family, local, kind, many_photos):
    stages = max(len(family.load(local[kind]).stages) // 2, 1)
    check_stored_states(family, local[kind], many_photos, stages=stages, steps=10)


@pytest.fixture
def two_threads():
    """With one, a convolution's rounding goes by how many rows pass at once, and 20 steps make 0.004 of that."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("stages", [4, 6, 8])
def test_twenty_steps_of_a_pretrained_network_are_the_same_from_the_store(family, shared, stages):
    photographs = [str(path) for path in sorted((shared / "data" / "flowers" / "images").rglob("*.jpg"))[:64]]
    found = family.candidates(ZooContext(folders=(shared / "zoo",)))
    check_stored_states(
        family, next(c for c in found if c.name.startswith("mobilenetv2_035")), photographs, stages=stages
    )


def test_without_mirrored_views_features_are_found_and_augmented_states_are_others(family, local, many_photos):
    encoder, store, rows = family.encoder(local["resnet"], many_photos), FeatureStore(None), np.arange(len(many_photos))
    encoded = EncodedRows(encoder, many_photos, modality="image", store=store)
    frozen = FrozenBackbone(
        local["resnet"], family, encoded, device=torch.device("cpu"), speeds=SpeedBook(None), store=store
    )
    frozen.calibrate(frozen.rows.readable(rows))
    frozen.see(rows)
    alone, (mirrored,) = frozen.seen_by(encoder.without_views()), map(frozen.seen_by, encoder.views())
    assert alone.knows(rows)
    assert not mirrored.knows(rows)
    assert alone.collection("states", 1) is frozen.collection("states", 1)
    augmented = "augmented 0.3, view 0"
    assert alone.collection("states", 1, augmented) is not frozen.collection("states", 1, augmented)
