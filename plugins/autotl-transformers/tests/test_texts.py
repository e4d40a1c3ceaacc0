"""Texts become tokens and batches."""

from __future__ import annotations

import dataclasses
import pickle
import shutil

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotl.errors import ZooError
from autotl.plugins.contracts import InputEncoder, Unreadable


def test_tokens_carry_the_specials_and_no_padding(family, local):
    encoder = family.encoder(local["bert"], ["good film"])
    (tokens,) = encoder.encode(["the film was GOOD"])
    assert isinstance(encoder, InputEncoder)
    assert tokens.dtype == np.int32
    assert tokens[0] == 0
    assert tokens[-1] == 2
    assert len(tokens) == 6


def test_an_empty_text_is_its_specials(family, local):
    encoder = family.encoder(local["bert"], ["good film"])
    assert [tokens.tolist() for tokens in encoder.encode(["", " \n\t"])] == [[0, 2], [0, 2]]


def test_what_is_no_text_is_unreadable_and_its_neighbours_are_read(family, local):
    encoder = family.encoder(local["bert"], ["good film"])
    first, missing, empty_cell, last = encoder.encode(["good", None, float("nan"), "bad"])
    assert missing == empty_cell == Unreadable("no text")
    assert len(first) == len(last) == 3
    assert encoder.encode([None]) == [Unreadable("no text")]
    assert encoder.encode([]) == []


def test_odd_characters_are_read(family, local):
    encoder = family.encoder(local["bert"], ["good film"])
    cells = ["good 🎬🍿 film", "\ud83d alone", "\x00", "e\u0301 ﷺ", "漢字"]
    assert all(isinstance(tokens, np.ndarray) and len(tokens) > 2 for tokens in encoder.encode(cells))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(st.one_of(st.none(), st.text()), min_size=1, max_size=8))
def test_any_texts_are_tokens_and_batches(family, local, cells):
    encoder = family.encoder(local["bert"], cells)
    encoded = encoder.encode(cells)
    assert [isinstance(tokens, Unreadable) for tokens in encoded] == [cell is None for cell in cells]
    rows = [tokens for tokens in encoded if not isinstance(tokens, Unreadable)]
    assert all(0 < len(row) <= encoder.max_tokens and row.min() >= 0 for row in rows)
    if rows:
        assert encoder.batch(rows)["mask"].sum(1).tolist() == [len(row) for row in rows]


def test_a_long_text_keeps_its_beginning_and_the_last_special(family, local):
    encoder = family.encoder(local["bert"], ["good film " * 6])
    (tokens,) = encoder.encode(["very " * 1_000_000])
    assert len(tokens) == encoder.max_tokens == 16
    assert tokens[-1] == 2
    assert len(set(tokens[1:-1].tolist())) == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [([0], 8), ([6], 8), ([7], 16), ([20] * 200 + [50], 24), ([20] * 100 + [50] * 100, 56), ([400], 64)],
)
def test_the_longest_text_is_settled_by_the_sample(family, local, words, expected):
    """Two specials are added to the words; BERT here ends at 64 tokens, and one long text in 200 is cut."""
    encoder = family.encoder(local["bert"], ["good " * count for count in words])
    assert encoder.max_tokens == expected


def test_roberta_ends_two_tokens_before_its_positions(family, local):
    encoder = family.encoder(local["roberta"], ["good " * 400])
    assert encoder.max_tokens == local["roberta"].input_size == 62
    state = encoder.batch(encoder.encode(["good " * 400, "bad"]))
    assert torch.isfinite(family.load(local["roberta"])(state)["x"]).all()


def test_a_sample_without_texts_settles_on_the_most(family, local):
    assert family.encoder(local["bert"], [None]).max_tokens == 64


def test_a_batch_is_padded_to_its_longest_row(family, local):
    encoder = family.encoder(local["bert"], ["good film"])
    state = encoder.batch(encoder.encode(["good", "good film"]))
    assert state["x"].dtype == torch.int64
    assert state["x"].tolist() == [[0, 4, 2, 1], [0, 4, 14, 2]]
    assert state["mask"].tolist() == [[True, True, True, False], [True] * 4]


def test_pickling_keeps_fingerprint_and_tokens(family, local):
    encoder = family.encoder(local["bert"], ["good film"])
    before = encoder.encode(["a great film"])
    # bytes made on this very line; the contract asks that encoders can travel to other processes
    other = pickle.loads(pickle.dumps(encoder))  # made here a moment ago
    assert other == encoder
    assert other.fingerprint == encoder.fingerprint
    assert np.array_equal(other.encode(["a great film"])[0], before[0])


def test_the_fingerprint_changes_with_the_longest_text_only(family, local):
    short, same = (family.encoder(local["bert"], [text]) for text in ("good film", "bad plot"))
    long = family.encoder(local["bert"], ["good film " * 9])
    assert short.fingerprint == same.fingerprint != long.fingerprint


def test_a_slow_tokenizer_is_converted(family, local, tmp_path):
    shutil.copytree(local["bert"].location, tmp_path / "slow")
    (tmp_path / "slow" / "tokenizer.json").unlink()
    (tmp_path / "slow" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\n##ness\n")
    slow = dataclasses.replace(local["bert"], location=str(tmp_path / "slow"))
    (tokens,) = family.encoder(slow, ["good"]).encode(["Goodness good"])
    assert tokens.tolist() == [2, 5, 6, 5, 3]


def test_a_folder_without_a_tokenizer_is_named_with_a_way_out(family, local, tmp_path):
    shutil.copytree(local["bert"].location, tmp_path / "mute")
    (tmp_path / "mute" / "tokenizer.json").write_text("{}")
    mute = dataclasses.replace(local["bert"], name="mute", location=str(tmp_path / "mute"))
    with pytest.raises(ZooError, match=r"^transformers/mute: no tokenizer .*Check that the folder is complete"):
        family.encoder(mute, ["good film"])
