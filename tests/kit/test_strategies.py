"""Strategies that break their contract are told what they promised."""

from __future__ import annotations

import time

import pytest
import torch

from autotl.plugins.contracts import Choice, Progress, Real, Strategy, Work
from autotl.plugins.manager import plugins
from autotl.search.fitting import fit
from autotl.testing import (
    BrokenPromise,
    check_strategy,
    text_bench,
)
from autotl.testing.strategy import check_choices


class Head(Strategy):
    """A sound strategy, to be changed: the probe's head at a chosen size."""

    name = "head"

    def parameters(self, context):
        return [Real("size", 0.5, 2.0, usual=1.0)]

    def portfolio(self, context):
        return [{"size": 1.0}]

    def work(self, context, settings):
        return Work(0.0)

    def fit(self, trial):
        from autotl.features.heads import LinearHead
        from autotl.training.model import Classifier

        size, head = trial.settings.number("size"), trial.starting_head()
        trial.model = Classifier(trial.frozen.backbone, LinearHead(size * head.weight, size * head.bias))
        yield Progress(1000)


class Outside(Head):
    def portfolio(self, context):
        return [{"size": 5.0}]


class Incomplete(Head):
    def portfolio(self, context):
        return [{}]


class Nowhere(Head):
    def parameters(self, context):
        return []


class Backwards(Head):
    def parameters(self, context):
        return [Choice("size", (2.0, 1.0))]


class Workless(Head):
    def work(self, context, settings):
        return 3.0


class Unread(Head):
    def parameters(self, context):
        return [*super().parameters(context), Real("zeal", 0.0, 1.0)]

    def portfolio(self, context):
        return [{"size": 1.0, "zeal": 0.5}]


class Modelless(Head):
    def fit(self, trial):
        trial.settings.number("size")
        yield Progress(1000)


class Endless(Head):
    def fit(self, trial):
        yield from super().fit(trial)
        if trial.settings.number("size") != 1.0:
            time.sleep(trial.clock.seconds + 5)


class Unfinished(Head):
    def fit(self, trial):
        for _ in super().fit(trial):
            yield Progress(500)


class Falling(Head):
    def fit(self, trial):
        for _ in super().fit(trial):
            yield Progress(500)
            yield Progress(400)


class Random(Head):
    def fit(self, trial):
        for progress in super().fit(trial):
            trial.model.head.weight.data += torch.randn(trial.model.head.weight.shape)
            yield progress


class Meddling(Head):
    def fit(self, trial):
        for parameter in trial.frozen.backbone.parameters():
            parameter.data += 1e-9
            parameter.data *= 1.0001
        trial.model = None
        yield from super().fit(trial)


class Raising(Head):
    def fit(self, trial):
        raise ZeroDivisionError("dropped the vase")
        yield


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        (Outside(), r"strategy 'head': settings of the portfolio lie inside the parameters.*\{'size': 5.0\}"),
        (Incomplete(), r"has every parameter.*none for \['size'\]"),
        (Nowhere(), r"has parameters somewhere"),
        (Backwards(), r"ascending order.*\(2.0, 1.0\)"),
        (Workless(), r"work\(\) returns a Work.*Found: 3.0"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Strategy) else "",
)
def test_a_strategy_that_says_the_wrong_things_is_told(strategy, told):
    with pytest.raises(BrokenPromise, match=told):
        check_choices(strategy)


class Forgetful(Head):
    """Begins where it was put down, without what it had learned until there."""

    def fit(self, trial):
        taken_up = trial.checkpoint is not None and trial.checkpoint.exists()
        for progress in super().fit(trial):
            if not taken_up:
                trial.model.head.weight.data *= 2.0
                if trial.checkpoint is not None:
                    trial.checkpoint.write_bytes(b"half way")
                yield Progress(500)
            yield progress


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        (Unread(), r"never read: zeal"),
        (Modelless(), r"sets trial.model before it first yields"),
        (Unfinished(), r"the last it yields is 1000 permille. Found: 500"),
        (Falling(), r"permille rises, to 1000 at the end. Found: 400 after 500"),
        (Random(), r"a seed gives the same model"),
        (Meddling(), r"leaves trial.frozen.backbone as it is|a seed gives the same model"),
        (Forgetful(), r"goes on from its checkpoint as if it had never been put down. Found: .* beside it"),
        (Raising(), r"raises nothing but TrialError. Found: ZeroDivisionError: dropped the vase"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Strategy) else "",
)
def test_a_strategy_that_fits_wrongly_is_told(strategy, told):
    with pytest.raises(BrokenPromise, match=told):
        check_strategy(strategy, text_bench())


def test_a_sound_strategy_passes():
    check_strategy(Head())


@pytest.mark.slow
def test_a_strategy_that_does_not_end_in_time_is_told():
    with pytest.raises(BrokenPromise, match=r"ends when its clock does, after 0.5 s. Found: it took"):
        check_strategy(Endless(), text_bench())


def test_a_trial_of_any_own_pace_is_judged_where_trials_are_compared(monkeypatch):
    def judged(*said):
        own = type("Own", (Head,), {"fit": lambda self, trial: map(Progress, said)})()
        monkeypatch.setattr(plugins(), "strategy", lambda name: own)
        return [progress.permille for progress in fit(text_bench().trial({}), "own")]

    assert judged(250, 500, 750, 1000) == [111, 333, 667, 1000]
    assert judged(*range(50, 1001, 50)) == [111, 333, 667, 1000]
    assert judged(400, 1000) == [333, 1000]
    assert judged(1000) == [1000]
