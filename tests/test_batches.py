"""Which rows pass through a network together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.features.batches import IMAGES_A_BATCH, TOKENS_A_BATCH, TOKENS_A_PASS, inference_batches


def _cost(lengths, batches):
    return sum(TOKENS_A_PASS + len(batch) * max(lengths[row] for row in batch) for batch in batches)


def _ways(rows):
    """Each way to cut rows into batches that keeps their order."""
    for cuts in itertools.product([False, True], repeat=max(len(rows) - 1, 0)):
        edges = [0, *(place + 1 for place, cut in enumerate(cuts) if cut), len(rows)]
        yield [rows[start:stop] for start, stop in itertools.pairwise(edges)]


def _fits(lengths, batch):
    return len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= TOKENS_A_BATCH


@given(st.lists(st.integers(1, 600), max_size=200))
def test_every_text_passes_once_and_no_batch_is_too_large(lengths):
    batches = [batch.tolist() for batch in inference_batches(np.array(lengths, np.int64), len(lengths))]
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert all(_fits(lengths, batch) for batch in batches)


@given(st.lists(st.integers(1, 2 * TOKENS_A_BATCH) | st.integers(1, 60), min_size=1, max_size=9))
def test_no_other_way_costs_less(lengths):
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    least = min(_cost(lengths, way) for way in _ways(rows) if all(_fits(lengths, batch) for batch in way))
    batches = list(inference_batches(np.array(lengths, np.int64), len(lengths)))
    assert _cost(lengths, [batch.tolist() for batch in batches]) == least


def test_few_texts_pass_together_and_many_by_their_lengths():
    few, many = np.array([9, 12, 8, 20]), np.repeat([8, 128], 500)
    assert [len(batch) for batch in inference_batches(few, 4)] == [4]
    assert all(len(set(many[batch])) == 1 for batch in inference_batches(many, 1000))


@pytest.mark.parametrize("count", [0, 1, IMAGES_A_BATCH, 2 * IMAGES_A_BATCH + 3])
def test_images_pass_as_they_come(count):
    batches = list(inference_batches(None, count))
    assert np.concatenate([np.empty(0, np.int64), *batches]).tolist() == list(range(count))
    assert all(len(batch) <= IMAGES_A_BATCH for batch in batches)
