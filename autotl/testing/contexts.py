"""Situations in which a search may ask a strategy or a regularizer what can be chosen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from autotl.plugins.contracts import Candidate, Recipe, StrategyContext

#: Of classes, of labels, and of numbers.
_METRICS, _METRIC_OF_LABELS, _METRIC_OF_NUMBERS = ("accuracy", "balanced_accuracy"), "mean_average_precision", "r2"

#: Rows, those of each class, and a metric: a small table of unlike classes, a large one of two, one of many classes,
#: one of labels and one of numbers.
_TABLES = (
    *itertools.product((80,), ((48, 24, 8),), _METRICS),
    *itertools.product((7000,), ((4000, 3000),), _METRICS),
    *itertools.product((800,), ((20,) * 40,), _METRICS),
    (800, (), _METRIC_OF_LABELS),
    (800, (), _METRIC_OF_NUMBERS),
)

#: Passes that the budget affords: less than one, a few, any number.
_PASSES = (0.5, 20.0, math.inf)

_TEXTS = Candidate(
    name="any",
    family="any",
    modality="text",
    source="package",
    location="",
    parameters=10_000_000,
    width=256,
    input_size=128,
    licence="none",
    prior=0.5,
    recipe=Recipe(learning_rate=1e-4, layer_decay=0.75),
)

#: Of images, which are augmented: convolutions, whose layers have one rate.
_IMAGES = replace(_TEXTS, modality="image", recipe=Recipe(learning_rate=1e-4))


def contexts() -> Iterator[StrategyContext]:
    """Every combination: 192 of them."""
    yes_or_no = (False, True)
    for (rows, class_rows, metric), augments, passes, doubtful, teacher in itertools.product(
        _TABLES, yes_or_no, _PASSES, yes_or_no, yes_or_no
    ):
        candidate, stages = (_IMAGES, 12) if augments else (_TEXTS, 0)
        yield StrategyContext(
            candidate, rows, class_rows, metric, augments, passes, doubtful, squared=metric == _METRIC_OF_NUMBERS,
            teacher=teacher, stages=stages,
        )  # fmt: skip


def described(context: StrategyContext) -> str:
    """For messages: what a context says beside its candidate."""
    facts = [f"{context.rows} rows of {context.classes or 'no'} classes", context.metric, f"{context.passes:g} passes"]
    facts += ["augments"] * context.augments + ["doubtful"] * context.doubtful + ["with a teacher"] * context.teacher
    return ", ".join(facts)
