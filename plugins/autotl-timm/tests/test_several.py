"""Several images of a row: each through the same network, one row to all else, from the table to exports."""

from __future__ import annotations

import pytest
from autotl_timm.several import SeveralImagesFamily

from autotl.plugins.contracts import ZooContext
from autotl.testing import check_family, check_stored_states


@pytest.fixture
def several():
    return SeveralImagesFamily()


@pytest.fixture
def candidates(several, zoo):
    """``candidates(images)``: those of `zoo` by name, for rows of so many images."""

    def find(images):
        found = several.candidates(ZooContext(folders=(zoo,), columns=images))
        return {candidate.name: candidate for candidate in found if candidate.source == "folder"}

    return find


def rows_of(paths, images):
    """Rows of so many images each, each image in one row."""
    return list(zip(*[iter(paths)] * images, strict=False))


def test_the_family_keeps_its_contract(several, candidates, kind, many_photos):
    check_family(several, candidates(2)[kind], rows_of(many_photos[:8], 2))


@pytest.mark.parametrize("kind", ["convnext", "vit", "swin", "ghostnet"])
def test_training_from_stored_states_equals_training_through_the_frozen_stages(several, candidates, kind, many_photos):
    candidate = candidates(3)[kind]
    rows = rows_of(many_photos * 2, 3)
    stages = max(len(several.load(candidate).stages) // 2, 1)
    check_stored_states(several, candidate, rows, stages=stages, steps=10)
