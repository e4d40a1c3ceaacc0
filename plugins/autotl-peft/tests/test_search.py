"""A search tries both strategies, and its bundle needs no peft."""

from __future__ import annotations

import csv
import subprocess
import sys

import pandas as pd
import pytest

import autotl

PREDICT = (
    "import sys; sys.modules['peft'] = None; import autotl; print(len(autotl.load(sys.argv[1]).predict(sys.argv[2])))"
)


@pytest.mark.slow
def test_both_finish_their_trials_and_the_bundle_predicts_without_peft(zoo, make_texts, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / "cache"))
    table, run = tmp_path / "table.csv", tmp_path / "run"
    pd.DataFrame({"text": make_texts(60), "label": ["good", "bad"] * 30}).to_csv(table, index=False)

    autotl.fit(table, models=zoo / "transformers", trials=6, out=run, quiet=True)

    with (run / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ended = {row["strategy"] for row in rows if row.get("score")}
    assert {"lora", "ia3"} <= ended, rows
    answer = subprocess.run([sys.executable, "-c", PREDICT, run, table], capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == "60", answer.stderr
