"""How the budget is shared out: a trial's length follows from what is left and what things take."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from autotl.budget import Clock
from autotl.data.splits import holdout
from autotl.search.pace import AnswerSoFar, Pace
from autotl.search.refit import worth_repeating


def test_a_trial_that_fits_once_gets_all_the_time_and_one_that_fits_often_its_own():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0)
    long, short = pace.begin_trial("a", "tune", 80.0), pace.begin_trial("a", "tune", 8.0)
    assert long.fill
    assert 90 < long.seconds < 100
    assert long.judged  # on the way too: three times 0.7 s
    assert not short.fill
    assert short.planned == pytest.approx(8.0 + 1.0 + 3 * 0.7)  # judged three times on the way, and saved at the end
    assert short.seconds < 30


def test_a_trial_that_fills_the_time_is_judged_on_its_way_where_that_is_cheap():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 10.0, views=0)
    filling, short = pace.begin_trial("a", "tune", 90.0), pace.begin_trial("a", "tune", 8.0)
    assert filling.fill
    assert not filling.judged  # thirty of ninety seconds
    assert short.judged  # it may be put down there for another


def test_a_training_is_judged_by_rows_that_have_to_pass_where_a_head_had_their_features():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.01, exact=0.02)
    pace.durations.judges = 1000
    pace.durations.learn_judging("a", 0.5, views=0, head=True)
    assert pace.judging_seconds("a") == pytest.approx(0.2 + 1.3 * 10.0)
    pace.durations.learn_judging("a", 4.0, views=0)
    assert pace.judging_seconds("a") == pytest.approx(0.2 + 1.3 * 4.0)
    pace.durations.learn_judging("a", 0.5, views=0, head=True)
    assert pace.judging_seconds("a") < 2.0  # what was judged last, as far as trainings are known


def test_a_worker_is_given_up_some_time_after_what_it_was_to_take():
    assert Pace.silence(10.0) == 3 * 10.0 + 20.0
    assert Pace.silence(10.0, looking=5.0) == 3 * 10.0 + 5.0 + 20.0
    assert Pace.silence(math.inf) == math.inf  # what knows itself how long it may take


def test_trials_that_are_to_be_compared_share_the_time_where_not_both_fit():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0)
    alone, passes = pace.begin_trial("a", "tune", 80.0), pace.passes("a", 1000)
    pace.compared = 2
    assert pace.passes("a", 1000) == pytest.approx(passes / 2, rel=0.01)
    half = pace.begin_trial("a", "tune", 80.0)
    assert pace.compared == 1
    assert half.fill
    assert half.planned == pytest.approx(alone.planned / 2, abs=0.1)
    assert half.seconds == pytest.approx(half.planned - 1.0)  # judged within its part
    assert pace.seconds_of_this_training("a") == pytest.approx(half.seconds, abs=0.1)  # at any rung of the first
    assert not pace.begin_trial("a", "tune", 8.0).fill
    assert pace.seconds_of_this_training("a") == pytest.approx(pace.seconds_of_training("a"), abs=0.1)


def test_trials_leave_time_to_validate_their_best_on_the_other_parts_or_none_where_that_does_not_fit():
    pace = Pace(Clock(200.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0)
    pace.begin_trials(["a"])
    pace.release("refit")
    all_of_it = pace.seconds_of_training("a")
    pace.folds = 3
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it, abs=0.5)  # no trial is known
    planned = pace.begin_trial("a", "tune", 5.0).planned
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 3 * planned, abs=0.5)
    pace.learn_answer(AnswerSoFar(trials=range(2)))
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 6 * planned, abs=0.5)
    pace.learn_answer(AnswerSoFar(trials=range(3)))  # 73 s of 200 are too much
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it, abs=0.5)
    pace.learn_answer(AnswerSoFar(trials=range(0)))
    pace.settle()
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 3 * 0.45, abs=0.1)  # heads
    pace.release("folds")
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it, abs=0.5)


def test_trials_leave_time_for_the_refit_and_it_is_there_when_they_have_ended():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0)
    all_of_it = pace.seconds_of_training("a")
    pace.begin_trials(["a"])
    assert pace.seconds_of_training("a") == pytest.approx(0.75 * all_of_it, abs=1.0)  # no trial is known: a quarter
    pace.begin_trial("a", "tune", 5.0)
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 8.1 / 3 - 1.5, abs=0.5)  # a third of a trial
    pace.learn_answer(AnswerSoFar(trials=range(3)))
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 8.1 - 4.5, abs=1.0)
    pace.learn_answer(AnswerSoFar(trials=range(1)))
    pace.durations.learn_trial(0, 6.0)
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 6.0 / 3 - 1.5, abs=0.1)  # what it took is known
    pace.learn_answer(AnswerSoFar(trials=range(0)))
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 8.1 / 3 - 1.5, abs=0.5)  # one may yet win
    pace.refits_trainings = False  # heads may yet win, and take next to nothing
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it, abs=0.1)
    pace.settle()
    pace.durations.learn_judging("a", 1.0, views=0, head=True)
    pace.learn_answer(AnswerSoFar(heads=["a"]))
    assert pace.seconds_of_training("a") == pytest.approx(
        all_of_it - 0.2 - 1.3 * 0.3, abs=0.1
    )  # heads take next to nothing
    assert pace.time_for_a_refit("a", head=True)
    pace.learn_answer(AnswerSoFar(trials=range(1), heads=["a"]))
    pace.refits_trainings = True
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 6.0 / 3 - 1.5 - 0.6, abs=0.1)  # beside it
    pace.release("refit")
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it, abs=0.5)


def test_what_a_heads_fit_takes_is_kept_and_a_long_one_leaves_trainings_their_refit():
    pace = Pace(Clock(100.0))
    for backbone, fitting in (("quick", 0.5), ("slow", 15.0)):
        pace.durations.learn_forward(backbone, 0.001, exact=0.002)
        pace.durations.learn_judging(backbone, 0.5, views=0, head=True, fitting=fitting)
    pace.settle()
    free = pace.seconds_to_the_end()
    pace.begin_trials(["quick", "slow"])
    pace.learn_answer(AnswerSoFar(heads=["quick"]))
    assert free - pace.seconds_to_the_end() == pytest.approx(0.2 + 1.3 * 0.8, abs=0.1)
    pace.learn_answer(AnswerSoFar(heads=["quick", "slow"]))
    assert free - pace.seconds_to_the_end() == pytest.approx(0.2 + 1.3 * 0.8 + 0.2 + 1.3 * 15.3, abs=0.1)
    assert pace.time_for_a_refit("slow", head=True)
    pace.learn_answer(AnswerSoFar(trials=[0]))
    pace.durations.learn_trial(0, 60.0)
    pace.release("refit")
    assert pace.under(Clock(40.0)).time_for_a_refit("slow", head=True)  # beside the third of the training
    late = pace.under(Clock(30.0))
    assert not late.time_for_a_refit("slow", head=True)
    assert late.time_for_a_refit("quick", head=True)
    assert not pace.under(Clock(1.0)).time_for_a_refit("quick", head=True)


def test_where_no_training_can_be_repeated_heads_have_what_is_left():
    """A training took all of the time, and of the seconds that are left a head gets more than a fifth."""
    pace = Pace(Clock(60.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0, head=True)
    pace.settle()
    pace.begin_trials(["a"])
    pace.learn_answer(AnswerSoFar(trials=[0], heads=["a"]))
    pace.durations.learn_trial(0, 55.0)
    pace.release("refit")
    assert pace.under(Clock(60.0, start=time.monotonic() - 55.5)).time_for_a_refit("a", head=True)


def test_nothing_is_kept_for_a_head_that_there_is_never_time_to_fit_to_all_rows():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("words", 0.5, views=0, head=True)
    pace.settle()
    free = pace.seconds_to_the_end()
    pace.begin_trials(["a"])
    pace.learn_answer(AnswerSoFar(heads=["words"]))
    assert free - pace.seconds_to_the_end() == pytest.approx(0.2 + 1.3 * 0.3, abs=0.1)
    pace.durations.learn_refit("words", 90.0)
    assert free - pace.seconds_to_the_end() == pytest.approx(0.0, abs=0.1)
    assert not pace.under(Clock(50.0)).time_for_a_refit("words", head=True)


def test_no_time_is_kept_to_repeat_the_end_of_a_trial_that_was_better_before_it():
    pace = Pace(Clock(300.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0)
    pace.begin_trials(["a"])
    pace.learn_answer(AnswerSoFar(trials=[0], on_their_way={0}))
    pace.begin_trial("a", "finetune", 60.0)
    while_it_trains = pace.seconds_to_the_end()
    pace.durations.learn_trial(0, 60.0)
    pace.settle()
    assert pace.seconds_to_the_end() - while_it_trains > 15.0
    pace.learn_answer(AnswerSoFar(trials=[0]))
    assert pace.seconds_to_the_end() == pytest.approx(while_it_trains, abs=2.0)


def test_trainings_of_a_large_table_are_not_repeated_for_its_few_judges():
    train, valid = holdout(np.arange(20_000) % 2, seed=0)
    assert worth_repeating(train, valid)
    train, valid = holdout(np.arange(100_000) % 2, seed=0)
    assert not worth_repeating(train, valid)


def test_a_trial_that_is_short_of_steps_gets_the_time_of_the_refit_too():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0)
    all_of_it = pace.seconds_of_training("a")
    pace.begin_trials(["a"])
    assert pace.begin_trial("a", "tune", 1000.0).seconds == pytest.approx(all_of_it, abs=0.5)


def test_a_slow_rival_leaves_the_answer_the_time_for_its_refit():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0)
    pace.begin_trials(["a"])
    pace.learn_answer(AnswerSoFar(trials=[0]))
    pace.durations.learn_trial(0, 9.0)
    kept = pace.seconds_of_training("a")
    pace.begin_trial("a", "tune", 1000.0)
    assert pace.seconds_of_training("a") == pytest.approx(kept, abs=0.2)


def test_nothing_is_kept_for_what_an_earlier_process_has_done():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=0)
    all_of_it = pace.seconds_of_training("a")
    pace.folds = 3
    pace.begin_trials(["a"])
    pace.learn_answer(AnswerSoFar(trials=[0]))
    pace.refits_trainings = False
    pace.durations.learn_trial(0, 9.0)
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 27.0, abs=0.5)
    pace.learn_answer(AnswerSoFar(trials=[0], folded={0}))
    pace.settle()
    assert pace.seconds_of_training("a") == pytest.approx(all_of_it - 3 * 0.45, abs=0.5)  # heads


def test_one_more_backbone_is_waited_for_until_screening_ends_and_not_for_half_a_minute():
    pace = Pace(Clock(20.0))
    pace.begin_screening()
    assert pace.loading_seconds() == pytest.approx(30.0)
    assert pace.loading_seconds(needed=False) == pytest.approx(10.0, abs=0.1)
    longer = Pace(Clock(600.0))
    longer.begin_screening()
    assert longer.loading_seconds(needed=False) == pytest.approx(120.0, abs=1.0)


def test_a_short_training_has_its_turn_when_nothing_else_is_waited_for():
    pace = Pace(Clock(20.0))
    pace.durations.learn_forward("a", 0.005, exact=0.01)  # 32 s for rows enough
    pace.durations.learn_judging("a", 1.0, views=0)
    pace.begin_trials(["a"])
    assert not pace.time_for_a_trial()
    pace.settle()
    assert pace.time_for_a_trial()


def test_without_a_time_limit_nothing_depends_on_time():
    pace = Pace(Clock())
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.begin_screening()
    assert pace.seconds_for_a_look(3, needed=True) == pace.seconds_left_for_screening == math.inf
    assert pace.begin_trial("a", "tune", 1e9).seconds == math.inf
    assert pace.passes("a", 1000) == math.inf


def test_the_last_act_leaves_time_for_other_views_of_the_rows():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_judging("a", 1.0, views=None)
    alone = pace.judging_seconds("a")
    pace.durations.learn_judging("a", 2.0, views=1)
    pace.durations.learn_judging("a", 1.0, views=None)
    assert pace.judging_seconds("a") > 1.8 * alone


def test_what_the_answers_members_take_on_the_test_rows_is_kept_free():
    pace = Pace(Clock(100.0))
    pace.durations.learn_forward("a", 0.001, exact=0.002)
    pace.durations.learn_forward("b", 0.001, exact=0.004)
    untested = pace.seconds_to_the_end()
    pace.test_rows = 1000
    assert pace.seconds_to_the_end() == pytest.approx(untested - 1.0 - 1.2 * 4.0, abs=0.1)  # before there is an answer
    pace.learn_answer(AnswerSoFar(members=["a", "a", "b"]))
    assert pace.seconds_to_the_end() == pytest.approx(untested - 1.0 - 1.2 * 8.0, abs=0.1)
    pace.test_rows = 100_000  # more than there is time for, as the answer has grown
    assert pace.patience() == pytest.approx(100.0 - 0.4 - 2.0 - 30.0 + 1.0, abs=0.1)


def test_time_for_the_report_is_kept_where_it_is_a_small_part_of_the_budget():
    assert Pace(Clock(100.0)).seconds_to_the_end() == pytest.approx(100 - 0.4 - 2.0, abs=0.1)
    assert Pace(Clock(20.0)).seconds_to_the_end() == pytest.approx(20 - 0.4, abs=0.1)


def test_a_report_is_written_when_it_ends_in_time_and_keeps_nobody_waiting():
    now = time.monotonic()
    late = Pace(Clock(100.0, start=now - 99.9))
    assert late.reporting_seconds(interrupted=False) == 0.0
    assert 2.0 <= Pace(Clock(100.0, start=now - 98.0)).reporting_seconds(interrupted=False) <= 3.0
    assert late.reporting_seconds(interrupted=True) == 2.0
    assert Pace(Clock(20.0, start=now - 18.9)).reporting_seconds(interrupted=False) == 0.0
    assert Pace(Clock(20.0, start=now - 18.5)).reporting_seconds(interrupted=False) == pytest.approx(1.5, abs=0.1)
    assert Pace(Clock()).reporting_seconds(interrupted=False) == math.inf


def test_rows_to_test_on_keep_a_part_of_the_time_however_many_they_are():
    pace = Pace(Clock(100.0))
    all_of_it = pace.seconds_to_the_end()
    pace.durations.learn_forward("a", 0.001, exact=0.01)
    pace.test_rows = 1000
    assert pace.seconds_to_the_end() == pytest.approx(all_of_it - (1.0 + 1.2 * 10.0), abs=0.1)
    pace.test_rows = 100_000
    assert pace.seconds_to_the_end() == pytest.approx(all_of_it - 30.0, abs=0.1)


def test_a_slow_backbone_that_was_only_looked_at_stops_no_training_of_a_fast_one():
    pace = Pace(Clock(300.0))
    pace.durations.judges = 500
    pace.durations.learn_forward("fast", 0.005, exact=0.01)
    pace.durations.learn_judging("fast", 1.0, views=0, head=True)
    pace.durations.learn_forward("slow", 0.3, exact=0.6)  # judging a model of it takes 195 s
    pace.begin_trials(["fast"])
    assert pace.time_for_a_trial()
    assert pace.judging_seconds(None) < 10
    pace = pace.under(Clock(60.0))
    pace.begin_trials(["fast", "slow"])
    assert pace.time_for_a_trial()
    assert (pace.time_to_judge("fast"), pace.time_to_judge("slow")) == (True, False)
    pace.begin_trials(["slow"])
    assert not pace.time_for_a_trial()


def test_a_run_that_goes_on_for_minutes_may_not_be_late_by_a_share_of_its_hours():
    began = time.monotonic() - 12 * 3600.0
    pace = Pace(Clock(12 * 3600.0 + 600.0, start=began))
    pace.used = 12 * 3600.0
    assert 600.0 < pace.patience() + 3.0 < 612.0


@pytest.mark.parametrize(("seconds", "seen"), [(20.0, 4000), (200.0, 10_000), (math.inf, 10_000)])
def test_heads_see_all_rows_where_a_training_passes_them_twice(seconds, seen):
    pace = Pace(Clock(seconds))
    pace.durations.learn_forward("a", 0.001, exact=0.002)  # a pass of a training takes 40 s
    assert pace.rows_of_a_head("a", 10_000) == seen
    assert pace.rows_of_a_head("a", 300) == 300
    pace.outputs = 77  # a hundred of each class, where all but a few hundred would be fewer than fifty
    assert pace.rows_of_a_head("a", 10_000) == max(seen, 7700)
