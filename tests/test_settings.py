"""A trial's settings: each is read, and as what it is."""

from __future__ import annotations

import pytest

from autotl.errors import TrialError
from autotl.training.settings import Settings


def test_settings_that_nobody_reads_fail_the_trial_by_name():
    settings = Settings({"rate": 0.5, "kind": "slow", "depth": 2})
    assert settings.number("rate") == 0.5
    with pytest.raises(TrialError, match=r"never read: depth, kind"):
        settings.check_all_read()
    assert settings.word("kind") == "slow"
    assert settings.number("depth") == 2.0
    settings.check_all_read()


def test_settings_that_are_missing_or_no_number_fail_the_trial():
    settings = Settings({"kind": "slow"})
    with pytest.raises(TrialError, match=r"'rate', which is not among its parameters"):
        settings.number("rate")
    with pytest.raises(TrialError, match=r"'kind' is 'slow', not a number"):
        settings.number("kind")
