"""The incumbent: the published recipe needs to be as good, everyone else a lead beyond the noise."""

from __future__ import annotations

import made_tasks
import numpy as np
import pytest

from autotl.events import BAG_OF_WORDS_NUMBER, DEFAULT_TRIAL
from autotl.predictor import metrics
from autotl.search.incumbent import ENOUGH_TO_FINE_TUNE, Incumbent, Judged

LABELS = np.arange(200) % 2


def judged(trial, wrong, *, permille=1000, valid=None, metric="accuracy"):
    """A model that is wrong in the rows `wrong`."""
    valid = np.arange(200) if valid is None else valid
    sure = np.eye(2)[LABELS]
    sure[list(wrong)] = sure[list(wrong)][:, ::-1]
    probabilities = (0.1 + 0.8 * sure[valid]).astype(np.float32)
    return Judged(
        trial,
        permille,
        metrics.score(made_tasks.of_classes(2, metric), LABELS[valid], probabilities),
        valid,
        probabilities,
    )


def held(by, training_rows=ENOUGH_TO_FINE_TUNE):
    incumbent = Incumbent(made_tasks.of_classes(2), LABELS, training_rows=training_rows)
    assert incumbent.yields_to(by)  # the first model is better than none
    incumbent.held_by = by
    return incumbent


def test_published_recipe_replaces_what_is_equal():
    incumbent = held(judged(-1, range(20)))
    assert incumbent.yields_to(judged(DEFAULT_TRIAL, range(30, 50)))
    assert not incumbent.yields_to(judged(DEFAULT_TRIAL, range(30, 51)))


def test_on_few_rows_the_published_recipe_must_lead_like_anyone():
    incumbent = held(judged(-1, range(20)), training_rows=ENOUGH_TO_FINE_TUNE - 1)
    assert not incumbent.yields_to(judged(DEFAULT_TRIAL, range(30, 49)))
    assert incumbent.yields_to(judged(DEFAULT_TRIAL, range(30, 38)))


def test_another_trial_does_not_replace_what_is_equal_or_better_by_luck():
    incumbent = held(judged(DEFAULT_TRIAL, range(20)))
    assert not incumbent.yields_to(judged(3, range(30, 50)))
    assert not incumbent.yields_to(judged(3, range(30, 49)))


def test_another_trial_replaces_with_a_lead_beyond_one_paired_standard_error():
    incumbent = held(judged(DEFAULT_TRIAL, range(20)))
    assert incumbent.yields_to(judged(3, range(30, 38)))
    # four rows gained and none lost: a small lead, but no luck of the draw
    assert incumbent.yields_to(judged(3, range(4, 20)))


def test_the_favoured_head_only_must_not_be_worse_than_another():
    incumbent = held(judged(-1, range(20)))
    incumbent.favoured = -2
    assert incumbent.yields_to(judged(-2, range(30, 50)))
    assert incumbent.yields_to(judged(-2, range(30, 51)))
    assert not incumbent.yields_to(judged(-2, range(30, 60)))
    assert not incumbent.yields_to(judged(-3, range(30, 50)))


@pytest.mark.parametrize("holder", [DEFAULT_TRIAL, BAG_OF_WORDS_NUMBER])
def test_the_favoured_head_must_lead_before_trials_and_bags_of_words(holder):
    incumbent = held(judged(holder, range(20)))
    incumbent.favoured = -2
    assert not incumbent.yields_to(judged(-2, range(30, 50)))
    assert incumbent.yields_to(judged(-2, range(30, 38)))


@pytest.mark.parametrize("wrong", range(30, 52, 2))
def test_the_limit_is_the_paired_error(wrong):
    holder, challenger = judged(DEFAULT_TRIAL, range(20)), judged(5, range(wrong, 50))
    lead, error = metrics.advantage(made_tasks.of_classes(2), LABELS, challenger.answers, holder.answers)
    assert held(holder).yields_to(challenger) == (lead > error)


@pytest.mark.parametrize("trial", [DEFAULT_TRIAL, 4, -1])
def test_trial_replaces_its_own_earlier_weights_unless_it_became_clearly_worse(trial):
    incumbent = held(judged(trial, range(20), permille=333))
    assert incumbent.yields_to(judged(trial, range(20)))
    assert incumbent.yields_to(judged(trial, range(5, 26)))  # one row worse, with five that changed sides
    assert not incumbent.yields_to(judged(trial, range(30)))


def test_a_trial_that_is_not_at_its_end_needs_twice_the_lead():
    incumbent = held(judged(DEFAULT_TRIAL, range(20)))
    assert incumbent.yields_to(judged(3, range(30, 42)))
    assert not incumbent.yields_to(judged(3, range(30, 42), permille=667))
    assert incumbent.yields_to(judged(3, range(4, 8), permille=667))


def test_models_are_compared_on_the_rows_that_both_could_read():
    """The challenger's score is higher only because the rows where the holder fails were not readable for it."""
    incumbent = held(judged(DEFAULT_TRIAL, range(20)))
    challenger = judged(3, range(100, 102), valid=np.arange(20, 200))
    assert challenger.score > incumbent.held_by.score
    assert not incumbent.yields_to(challenger)


def test_a_worse_trial_never_replaces():
    incumbent = held(judged(DEFAULT_TRIAL, range(20)))
    assert not incumbent.yields_to(judged(1, range(60)))
    assert incumbent.held_by.trial == DEFAULT_TRIAL


def test_a_view_that_takes_most_of_what_a_model_has_over_one_answer_for_all_is_far_worse():
    """As mirrored arrows: of answers that are right on 0.62, the other way round 0.38 are."""
    incumbent = held(judged(-1, range(76)))
    assert incumbent.is_clearly_worse(judged(-1, range(76, 200)), judged(-1, range(76)))
    assert not incumbent.is_clearly_worse(judged(-1, range(80)), judged(-1, range(76)))  # by luck
    assert not incumbent.is_clearly_worse(judged(-1, range(12, 36)), judged(-1, range(16)))  # of a good model, not much
