"""Keeps few sentences of all chapters but one: ``python make_table.py`` writes unequal.csv."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FREQUENT, EACH_OTHER = "text and formats", 20

train = pd.read_csv(Path(__file__).parents[1] / "docstrings" / "train.csv")
others = train[train["chapter"] != FREQUENT].groupby("chapter").head(EACH_OTHER)
pd.concat([train[train["chapter"] == FREQUENT], others]).sample(frac=1, random_state=0).to_csv(
    "unequal.csv", index=False
)
