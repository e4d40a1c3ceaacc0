"""Tables to audit, and what an audit says of them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from autotl.data.audit import audit
from autotl.data.inspection import inspect_table

WORDS = [f"{one}{two}" for one in ("ba", "ce", "di", "fo", "gu") for two in ("lam", "men", "nis", "por", "qua", "ros")]


def sentences(count, words=12, seed=0):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, words)) for _ in range(count)]


def frame(rows=100, seed=0):
    return pd.DataFrame({"text": sentences(rows, seed=seed), "label": ["good", "bad"] * (rows // 2)})


def audited(table, overrides=None, **keywords):
    return audit(inspect_table(table, overrides), **keywords)


def reasons(found):
    return dict(found.inspection.set_aside)
