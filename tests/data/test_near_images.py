"""Images that show nearly the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autotl.data.near_images import near_images, repeated, thumbnail, thumbnails_of


def picture(seed: int, side: int = 96) -> np.ndarray:
    """A smooth random field in three colours: ``[side, side, 3] float64``, 20 to 235."""
    generator = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    waves = sum(
        generator.standard_normal()
        * np.sin(2 * np.pi * (generator.integers(1, 5) * x + generator.integers(1, 5) * y + generator.random()))
        for _ in range(8)
    )
    grey = (waves - waves.min()) / np.ptp(waves)
    return 20 + 215 * np.stack([grey, grey**2, np.sqrt(grey)], 2)


def as_image(values: np.ndarray) -> np.ndarray:
    return values.clip(0, 255).astype(np.uint8)


@given(st.integers(0, 200), st.floats(0.8, 1.15), st.integers(-15, 15))
def test_a_picture_that_was_recoloured_and_scaled_is_itself(seed, contrast, brightness):
    noise = np.random.default_rng(seed).normal(0, 5, (48, 48, 3))
    copy = as_image(picture(seed)[::2, ::2] * contrast + brightness + noise)
    groups, _ = near_images(np.stack([thumbnail(as_image(picture(seed))), thumbnail(copy)]))
    assert groups[0] == groups[1]


def test_other_pictures_are_others():
    groups, _ = near_images(np.stack([thumbnail(as_image(picture(seed))) for seed in range(60)]))
    assert len(set(groups.tolist())) == 60


def test_blank_pictures_are_not_alike():
    blank = np.full((64, 64, 3), 255, np.uint8)
    groups, _ = near_images(np.stack([thumbnail(blank)] * 4))
    assert len(set(groups.tolist())) == 4


def test_a_table_of_one_kind_of_picture_is_not_one_group():
    base = picture(0)
    kinds = [base + np.random.default_rng(seed).normal(0, 3, base.shape) for seed in range(40)]
    others = [picture(seed) for seed in range(1, 41)]
    groups, _ = near_images(np.stack([thumbnail(as_image(values)) for values in (*kinds, *others)]))
    assert len(set(groups.tolist())) == 80


def test_copies_within_one_kind_of_picture_are_still_found():
    """As X-rays of one view: all alike, but for what each shows, and one twice."""
    base = picture(0)
    kinds = [0.88 * base + 0.12 * picture(seed) for seed in range(1, 41)]
    copy = kinds[7] + np.random.default_rng(0).normal(0, 2, base.shape)
    loose, _ = near_images(np.stack([thumbnail(as_image(values)) for values in kinds[:2]]))
    assert len(set(loose.tolist())) == 1  # so alike that two of them would be taken for copies
    groups, _ = near_images(np.stack([thumbnail(as_image(values)) for values in (*kinds, copy)]))
    assert groups[7] == groups[40]
    assert len(set(groups.tolist())) == 40


def test_a_chain_that_is_most_of_a_class_is_left_apart_but_for_copies():
    """Twelve of twenty pictures of a class, each a step from the next, and one of them twice."""
    steps = np.linspace(0, 1, 12)
    chain = [(1 - step) * picture(1) + step * picture(1001) for step in steps]
    others = [picture(2000 + number) for number in range(7)]
    table = [*chain, chain[3] * 0.99 + 1, *others, *(picture(3000 + number) for number in range(20))]
    groups, filling = near_images(
        np.stack([thumbnail(as_image(values)) for values in table]), np.array([0] * 20 + [1] * 20)
    )
    assert groups[3] == groups[12]
    assert len(set(groups[:13].tolist())) > 6
    assert filling[:13].any()
    assert not filling[13:].any()


def test_rows_of_several_pictures_are_alike_where_each_is_like_that_in_its_place():
    first, second, third = (as_image(picture(seed)) for seed in range(3))
    copy = as_image(picture(0) * 0.9 + 10)
    rows = [(first, second), (copy, second), (second, first), (first, third)]
    groups, _ = near_images(np.stack([thumbnails_of(np.stack(row)) for row in rows]))
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 3


def test_no_pictures_make_no_groups():
    groups, filling = near_images(np.empty((0, 256), np.float32), np.empty(0, np.int64))
    assert len(groups) == len(filling) == 0


def test_views_of_one_object_that_are_all_of_a_class_fill_it_and_copies_do_not():
    """Chains by small steps, as on a turntable: 12 views of each of 12 objects, a class each; and copies of one."""
    steps = np.linspace(0, 1, 12)
    views = [(1 - step) * picture(number) + step * picture(number + 1000) for number in range(12) for step in steps]
    copies = [picture(5000) * (1 - 0.01 * n) + n for n in range(9)]
    others = [picture(6000 + n) for n in range(6)]
    classes = np.array([number for number in range(12) for _ in steps] + [12] * 15)
    thumbnails = np.stack([thumbnail(as_image(values)) for values in (*views, *copies, *others)])
    loose, _ = near_images(thumbnails)
    assert len(set(loose.tolist())) == 12 + 1 + 6
    groups, filling = near_images(thumbnails, classes)
    assert len(set(groups[144:].tolist())) == 1 + 6
    assert not filling[144:].any()
    for number in range(12):  # some are on either side of a split
        own = groups[12 * number : 12 * (number + 1)]
        assert len(set(own.tolist())) > 2
        assert np.unique(own, return_counts=True)[1].max() < 0.9 * 12


def test_four_copies_may_be_all_of_a_class():
    four = np.stack([thumbnail(as_image(picture(0) * (1 - 0.01 * n) + n)) for n in range(4)])
    groups, filling = near_images(four, np.zeros(4, np.int64))
    assert len(set(groups.tolist())) == 1
    assert not filling.any()


def test_pictures_to_test_on_that_are_known_are_found():
    known = [picture(seed) for seed in range(30)]
    noise = np.random.default_rng(0).normal(0, 5, (48, 48, 3))
    tested = [picture(40), known[7][::2, ::2] * 0.9 + noise, np.full((64, 64, 3), 255.0), known[9]]
    small, others = (np.stack([thumbnail(as_image(values)) for values in some]) for some in (known, tested))
    assert repeated(others, small).tolist() == [False, True, False, True]
    pairs = np.concatenate([others[[1, 1]], others[[3, 0]]], axis=1)  # both images have to be alike
    assert repeated(pairs, np.concatenate([small[[7]], small[[9]]], axis=1)).tolist() == [True, False]
    assert repeated(others[:0], small).tolist() == []
    assert repeated(others, small[:0]).tolist() == [False] * 4


def test_of_one_kind_of_picture_only_the_same_is_known():
    base = picture(0)
    known = [0.88 * base + 0.12 * picture(seed) for seed in range(1, 41)]
    tested = [0.88 * base + 0.12 * picture(50), known[3]]
    small, others = (np.stack([thumbnail(as_image(values)) for values in some]) for some in (known, tested))
    assert repeated(others, small).tolist() == [False, True]
