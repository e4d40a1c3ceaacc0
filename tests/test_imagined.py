"""Imagined searches, on a clock that shows what it is told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotl.plugins.contracts import Candidate, Recipe, StrategyContext
from autotl.search.imagined import Course, ImaginedClock
from autotl.search.pace import Pace
from autotl.search.scheduler import KEPT_PAUSED
from autotl.search.space import Space
from autotl.strategies.finetune import Finetune

BEST, SECOND = (
    Candidate(
        name=name, family="family", modality="image", source="folder", location=name, parameters=1000, width=32,
        input_size=64, licence="none", prior=0.5, recipe=Recipe(1e-3),
    )
    for name in ("best", "second")
)  # fmt: skip


def course(seconds, *, head_wins=False):
    clock = ImaginedClock(seconds, 0.0)
    pace = Pace(clock)
    for candidate in (BEST, SECOND):
        pace.durations.learn_forward(candidate.key, 0.0001, exact=0.0002)
        pace.durations.learn_judging(candidate.key, 0.1, views=0)
    contexts = {
        candidate.key: StrategyContext(
            candidate=candidate, rows=1000, class_rows=(500, 500), metric="accuracy", augments=True, passes=math.inf
        )
        for candidate in (BEST, SECOND)
    }
    made = Space((BEST, SECOND), [Finetune()], (), contexts)
    pace.begin_trials(tuple(made.candidates))
    return Course(made, pace, clock, head_wins=head_wins)


def play(imagined, seconds_of_a_trial):
    """Only trainings of one length, until there is no time for one; returns the most that were paused at once."""
    config, paused = next(imagined.space.portfolio()), 0
    while imagined.goes_on:
        before, training = imagined.clock.now, imagined.next()
        if training is None:
            length = imagined.pace.begin_trial(config.backbone, config.strategy, seconds_of_a_trial)
            training = imagined.begin(config, length, model=1, checkpoint=1)
        imagined.go_on(training)
        assert imagined.clock.now > before
        paused = max(paused, len(imagined.paused))
    return paused


@settings(deadline=None, max_examples=30)
@given(st.floats(60.0, 600.0), st.floats(0.5, 40.0))
def test_the_clock_only_rises_and_trials_end_or_wait_or_were_dropped(seconds, full_trials):
    imagined = course(seconds)
    paused = play(imagined, seconds / full_trials)
    assert paused <= KEPT_PAUSED
    assert 0 < imagined.finished <= imagined.trials
    assert len(imagined.ended) == imagined.finished
    assert imagined.clock.now <= seconds


def test_few_trials_come_to_their_end_and_of_many_most_are_put_down():
    few, many = course(100.0), course(2000.0)
    play(few, 25.0)
    play(many, 20.0)
    assert few.finished == few.trials >= 2
    assert many.finished < many.trials / 2


def test_where_a_head_wins_no_training_has_a_share_in_the_answer():
    with_trainings, with_heads = course(300.0), course(300.0, head_wins=True)
    for imagined in (with_trainings, with_heads):
        play(imagined, 20.0)
        imagined.pace.settle()
    assert len(with_trainings.pace.to_repeat) == 3
    assert not with_heads.pace.to_repeat


def test_what_is_imagined_is_repeated_until_the_end():
    imagined = course(1000.0)
    play(imagined, 400.0)
    imagined.clock.now, trials = 100.0, imagined.trials
    left = imagined.pace.seconds_to_the_end()
    assert left > 600.0
    imagined.repeat()
    assert imagined.trials == round((1 + left / 100) * trials)
    assert imagined.pace.seconds_to_the_end() == pytest.approx(0.0, abs=1e-6)
