"""Regularizers and screeners that break their contract are told what they promised."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from autotl.plugins.contracts import Choice, Regularizer
from autotl.testing import (
    BrokenPromise,
    check_regularizer,
    check_screener,
)
from autotl.training.effect import Effect


class Slow(Regularizer):
    """Sound, but for an effect that has none."""

    name = "slow"
    effect_class = Effect

    def strengths(self, context):
        return Choice(self.name, (0.0, 1.0))

    def usual(self, context):
        return 0.0

    def effect(self, strength):
        return self.effect_class()


class Never(Slow):
    def strengths(self, context):
        return None


class AlwaysOn(Slow):
    def strengths(self, context):
        return Choice(self.name, (0.5, 1.0))

    def usual(self, context):
        return 0.5


class Unusual(Slow):
    def usual(self, context):
        return 0.3


class Exploding(Effect):
    def loss(self, logits, again):
        return logits.sum() * float("inf")


class Restless(Effect):
    """Draws what no seed decides."""

    def loss(self, logits, again):
        return logits.square().mean() * float(np.random.default_rng().uniform(0.1, 1.0))


class Counting(Effect):
    """Counts steps by itself, from 1 on when a training is taken up."""

    def begin(self, model, trial):
        self.steps = 0

    def loss(self, logits, again):
        self.steps += 1
        return self.steps * logits.square().mean()


class HeadsAlone(Effect):
    """Fails where no stage is trained."""

    def begin(self, model, trial):
        self.trained = [weight for weight in model.backbone.parameters() if weight.requires_grad]

    def loss(self, logits, again):
        return self.trained[0].square().sum()


class OfNumbers(Slow):
    """Applies to numbers alone, and must be tried on such."""

    effect_class = Exploding

    def strengths(self, context):
        return super().strengths(context) if context.squared else None


@pytest.mark.parametrize(
    ("regularizer", "told"),
    [
        (Slow(), r"regularizer 'slow' on kit-texts/tiny at strength 1.*changes the training"),
        (Never(), r"applies somewhere"),
        (AlwaysOn(), r"0 the least, which is off.*\(0.5, 1.0\)"),
        (Unusual(), r"what is usual is among the strengths.*0.3 of \[0.0, 1.0\]"),
        (type("Wild", (Slow,), {"effect_class": Exploding})(), r"finite losses.*DivergedError: the loss is not finite"),
        (type("Luck", (Slow,), {"effect_class": Restless})(), r"the same seed gives the same training"),
        (type("Count", (Slow,), {"effect_class": Counting})(), r"goes on from its checkpoint as if"),
        (type("Deep", (Slow,), {"effect_class": HeadsAlone})(), r"3 stages frozen.*goes through.*IndexError"),
        (OfNumbers(), r"a training of 24 steps goes through with finite losses"),
        (type("Alien", (Slow,), {"effect_class": dict})(), r"effect\(\) gives an Effect. Found: dict"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Slow) else "",
)
def test_a_regularizer_with_a_fault_is_told_what_it_promised(regularizer, told):
    with pytest.raises(BrokenPromise, match=told):
        check_regularizer(regularizer)


def screener(score):
    return type("Screener", (), {"name": "mine", "score": lambda self, *given: score(*given)})()


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (lambda features, labels, classes: float("nan"), r"screener 'mine': a score is a finite number. Found: nan"),
        (lambda features, labels, classes: 1.0, r"classes that lie further apart score higher"),
        (lambda features, labels, classes: next(COUNT), r"the same features get the same score"),
        (lambda features, labels, classes: float(np.multiply(features, 0, out=features).sum()), r"leaves features"),
        (lambda features, labels, classes: 1 / 0, r"has an opinion.*ZeroDivisionError"),
    ],
)
def test_a_screener_with_a_fault_is_told_what_it_promised(score, told):
    with pytest.raises(BrokenPromise, match=told):
        check_screener(screener(score))


COUNT = itertools.count()
