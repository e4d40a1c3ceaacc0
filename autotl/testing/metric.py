"""Whether a metric keeps its contract: a finite number, the same each time, and larger for better answers."""

from __future__ import annotations

import math
import re

import numpy as np

from autotl.data.task import Task
from autotl.kinds import KINDS
from autotl.plugins.contracts import Metric
from autotl.testing.promises import expect, expect_no_error

#: As many as a search judges by, and a few outputs.
ROWS, OUTPUTS = 500, 3


def check_metric(metric: Metric) -> None:
    """A metric keeps its contract for every kind of task that it says it is for. Raises `BrokenPromise`."""
    thing = f"metric {getattr(metric, 'name', type(metric).__name__)!r}"
    expect(isinstance(metric, Metric), thing, "has all members of Metric", type(metric).__name__)
    expect(re.fullmatch(r"\w+", metric.name) is not None, thing, "its name is a word", repr(metric.name))
    known = bool(metric.kinds) and set(metric.kinds) <= set(KINDS)
    expect(known, thing, f"its kinds are some of {', '.join(KINDS)}", repr(metric.kinds))
    for kind in metric.kinds:
        scores = [_score(metric, thing, kind, noise) for noise in (0.1, 1.0, 10.0)]
        ordered = scores[0] > scores[1] > scores[2]
        expect(ordered, thing, f"better answers of a {kind} task score higher", f"{scores} from good to bad")


def _score(metric: Metric, thing: str, kind: str, noise: float) -> float:
    random, outputs = np.random.default_rng(0), 2 if kind == "binary" else OUTPUTS
    task = Task.model_validate(
        {
            "targets": ("target",),
            "kind": kind,
            "classes": [f"class {number}" for number in range(outputs)],
            "inputs": [{"name": "text", "modality": "text"}],
            "metric": metric.name,
        }
    )
    rules = task.rules
    truth = random.standard_normal((ROWS, outputs))
    said = (truth + noise * random.standard_normal((ROWS, outputs))).astype(np.float32)
    targets, answers = truth, said.astype(np.float64)
    if not rules.squared:
        powers = np.exp(np.clip(said, -30, 30))
        answers = powers / (powers.sum(1, keepdims=True) if rules.exclusive else 1 + powers)
        targets = truth.argmax(1) if rules.exclusive else (truth > 0).astype(np.float32)
        answers = answers.astype(np.float32)
    given = rules.decide(task, targets, answers) if metric.of_decisions else answers
    with expect_no_error(thing, f"score() scores {ROWS} rows of a {kind} task"):
        score, again = metric.score(targets, given), metric.score(targets, given)
    expect(math.isfinite(score), thing, "a score is a finite number", repr(score))
    expect(score == again, thing, "the same answers get the same score", f"{score}, then {again}")
    return float(score)
