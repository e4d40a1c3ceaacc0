"""Splits: every row on one side, every class on both where it can be, the same for the same seed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.data.splits import Split, default_fraction, holdout, split

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=200).map(lambda rows: np.array(rows, dtype=np.int64))
FRACTIONS = st.one_of(st.none(), st.floats(0.05, 0.6))


@st.composite
def grouped(draw):
    labels = draw(LABELS)
    groups = draw(st.lists(st.integers(0, 40), min_size=len(labels), max_size=len(labels)))
    return labels, np.array(groups, dtype=np.int64)


@given(LABELS, FRACTIONS, st.integers(0, 5))
def test_sides_are_sorted_disjoint_and_cover_everything(labels, fraction, seed):
    train, valid = holdout(labels, seed=seed, fraction=fraction)
    assert train.dtype == valid.dtype == np.int64
    assert sorted([*train, *valid]) == list(range(len(labels)))
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(valid) > 0)


@given(LABELS, FRACTIONS)
def test_classes_have_their_share_on_both_sides(labels, fraction):
    _, valid = holdout(labels, seed=0, fraction=fraction)
    share = default_fraction(len(labels)) if fraction is None else fraction
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        held_out = np.count_nonzero(labels[valid] == label)
        if count == 1:
            assert held_out == 0
        else:
            assert 1 <= held_out < count
            assert abs(held_out - share * count) <= 1


@given(grouped(), FRACTIONS)
def test_groups_stay_together_and_classes_keep_training_rows(example, fraction):
    labels, groups = example
    train, valid = holdout(labels, seed=0, fraction=fraction, groups=groups)
    assert sorted([*train, *valid]) == list(range(len(labels)))
    assert not set(groups[train]) & set(groups[valid])
    assert set(labels[train]) == set(labels)
    for label in set(labels):
        own = [group for group in set(groups[labels == label]) if set(labels[groups == group]) == {label}]
        if len(own) >= 2:
            assert label in labels[valid]


@given(LABELS, st.integers(0, 3))
def test_seed_decides(labels, seed):
    first, second = holdout(labels, seed=seed), holdout(labels, seed=seed)
    assert np.array_equal(first[1], second[1])


def test_another_seed_gives_other_rows():
    labels = np.arange(100) % 2
    assert not np.array_equal(holdout(labels, seed=0)[1], holdout(labels, seed=1)[1])


@pytest.mark.parametrize(
    ("rows", "held_out"), [(100, 25), (2000, 500), (4000, 500), (5000, 500), (20_000, 2000), (90_000, 2000)]
)
def test_default_is_500_rows_within_10_to_25_percent_and_2000_at_most(rows, held_out):
    assert len(holdout(np.arange(rows) % 4, seed=0)[1]) == held_out


@given(grouped())
def test_quarters_that_validate_in_turn_divide_the_training_rows_and_no_group(example):
    labels, groups = example
    found = split(labels, seed=0, groups=groups)
    train, valid = holdout(labels, seed=0, groups=groups)
    assert np.array_equal(found.train, train)
    assert np.array_equal(found.valid, valid)
    in_turn = np.concatenate([*found.in_turn, train[:0]])
    assert len(set(in_turn)) == len(in_turn)
    assert set(in_turn) <= set(train)
    for part in found.in_turn:
        others = np.setdiff1d(np.arange(len(labels)), part)
        assert np.all(np.diff(part) > 0)
        assert set(labels[part]) <= set(labels[others])
        assert not set(groups[part]) & set(groups[others])
    # only a class that is in one part alone does not validate there, nor do the groups of its rows
    alone = [row for row in train if not any(labels[row] in labels[part] for part in found.in_turn)]
    assert set(groups[np.setdiff1d(train, in_turn)]) <= set(groups[alone])


@given(LABELS, st.integers(0, 3))
def test_groups_that_are_left_out_of_a_quarter_are_those_of_no_other_row(labels, seed):
    found = split(labels, seed=seed)
    counts = np.bincount(labels)
    in_turn = np.concatenate([*found.in_turn, found.train[:0]])
    if len(found.valid):
        assert all(counts[labels[row]] == 1 for row in np.setdiff1d(found.train, in_turn))


@st.composite
def of_several_labels(draw):
    """``[rows, labels] bool``, one at least in each row, and groups."""
    rows, labels = draw(st.integers(2, 120)), draw(st.integers(1, 12))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    given = random.random((rows, labels)) < random.uniform(0.02, 0.6, labels)
    groups = np.arange(rows) // draw(st.integers(1, 3))
    return np.concatenate([given, ~given.any(1, keepdims=True)], axis=1), groups


@given(of_several_labels(), FRACTIONS, st.integers(0, 3))
def test_of_several_labels_each_keeps_training_rows_and_no_group_is_divided(example, fraction, seed):
    labels, groups = example
    train, valid = holdout(labels, seed=seed, fraction=fraction, groups=groups)
    assert sorted([*train, *valid]) == list(range(len(labels)))
    assert not set(groups[train]) & set(groups[valid])
    assert np.array_equal(labels[train].any(0), labels.any(0))
    for part in split(labels, seed=seed, groups=groups).in_turn:
        elsewhere = np.delete(labels, part, axis=0).any(0)
        assert not labels[part][:, ~elsewhere].any()
        assert not set(groups[part]) & set(np.delete(groups, part))


@given(LABELS, FRACTIONS, st.integers(0, 3))
def test_one_label_a_row_is_split_alike_as_a_code_and_as_a_flag(labels, fraction, seed):
    flags = labels[:, None] == np.unique(labels)
    assert np.array_equal(holdout(labels, seed=seed, fraction=fraction)[1],
                          holdout(flags, seed=seed, fraction=fraction)[1])  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_frequent_labels_have_their_share_beside_rare_ones(seed):
    random = np.random.default_rng(seed)
    labels = random.random((600, 20)) < np.linspace(0.02, 0.3, 20)
    labels[~labels.any(1), 0] = True
    _, valid = holdout(labels, seed=seed, fraction=0.25)
    off = np.abs(labels[valid].sum(0) - 0.25 * labels.sum(0))
    assert off.max() <= 2  # rows that go by their rarest label alone are up to six off
    assert abs(len(valid) - 150) <= 15


def test_four_quarters_of_a_small_table_validate_and_one_part_of_a_large_one():
    small, large = split(np.arange(120) % 3, seed=0), split(np.arange(3000) % 3, seed=0)
    assert [len(part) for part in (small.valid, *small.in_turn)] == [30, 30, 30, 30]
    assert all(np.bincount(np.arange(120)[part] % 3).tolist() == [10, 10, 10] for part in small.in_turn)
    assert large.in_turn == ()


@given(LABELS)
def test_a_split_is_read_as_it_was_written(labels):
    found = split(labels, seed=0)
    read = Split.from_json(json.loads(json.dumps(found.as_json())), rows=len(labels))
    assert all(np.array_equal(a, b) for a, b in zip(read.in_turn, found.in_turn, strict=True))
    assert np.array_equal(read.train, found.train)
    assert np.array_equal(read.valid, found.valid)
    assert read.groups is None


def test_a_split_says_which_rows_it_keeps_together():
    labels, pairs = np.arange(60) % 3, np.arange(60) // 2
    found = split(labels, seed=0, groups=pairs)
    read = Split.from_json(json.loads(json.dumps(found.as_json())), rows=60)
    assert read.groups.tolist() == pairs.tolist()
    assert split(labels, seed=0, groups=np.arange(60)).groups is None


@pytest.mark.parametrize(
    "changed",
    [
        {"valid": [3, 9]},
        {"train": [0, 1]},
        {"in_turn": [[3]]},
        {"in_turn": [[0], [0]]},
        {"in_turn": [7]},
        {"groups": [0, 0, 1]},
    ],
)
def test_what_divides_no_table_is_no_split(changed):
    known = {"train": [0, 1, 2], "valid": [3, 4], "in_turn": [[0], [1, 2]]}
    assert len(Split.from_json(known, rows=5).in_turn) == 2
    with pytest.raises((ValueError, TypeError)):
        Split.from_json(known | changed, rows=5)


def test_shares_hold_with_pairs_of_equal_rows():
    labels = np.repeat(np.arange(3), 100)
    _, valid = holdout(labels, seed=0, fraction=0.2, groups=np.arange(300) // 2)
    assert np.bincount(labels[valid]).tolist() == [20, 20, 20]


def test_one_large_group_is_left_to_training():
    labels = np.zeros(100, dtype=np.int64)
    _, valid = holdout(labels, seed=0, fraction=0.1, groups=np.r_[np.zeros(90), np.arange(1, 11)].astype(np.int64))
    assert len(valid) == 10
    assert valid.min() >= 90


def test_a_class_of_large_groups_gives_its_smallest():
    labels, groups = np.repeat([0, 1], 20), np.repeat([0, 1, 2, 3], [12, 8, 9, 11])
    _, valid = holdout(labels, seed=0, fraction=0.1, groups=groups)
    assert set(groups[valid].tolist()) == {1, 2}


def test_no_rows_give_no_rows():
    train, valid = holdout(np.empty(0, np.int64), seed=0)
    assert len(train) == len(valid) == 0
