"""A search over texts is the same search the second time."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

import autotl


@pytest.mark.slow
def test_a_second_search_gives_the_same_predictions_bit_for_bit(zoo, tmp_path, monkeypatch):
    shutil.copytree(zoo / "bert", tmp_path / "zoo" / "bert")
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(["film", "plot", "music", "the", "was"], 12)) for _ in range(60)]
    rows = [{"text": f"{'good' if n % 2 else 'bad'} {text}", "label": str(n % 2)} for n, text in enumerate(texts)]
    table = tmp_path / "table.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    answers = []
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # which add up in another order than one
    for name in ("first", "second"):
        monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / f"cache-{name}"))
        found = autotl.fit(table, models=tmp_path / "zoo", trials=1, out=tmp_path / name, quiet=True)
        answers.append(found.predict_proba(table).tobytes())
    assert answers[0] == answers[1]
