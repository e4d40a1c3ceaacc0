"""Every second is booked once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.search.ledger import Ledger


class Hands:
    """A clock that is set by hand."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@given(st.floats(0, 100), st.floats(0, 100), st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50)), max_size=10))
def test_accounts_add_up_to_the_time_of_the_run(used, start, blocks):
    clock = Hands(used + start)
    ledger = Ledger(clock, used, {"training": used})
    for account, seconds in blocks:
        with ledger.book("outer"), ledger.book(account):
            clock.now += seconds
        clock.now += 1.0
    assert sum(ledger.seconds.values()) == pytest.approx(clock.now, abs=0.01)
    assert ledger.seconds["starting"] == pytest.approx(start, abs=0.001)
    assert ledger.seconds["scheduling"] == pytest.approx(len(blocks), abs=0.001)


def test_what_was_not_booked_before_a_kill_is_told_apart():
    clock = Hands(60.0)
    ledger = Ledger(clock, 60.0, {"training": 20.0, "screening": 10.0})
    assert ledger.seconds == {"training": 20.0, "screening": 10.0, "killed": 30.0, "starting": 0.0, "scheduling": 0.0}
    again = Ledger(clock, 60.0, ledger.seconds)
    assert again.seconds["killed"] == 30.0


def test_what_lies_within_a_block_is_not_booked_twice():
    clock = Hands(0.0)
    ledger = Ledger(clock, 0.0, {})
    with ledger.book("training"):
        clock.now += 5
        with ledger.book("selecting"):
            clock.now += 2
        clock.now += 1
    assert ledger.seconds["training"] == 6
    assert ledger.seconds["selecting"] == 2
