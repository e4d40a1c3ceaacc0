"""Situations in which a search may ask a strategy or a regularizer what can be chosen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from autotl.plugins.contracts import Candidate, Recipe, StrategyContext

#: Rows of each class: a small table of unlike classes, a large one of two, one of many classes.
_TABLES = ((48, 24, 8), (4000, 3000), (20,) * 40)

#: Passes that the budget affords: less than one, a few, any number.
_PASSES = (0.5, 20.0, math.inf)

_CANDIDATE = Candidate(
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


def contexts() -> Iterator[StrategyContext]:
    """Every combination: 144 of them."""
    metrics, yes_or_no = ("accuracy", "balanced_accuracy"), (False, True)
    for rows, metric, augments, passes, doubtful, teacher in itertools.product(
        _TABLES, metrics, yes_or_no, _PASSES, yes_or_no, yes_or_no
    ):
        yield StrategyContext(_CANDIDATE, rows, metric, augments, passes, doubtful=doubtful, teacher=teacher)


def described(context: StrategyContext) -> str:
    """For messages: what a context says beside its candidate."""
    facts = [f"{context.rows} rows of {context.classes} classes", context.metric, f"{context.passes:g} passes"]
    facts += ["augments"] * context.augments + ["doubtful"] * context.doubtful + ["with a teacher"] * context.teacher
    return ", ".join(facts)
