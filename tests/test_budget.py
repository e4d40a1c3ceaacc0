"""Budgets: what people write is understood, and what cannot be kept is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.budget import LONGEST, SHORTEST, Clock, describe_seconds, parse_budget
from autotl.errors import BudgetError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("2h", 7200),
        ("1d", 86400),
        ("0.5h", 1800),
        (" 5 M ", 300),
        ("1d2h3m4s", 93784),
    ],
)
def test_budget_is_read_as_people_write_it(text, seconds):
    assert parse_budget(text) == seconds


@given(st.integers(0, 300), st.integers(0, 59), st.integers(10, 59))
def test_hours_minutes_and_seconds_add_up(hours, minutes, seconds):
    assert parse_budget(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@given(st.floats(SHORTEST, LONGEST).map(lambda seconds: round(seconds, 3)))
def test_plain_number_is_seconds(seconds):
    assert parse_budget(f"{seconds:f}") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["0", "0s", "1s", "9.9s", "31d", "99999h", "9" * 400 + "s"])
def test_absurd_budget_is_refused_with_the_limits(text):
    with pytest.raises(BudgetError, match=r"outside 10s to 30d"):
        parse_budget(text)


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0.0 s"), (4.24, "4.2 s"), (59.7, "1:00"), (185, "3:05"), (7200, "2:00:00")]
)
def test_seconds_are_described_as_on_a_clock(seconds, words):
    assert describe_seconds(seconds) == words


@given(st.floats(0, 1e6))
def test_description_never_shows_sixty(seconds):
    assert ":60" not in describe_seconds(seconds)
    assert describe_seconds(seconds) != "10.0 s"


def test_clock_counts_from_its_start():
    now = Clock(100.0)
    earlier = Clock(100.0, start=now.start - 60.0)
    assert earlier.elapsed == pytest.approx(now.elapsed + 60.0, abs=0.1)
    assert earlier.elapsed + earlier.remaining == pytest.approx(100.0, abs=0.1)
    assert Clock().remaining == float("inf")
