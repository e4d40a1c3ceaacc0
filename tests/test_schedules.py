"""Schedules: a factor that warms up, stays within one, and is zero at the end, whatever the length."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.training.schedules import SCHEDULES

every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


@every_schedule
@given(progress=st.floats(0, 1))
def test_factor_stays_between_zero_and_one(schedule, progress):
    assert -1e-9 <= schedule(progress) <= 1 + 1e-9


@every_schedule
def test_starts_low_reaches_the_peak_and_ends_at_zero(schedule):
    assert 0 <= schedule(0.0) <= 0.05
    assert max(schedule(step / 1000) for step in range(1001)) == pytest.approx(1.0, abs=1e-6)
    assert schedule(1.0) == pytest.approx(0.0, abs=1e-9)


@every_schedule
@given(progress=st.floats(0, 0.999))
def test_moves_without_jumps(schedule, progress):
    assert abs(schedule(progress + 0.001) - schedule(progress)) < 0.02


@every_schedule
def test_rises_once_and_never_rises_again(schedule):
    factors = [schedule(step / 1000) for step in range(1001)]
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    after = factors[peak:]
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(after))


def test_constant_schedule_is_constant_between_warm_up_and_cooldown():
    assert {SCHEDULES["constant-cooldown"](step / 100) for step in range(10, 76)} == {1.0}
