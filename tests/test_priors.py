"""Values drawn through the unit interval lie in their range, have their prior, and lead back to themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.plugins.contracts import Choice, Real
from autotl.search.priors import unit_of, value_at

units = st.floats(0.0, 1.0)


@st.composite
def reals(draw):
    log = draw(st.booleans())
    low = draw(st.floats(1e-4, 10.0))
    high = low * draw(st.floats(1.5, 1e4))
    usual = draw(st.one_of(st.none(), st.floats(low, high)))
    return Real("name", low, high, log, usual)


@st.composite
def choices(draw):
    options = draw(st.lists(st.floats(-10, 10), min_size=1, max_size=6, unique=True).map(sorted))
    weights = draw(st.lists(st.floats(0.1, 10), min_size=len(options), max_size=len(options)))
    return Choice("name", tuple(options), tuple(weights))


@given(st.one_of(reals(), choices()), units)
def test_value_lies_in_its_range(parameter, unit):
    value = value_at(parameter, unit)
    if isinstance(parameter, Choice):
        assert value in parameter.options
    else:
        assert parameter.low <= value <= parameter.high


@given(choices())
def test_every_option_leads_back_to_itself(parameter):
    assert [value_at(parameter, unit_of(parameter, option)) for option in parameter.options] == list(parameter.options)


@given(reals(), st.floats(0.02, 0.98))
def test_a_value_that_was_drawn_leads_back_to_itself(parameter, unit):
    value = value_at(parameter, unit)
    assert value_at(parameter, unit_of(parameter, value)) == pytest.approx(value, rel=1e-5)


@given(reals(), units, units)
def test_larger_numbers_lead_to_larger_values(parameter, one, other):
    low, high = sorted([one, other])
    assert value_at(parameter, low) <= value_at(parameter, high)


def test_most_values_are_near_the_usual_one():
    parameter = Real("rate", 0.1, 10.0, log=True, usual=1.0)
    drawn = np.log10([value_at(parameter, unit) for unit in np.linspace(0, 1, 1001)])
    assert abs(np.median(drawn)) < 0.01
    assert np.std(drawn) == pytest.approx(1 / 3, rel=0.05)  # a sixth of two decades
    flat = np.log10([value_at(Real("rate", 0.1, 10.0, log=True), unit) for unit in np.linspace(0, 1, 1001)])
    assert np.std(flat) == pytest.approx(2 / math.sqrt(12), rel=0.05)


def test_options_come_as_often_as_they_weigh():
    parameter = Choice("depth", (0.0, 0.5, 1.0), (1.0, 2.0, 1.0))
    drawn = [value_at(parameter, unit) for unit in np.linspace(0, 1, 4001)]
    assert [drawn.count(option) / len(drawn) for option in parameter.options] == pytest.approx(
        [0.25, 0.5, 0.25], abs=2e-3
    )
