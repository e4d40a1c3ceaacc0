"""Whether a screener keeps its contract: an opinion in time, the same each time, and better for better features."""

from __future__ import annotations

import math
import re
import time

import numpy as np

from autotl.plugins.contracts import Screener
from autotl.testing.promises import expect, expect_no_error

#: As many as a search asks about, and as wide as a small backbone's features.
ROWS, WIDTH, CLASSES = 2000, 256, 4

#: "About a second" on a machine that may be busy with other tests.
SECONDS = 10.0


def check_screener(screener: Screener) -> None:
    """A screener keeps its contract on features whose worth is known. Raises `BrokenPromise`."""
    thing = f"screener {getattr(screener, 'name', type(screener).__name__)!r}"
    expect(isinstance(screener, Screener), thing, "has all members of Screener", type(screener).__name__)
    expect(re.fullmatch(r"\w+", screener.name) is not None, thing, "its name is a word", repr(screener.name))
    scores = []
    for noise in (1.0, 4.0, 64.0):
        features, labels = _clusters(noise)
        given = features.copy(), labels.copy()
        began = time.monotonic()
        with expect_no_error(thing, f"score() has an opinion on {ROWS} rows of {CLASSES} classes"):
            score = screener.score(features, labels, CLASSES)
            again = screener.score(features, labels, CLASSES)
        took = (time.monotonic() - began) / 2
        number = isinstance(score, (float, int, np.floating)) and math.isfinite(score)
        expect(number, thing, "a score is a finite number", repr(score))
        expect(score == again, thing, "the same features get the same score", f"{score}, then {again}")
        expect(took < SECONDS, thing, "takes about a second", f"{took:.1f} s for {ROWS} rows")
        kept = np.array_equal(features, given[0]) and np.array_equal(labels, given[1])
        expect(kept, thing, "leaves features and labels as they are", "other values in them")
        scores.append(float(score))
    ordered = scores[0] > scores[1] > scores[2]
    expect(ordered, thing, "classes that lie further apart score higher", f"{scores} from far to near")


def _clusters(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Features ``[rows, width] float32`` around the centres of their classes, and labels ``[rows] int64``."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, ROWS)
    centres = random.standard_normal((CLASSES, WIDTH))
    features = centres[labels] + noise * random.standard_normal((ROWS, WIDTH))
    return features.astype(np.float32), labels.astype(np.int64)
