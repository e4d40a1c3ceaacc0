"""A search tries both strategies, and its bundle needs no peft."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

import autotl
from autotl.portfolio import Portfolio
from autotl.search.portfolio_file import Entry, Sources

PREDICT = """
import sys
sys.modules["peft"] = None
import autotl
print(len(autotl.load(sys.argv[1]).predict(sys.argv[2])))
"""


@pytest.mark.slow
def test_both_finish_their_trials_and_the_bundle_predicts_without_peft(zoo, make_texts, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / "cache"))
    table, run = tmp_path / "table.csv", tmp_path / "run"
    pd.DataFrame({"text": make_texts(60), "label": ["good", "bad"] * 30}).to_csv(table, index=False)
    short = {"epochs_multiplier": 0.3, "frozen_fraction": 0.5}  # what else they take is the recipe's
    entries = tuple(Entry(strategy=name, settings=short, mean_regret=0.0) for name in ("lora", "ia3"))
    Portfolio(sources=Sources(runs=1, tasks=1, trials=2), entries=entries).save(tmp_path / "first.json")

    found = autotl.fit(table, models=zoo / "searched", trials=3, portfolio=tmp_path / "first.json", out=run, quiet=True)

    trials = found.leaderboard().set_index("strategy")
    assert trials.loc[["lora", "ia3"], "score"].notna().all()
    answer = subprocess.run([sys.executable, "-c", PREDICT, run, table], capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == "60", answer.stderr
