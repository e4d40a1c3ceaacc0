"""A search over pictures: finished models answer to the mirrored rows too, and what is no picture is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from short_trainings import train_briefly

import autotl
from autotl.data.set_aside import read_set_aside
from autotl.data.tables import read_table


@pytest.mark.slow
def test_finished_models_answer_to_both_views_and_the_first_bundle_does_not_wait_for_them(
    searched, tmp_path, monkeypatch
):
    """A test table of which no picture can be read costs a note, and not the answer."""
    monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / "cache"))
    train_briefly(monkeypatch, tmp_path / "site")
    random, rows = np.random.default_rng(0), []
    for index in range(60):
        red = index % 2
        pixels = random.integers(0, 90, (64, 64, 3), np.uint8)
        pixels[:, :, 0 if red else 2] += 120
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        rows.append({"image": f"{index}.png", "label": "red" if red else "blue"})
    (tmp_path / "torn.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for index in range(4):
        (tmp_path / f"bytes{index}.png").write_bytes(random.bytes(90))
    bad = ["torn.png", "zero.png", "https://example.org/a.png", *(f"bytes{index}.png" for index in range(4))]
    rows += [{"image": cell, "label": "red"} for cell in bad]
    table = tmp_path / "table.csv"
    pd.DataFrame(rows).to_csv(table, index=False)

    (tmp_path / "other.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    test = pd.DataFrame({"image": [str(tmp_path / "other.png")], "label": ["red"]})

    out = tmp_path / "run"
    found = autotl.fit(table, test=test, models=searched, trials=1, out=out, skip_unreadable=0.2, quiet=True)

    answers = {path.stem for path in (tmp_path / "run" / "trials").rglob("*.json") if path.stem == path.parent.name}
    views = {path.stem for path in (tmp_path / "run" / "trials").rglob("*-view1.json")}
    assert answers == {"0000", "head-1"}
    assert views == {"0000-view1", "head-1-view1"}
    predicted = found.predict(table)
    log = (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert "the test rows were not scored (test: TrialError: none of them can be read)" in log
    assert predicted[-len(bad) :].tolist() == [None] * len(bad)
    assert (predicted == [row["label"] for row in rows])[: -len(bad)].mean() > 0.9
    left_out = pd.read_csv(tmp_path / "run" / "set_aside.csv")
    assert left_out["row"].tolist() == list(range(61, 61 + len(bad)))
    assert left_out["input"].tolist() == bad
    assert left_out["reason"].str.startswith("unreadable: ").all()
    assert "torn.png' cannot be read" in left_out["reason"][0]
    listed = read_set_aside(tmp_path / "run" / "set_aside.csv", read_table(table), ["image"])
    assert sorted(listed) == list(range(60, 60 + len(bad)))
