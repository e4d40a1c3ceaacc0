"""Rows as encoders leave them: what cannot be read, cannot be read again, or is no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from autotl.errors import DataError, DivergedError, RowLostError
from autotl.features.rows import EncodedRows
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Unreadable

pytestmark = pytest.mark.usefixtures("one_thread")


def test_features_that_are_not_finite_are_never_kept(bench):
    with torch.no_grad():
        bench.frozen.backbone.stages[1].up.weight.fill_(float("inf"))
    with pytest.raises(DivergedError, match=r"150 rows among 150 are not finite"):
        bench.frozen.features(bench.train)
    with pytest.raises(DivergedError):
        bench.frozen.features(bench.train)


def test_a_text_of_which_an_encoder_leaves_nothing_cannot_be_read(bench):
    """One that drops the words that it does not know, and has none of its own before them."""
    encoder = bench.frozen.rows.encoder

    class Strict(type(encoder)):
        def encode(self, cells):
            return [
                array[: 0 if cell == "???" else None] for cell, array in zip(cells, super().encode(cells), strict=True)
            ]

    rows = EncodedRows(Strict(), ["cat dog", "???", "moss"], modality="text", store=FeatureStore(None))
    assert rows.readable(np.arange(3)).tolist() == [0, 2]
    assert "nothing in it" in rows.unreadable[1]
    rows.refuse_too_many(0.05, str)  # of three rows a share says nothing
    with pytest.raises(DataError, match="1 of 3 rows cannot be read, more than 0%"):
        rows.refuse_too_many(0.0, str)


def test_arrays_of_another_encoder_with_the_same_fingerprint_are_not_taken(bench):
    encoder, store = bench.frozen.rows.encoder, FeatureStore(None)

    class Other(type(encoder)):
        def encode(self, cells):
            return [array[:1] for array in super().encode(cells)]

    texts = ["cat dog moss"]
    (first,) = (EncodedRows(kind(), texts, modality="text", store=store) for kind in [type(encoder)])
    first.readable(np.arange(1))
    other = EncodedRows(Other(), texts, modality="text", store=store)
    assert other.readable(np.arange(1)).tolist() == [0]
    assert len(other.gather([0])[0]) == 1 < len(first.gather([0])[0])


def test_a_row_that_cannot_be_read_again_is_told_as_that(bench):
    gone = []

    class Once(type(bench.frozen.rows.encoder)):
        def encode(self, cells):
            return [Unreadable("gone")] * len(cells) if gone else super().encode(cells)

    store = FeatureStore(None, memory=0)
    rows = EncodedRows(Once(), ["cat dog"], modality="text", store=store)
    assert rows.readable(np.arange(1)).tolist() == [0]
    store.flush()  # which has no room for it
    gone.append(True)
    with pytest.raises(RowLostError, match="though it could be read before"):
        rows.gather([0])


def test_a_picture_that_has_changed_is_not_kept_as_what_it_was(bench, tmp_path):
    """Its cell is the same, and what is computed of it would be found under the content that it had."""

    class Reads(type(bench.frozen.rows.encoder)):
        def encode(self, cells):
            return super().encode([Path(cell).read_text() for cell in cells])

    (tmp_path / "1.png").write_text("cat dog")
    store = FeatureStore(None, memory=0)
    rows = EncodedRows(Reads(), [str(tmp_path / "1.png")], modality="image", store=store)
    assert rows.readable(np.arange(1)).tolist() == [0]
    store.flush()  # which has no room for it
    assert len(rows.gather([0])) == 1
    (tmp_path / "1.png").write_text("moss")
    with pytest.raises(RowLostError, match="has changed since it was read"):
        rows.gather([0])


def test_what_another_library_decoded_is_not_found(bench, tmp_path):
    decoded = []

    class Counts(type(bench.frozen.rows.encoder)):
        def encode(self, cells):
            decoded.extend(cells)
            return super().encode(cells)

    for version, total in ((1, 1), (2, 2), (1, 2)):
        store = FeatureStore(tmp_path)
        rows = EncodedRows(Counts(), ["cat dog"], modality="text", store=store, made_by=f"decoder {version}")
        assert rows.readable(np.arange(1)).tolist() == [0]
        store.flush()
        assert len(decoded) == total
