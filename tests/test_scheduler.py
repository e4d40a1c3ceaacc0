"""What goes on and what waits: by rank at the rung, by what is still to be gained, and by what it costs."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autotl.search.scheduler import Scheduler, most_promising, rungs_for

NOISE = 0.01


def scheduler(*curves, floor=0.5):
    """A scheduler that heard these curves, each ``{permille: score}``."""
    made = Scheduler(NOISE, floor)
    for number, curve in enumerate(curves):
        for permille, score in curve.items():
            made.record(number, permille, score)
    return made


def test_few_trials_run_to_their_end_and_many_are_compared():
    assert rungs_for(2.0) == ()
    assert rungs_for(10.0) == (111,)
    assert rungs_for(50.0) == (111, 333)


def test_what_finished_trials_gained_is_expected_of_others():
    heard = scheduler({111: 0.6, 1000: 0.7}, {111: 0.62})
    assert heard.forecast(1) == pytest.approx(0.72)
    assert heard.forecast(0) == pytest.approx(0.7)


def test_only_the_best_third_at_a_rung_may_go_on():
    heard = scheduler({111: 0.60}, {111: 0.61}, {111: 0.62}, {111: 0.63}, {111: 0.64}, {111: 0.65})
    assert [heard.may_go_on(trial) for trial in range(6)] == [False] * 4 + [True] * 2


def test_the_better_paused_trial_goes_on_before_the_worse():
    heard = scheduler({111: 0.60, 1000: 0.70}, {111: 0.66}, {111: 0.67})
    assert most_promising(heard, {1: 10.0, 2: 10.0}, None) == 2


def test_the_cheaper_of_equals_goes_on():
    heard = scheduler({111: 0.60, 1000: 0.70}, {111: 0.66}, {111: 0.66})
    assert most_promising(heard, {1: 10.0, 2: 5.0}, None) == 2


def test_a_new_trial_comes_before_a_paused_one_that_is_hopeless():
    heard = scheduler({111: 0.70, 1000: 0.80}, {111: 0.50}, {111: 0.40})
    assert most_promising(heard, {1: 10.0}, 4.0) is None


def test_a_paused_one_that_leads_comes_before_a_new_trial():
    heard = scheduler({111: 0.60, 1000: 0.70}, {111: 0.61, 1000: 0.70}, {111: 0.55}, {111: 0.70})
    assert most_promising(heard, {3: 10.0}, 10.0) == 3


def test_trials_that_collapsed_do_not_make_a_new_one_promise_more():
    curves = [{111: 0.93 - 0.004 * n, 1000: 0.945 - 0.004 * n} for n in range(4)]
    paused = [{111: 0.935}, *({111: 0.915},) * 4]
    assert most_promising(scheduler(*curves, *paused), {4: 9.0}, 4.0) == 4
    assert most_promising(scheduler(*curves, *paused, {111: 0.02}, {111: 0.01}), {4: 9.0}, 4.0) == 4


def test_a_slower_backbone_that_leads_goes_on_where_it_takes_a_small_part_of_the_time():
    cheap = [{111: 0.60 + 0.002 * number, 1000: 0.70 + 0.002 * number} for number in range(7)]
    heard = scheduler(*cheap, *({111: 0.58},) * 13, {111: 0.70})
    assert most_promising(heard, {20: 200.0}, 8.0) is None
    assert most_promising(heard, {20: 200.0}, 8.0, least=200.0) == 20


def test_when_nothing_new_fits_the_best_paused_one_has_its_turn_whatever_its_rank():
    heard = scheduler({111: 0.70, 1000: 0.80}, {111: 0.50}, {111: 0.40})
    assert most_promising(heard, {1: 10.0, 2: 10.0}, None) == 1
    assert most_promising(heard, {}, None) is None


scores = st.floats(0.0, 1.0)


@example([(0.5, 0.01953125), (0.7578125, 0.0)], [0.0])
@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=8), st.lists(scores, min_size=1, max_size=8))
def test_promises_are_never_negative_and_grow_with_the_score(finished, paused):
    heard = scheduler(*[{111: early, 1000: late} for early, late in finished], *[{111: score} for score in paused])
    promises = [heard.promise(len(finished) + place) for place in range(len(paused))]
    assert all(promise >= 0 for promise in promises)
    assert heard.promise_of_new() >= 0
    ordered = [promise for _, promise in sorted(zip(paused, promises, strict=True))]
    assert ordered == pytest.approx(sorted(ordered))


def test_trials_that_are_no_measure_of_others_are_set_apart():
    """Four from new weights, which gain most on their way, and heads: with them all that is paused looks good."""
    curves = [{111: 0.60 + 0.002 * n, 1000: 0.70 + 0.002 * n} for n in range(6)]
    paused = {111: 0.62}
    odd = [{111: 0.20, 1000: 0.50}] * 4 + [{1000: 0.60}] * 6
    heard = scheduler(*curves, *odd, paused)
    assert heard.forecast(16) == pytest.approx(0.80)
    for number in range(6, 16):
        heard.set_apart(number)
    assert heard.forecast(16) == pytest.approx(0.72)


def test_a_new_trial_is_not_expected_to_be_like_those_that_were_set_apart():
    heard = scheduler(*[{111: 0.60, 1000: 0.70}] * 3, *[{111: 0.10, 1000: 0.68}] * 9, {111: 0.595})
    for number in range(3, 12):
        heard.set_apart(number)
    alone = scheduler(*[{111: 0.60, 1000: 0.70}] * 3, {111: 0.595})
    assert heard.promise_of_new() == pytest.approx(alone.promise_of_new())


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([111, 333, 1000, None]), st.integers(0, 100)),
        min_size=1,
        max_size=30,
    )
)
def test_what_was_asked_on_the_way_changes_no_answer(told):
    """Each is heard in turn, with questions between them, and afresh."""
    asked, fresh = Scheduler(NOISE, 0.5), Scheduler(NOISE, 0.5)
    for trial, permille, score in told:
        for made in (asked, fresh):
            if permille is None:
                made.set_apart(trial)
            else:
                made.record(trial, permille, score / 100)
        asked.promise_of_new()
    assert asked.promise_of_new() == fresh.promise_of_new()
    for trial in {trial for trial, permille, _ in told if permille is not None}:
        assert asked.promise(trial) == fresh.promise(trial)
        assert asked.may_go_on(trial) == fresh.may_go_on(trial)


def test_a_trial_that_begins_anew_counts_once_at_its_rung():
    heard = scheduler({111: 0.60}, {111: 0.61}, {111: 0.62})
    heard.record(2, 111, 0.59)
    assert [heard.may_go_on(trial) for trial in range(3)] == [False, True, False]
