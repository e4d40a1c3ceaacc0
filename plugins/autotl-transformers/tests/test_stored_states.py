"""Stored states of every encoder train as the encoder itself."""

from __future__ import annotations

import pytest

from autotl.testing import check_stored_states


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_training_from_stored_states_equals_training_through_the_frozen_stages(family, local, kind, texts, share):
    stages = max(round(share * len(family.load(local[kind]).stages)), 1)
    check_stored_states(family, local[kind], texts * 3, stages=stages)
