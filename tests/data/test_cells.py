"""What a cell looks like is told soon, whatever is in it."""

from __future__ import annotations

import pytest

from autotl.data.cells import is_number, number_and_unit


@pytest.mark.parametrize(
    "cell", ["1" * 300_000 + "x", "." + "1" * 300_000 + "x", "5 a" + " " * 300_000 + ",", "5" * 300_000 + " a"]
)
def test_a_long_cell_is_no_number(cell):
    """Every place in it was tried with every other: of 100,000 digits that took minutes, before any clock."""
    assert not is_number(cell)
    assert number_and_unit(cell) is None


@pytest.mark.parametrize("cell", ["5", "5.", ".5", "-5.25", "+5e3", " 5.5E-2 "])
def test_a_number_is_one(cell):
    assert is_number(cell)
    assert not is_number(f"{cell}x")
