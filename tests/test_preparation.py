"""What a search stands on is refused where nothing could be scored by it."""

from __future__ import annotations

import pandas as pd
import pytest

import autotl
from autotl.errors import DataError

#: Forty of one class, of twenty patients; and twenty of another, of one.
NAMES = ("ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine")
TABLE = pd.DataFrame(
    {
        "text": [f"{one} beside {other}" for one in NAMES[:6] for other in NAMES],
        "label": ["well"] * 40 + ["ill"] * 20,
        "patient": [f"p{number % 20}" for number in range(40)] + ["last"] * 20,
    }
)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (TABLE, "roc_auc cannot be measured, as all rows of a class .* have one group.* another --metric"),
        (TABLE.assign(patient=TABLE["label"]), "nothing is left to validate on, as all rows of each class"),
    ],
)
def test_what_cannot_be_scored_is_said_before_anything_is_spent(here, zoo, tmp_path, table, words):
    with pytest.raises(DataError, match=words):
        autotl.fit(table, group="patient", metric="roc_auc", models=zoo, trials=1, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
