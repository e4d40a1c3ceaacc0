"""Which backbones go on from screening."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotl.plugins.contracts import Candidate, Recipe
from autotl.search.ranking import SURVIVORS, Screened, hopeless, slow, survivors, trainable_first

RECIPE = Recipe(learning_rate=1e-3, weight_decay=0.0, layer_decay=1.0, batch_size=32, epochs=5)
CANDIDATE = Candidate("a", "f", "text", "folder", "a", 1000, 8, 16, "none", 0.5, RECIPE)
shares = st.floats(0.05, 0.95)
screened = st.builds(Screened, head=shares, rows=st.integers(50, 5000), prior=shares)
fields = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), screened, min_size=1, max_size=8)


@given(fields)
def test_the_best_head_and_the_strongest_prior_are_among_the_survivors_best_first(seen):
    chosen = survivors(seen)
    assert len(set(chosen)) == len(chosen)
    assert min(SURVIVORS, len(seen)) <= len(chosen) <= SURVIVORS + 1
    assert [seen[key].score for key in chosen] == sorted((seen[key].score for key in chosen), reverse=True)
    strongest = max(backbone.prior for backbone in seen.values())
    assert strongest in [seen[key].prior for key in chosen]


def test_opinions_decide_between_near_equals():
    def backbone(opinion: float) -> Screened:
        return Screened(0.8, 1000, 0.5, {"neighbours": opinion, "evidence": opinion})

    seen = {f"net{number}": backbone(number / 10) for number in range(6)}
    assert set(survivors(seen)) >= {"net5", "net4", "net3"}


def test_an_opinion_that_is_missing_for_one_counts_for_none():
    seen = {f"net{number}": Screened(0.5 + number / 10, 1000, 0.5, {"loud": -number}) for number in range(4)}
    seen["net4"] = Screened(0.3, 1000, 0.4)
    assert set(survivors(seen)) == {"net3", "net2", "net1"}


@pytest.mark.parametrize(
    ("names", "order"),
    [((), ["a", "b", "c"]), ("a", ["b", "c", "a"]), ("ab", ["a", "c", "b"]), ("abc", ["a", "b", "c"])],
)
def test_what_could_hardly_be_trained_comes_after_what_can_and_is_nearly_as_good(names, order):
    candidates = [dataclasses.replace(CANDIDATE, name=name) for name in "abc"]
    scores = {candidate.key: score for candidate, score in zip(candidates, (0.9, 0.88, 0.84), strict=True)}
    found = trainable_first(candidates, scores, {one.key for one in candidates if one.name in names})
    assert [candidate.name for candidate in found] == order


def test_only_a_clearly_weaker_prior_is_hopeless():
    seen = [Screened(0.5 + 0.4 * prior, 1000, prior) for prior in (0.2, 0.5, 0.7, 0.9)]
    assert hopeless(0.05, seen)
    assert not hopeless(0.65, seen)
    assert not hopeless(0.95, seen)


def test_nothing_is_hopeless_before_there_are_more_than_go_on():
    seen = [Screened(0.9, 1000, prior) for prior in (0.5, 0.7, 0.9)]
    assert not hopeless(0.0, seen)


@given(st.lists(screened, min_size=4, max_size=8), shares)
def test_a_prior_that_is_hopeless_makes_every_weaker_one_hopeless_where_priors_tell(seen, prior):
    import numpy as np

    priors, accuracies = [s.prior for s in seen], [s.head for s in seen]
    if np.ptp(priors) > 0.01 and np.polyfit(priors, accuracies, 1)[0] > 0 and hopeless(prior, seen):
        assert hopeless(prior / 2, seen)


def test_of_equals_by_prior_the_largest_has_a_seat():
    """A truncated network has better frozen features here and there, and is tuned less well."""
    seen = {f"first{layers}": Screened(0.9 - layers / 50, 1000, 0.5, parameters=layers) for layers in range(1, 7)}
    assert "first6" in survivors(seen)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"a": 1.0, "b": 0.3}, set()),
        ({"a": 0.3, "b": 0.2}, {"b"}),
        ({"a": 0.1, "b": 0.2, "c": 0.05}, {"a", "c"}),
        ({"a": 0.2, "b": 0.203}, set()),
        ({"a": math.inf, "b": math.inf}, set()),
        ({}, set()),
    ],
)
def test_where_all_could_hardly_be_trained_those_that_come_furthest_are_not_slow(parts, named):
    assert slow(parts) == named
