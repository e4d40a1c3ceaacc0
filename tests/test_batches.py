"""Which rows pass through a network together."""

from __future__ import annotations

import itertools
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.features.batches import (
    IMAGES_A_BATCH,
    PADDING_LEFT_OUT,
    TOKENS_A_BATCH,
    TOKENS_A_PASS,
    cost_of_padding,
    inference_batches,
)


def _tokens(lengths, batch, padding):
    """What a batch amounts to."""
    real = sum(lengths[row] for row in batch)
    return real + padding * (len(batch) * max(lengths[row] for row in batch) - real)


def _cost(lengths, batches, padding):
    return sum(TOKENS_A_PASS + _tokens(lengths, batch, padding) for batch in batches)


def _ways(rows):
    """Each way to cut rows into batches that keeps their order."""
    for cuts in itertools.product([False, True], repeat=max(len(rows) - 1, 0)):
        edges = [0, *(place + 1 for place, cut in enumerate(cuts) if cut), len(rows)]
        yield [rows[start:stop] for start, stop in itertools.pairwise(edges)]


def _fits(lengths, batch, padding):
    return len(batch) == 1 or _tokens(lengths, batch, padding) <= TOKENS_A_BATCH


def _batches(lengths, padding):
    found = inference_batches(np.array(lengths, np.int64), len(lengths), padding)
    return [batch.tolist() for batch in found]


paddings = st.sampled_from([1.0, PADDING_LEFT_OUT])


@given(st.lists(st.integers(1, 600), max_size=200), paddings)
def test_every_text_passes_once_and_no_batch_is_too_large(lengths, padding):
    batches = _batches(lengths, padding)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert all(_fits(lengths, batch, padding) for batch in batches)


@given(st.lists(st.integers(1, 2 * TOKENS_A_BATCH) | st.integers(1, 60), min_size=1, max_size=9), paddings)
def test_no_other_way_costs_less(lengths, padding):
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    ways = (way for way in _ways(rows) if all(_fits(lengths, batch, padding) for batch in way))
    least = min(_cost(lengths, way, padding) for way in ways)
    assert _cost(lengths, _batches(lengths, padding), padding) == least


def test_unlike_texts_pass_together_where_padding_is_left_out():
    ragged, padded = types.SimpleNamespace(ragged=True), types.SimpleNamespace()
    lengths = [40, 30, 20, 10] * 20
    assert len(_batches(lengths, cost_of_padding(ragged))) == 1
    assert len(_batches(lengths, cost_of_padding(padded))) == 4


def test_few_texts_pass_together_and_many_by_their_lengths():
    few, many = np.array([9, 12, 8, 20]), np.repeat([8, 128], 500)
    assert [len(batch) for batch in inference_batches(few, 4)] == [4]
    assert all(len(set(many[batch])) == 1 for batch in inference_batches(many, 1000))


@pytest.mark.parametrize("count", [0, 1, IMAGES_A_BATCH, 2 * IMAGES_A_BATCH + 3])
def test_images_pass_as_they_come(count):
    batches = list(inference_batches(None, count))
    assert np.concatenate([np.empty(0, np.int64), *batches]).tolist() == list(range(count))
    assert all(len(batch) <= IMAGES_A_BATCH for batch in batches)
    sizes = [len(batch) for batch in batches]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
