"""Tables whose targets are labels or numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from autotl.data.inspection import inspect_table
from autotl.data.roles import Overrides

COLOURS = ["red", "green", "blue"]


def texts(rows):
    return [f"some words and number {number}" for number in range(rows)]


def some_labels(rows, seed=0):
    """Any of three colours, for each row."""
    random = np.random.default_rng(seed)
    return [[colour for colour in COLOURS if random.random() < 0.4] for _ in range(rows)]


def numbers(rows, seed=0):
    return np.random.default_rng(seed).normal(20, 5, rows).round(2)


def inspected(target="labels", *, task=None, metric=None, **columns):
    count = len(next(iter(columns.values())))
    frame = pd.DataFrame({"text": texts(count), **columns})
    return inspect_table(
        frame, Overrides(target=(target,) if isinstance(target, str) else tuple(target)), kind=task, metric=metric
    )
