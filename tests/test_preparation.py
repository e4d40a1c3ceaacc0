"""What a search stands on is refused where nothing could be scored by it."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import autotl
from autotl.config import make_request
from autotl.errors import DataError, ZooError
from autotl.plugins.manager import plugins
from autotl.runs.folder import run_folder
from autotl.search.ledger import Ledger
from autotl.search.preparation import judging_allowance, prepare
from autotl.testing.tiny import TinyFamily

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


def prepared(table, zoo, *, budget=60.0, **asked):
    asked |= {"models": (zoo,)} if zoo else {"offline": True}
    request = make_request(str(table), budget_seconds=budget, **asked)
    ledger, judging = Ledger(lambda: 0.0, 0.0, {}), judging_allowance(budget)
    return prepare(request, None, None, seconds=1.0, ledger=ledger, download=math.inf, judging=judging)


def test_a_slip_in_the_name_of_a_licence_is_told(here, table, zoo, tiny):
    (note,) = (note for note in prepared(table, zoo, licenses="none,apache2").inspection.notes if "licence" in note)
    assert "'apache2'" in note
    assert "Did you mean 'apache-2.0'" in note
    assert not [note for note in prepared(table, zoo, licenses="none,mit").inspection.notes if "licence" in note]


def test_a_backbone_that_cannot_be_used_is_told_with_the_reason(here, table, zoo, tiny, monkeypatch):
    """The kit's own comes with its plugin, and is not among the folders given."""
    monkeypatch.setattr(plugins(), "families_for", lambda modality: [tiny, TinyFamily("text")])
    assert [one.name for one in prepared(table, zoo, backbones=("one",)).candidates] == ["one"]
    with pytest.raises(ZooError, match=r"'kit-texts/tiny' cannot be used here: not in the folders given"):
        prepared(table, zoo, backbones=("kit-texts/tiny",))
    with pytest.raises(ZooError, match=r"no backbone 'ones' here. Did you mean 'one'.*autotl models"):
        prepared(table, zoo, backbones=("ones",))


@pytest.mark.parametrize(
    ("words", "budget", "judges"), [(200, 60.0, 500), (200, 200.0, 632), (200, 2000.0, 800), (10, 60.0, 800)]
)
def test_fewer_long_texts_validate_in_a_short_budget(here, zoo, tiny, tmp_path, words, budget, judges):
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in row) for row in random.integers(0, 9999, (8000, words))]
    table = tmp_path / "table.csv"
    pd.DataFrame({"text": texts, "label": random.choice(["good", "bad"], len(texts))}).to_csv(table, index=False)
    found = prepared(table, zoo, budget=budget)
    assert len(found.split.valid) == pytest.approx(judges, abs=1)
    assert f"holdout of {judges} of 8000 rows" in found.audit.facts["split"]


@pytest.mark.parametrize(("budget", "judges"), [(60.0, 500), (90.0, 540), (2000.0, 600)])
def test_fewer_pictures_validate_in_a_short_budget_and_copies_that_stay_together_change_nothing(
    here, tmp_path, monkeypatch, budget, judges
):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    names = [f"{number:05d}.png" for number in range(6000)]
    for number, name in enumerate(names):
        (pictures / name).write_bytes(picture.getvalue() + number.to_bytes(4, "big"))  # no copies to the byte
    table = tmp_path / "table.csv"
    labels = np.arange(len(names)) % 2
    pd.DataFrame({"image": [f"pictures/{name}" for name in names], "label": labels}).to_csv(table, index=False)
    monkeypatch.setattr(plugins(), "families_for", lambda modality: [TinyFamily("image")])
    found = prepared(table, None, budget=budget)
    assert len(found.split.valid) == pytest.approx(judges, abs=1)
    alike = np.arange(len(names))
    alike[1] = 0
    assert len(found.keeping_together(alike, seed=0).split.valid) == pytest.approx(judges, abs=2)


def test_runs_on_frames_have_folders_of_their_own(here):
    for number in ("", "-2", "-3"):
        folder = run_folder("DataFrame", None)
        assert folder.name == f"DataFrame{number}"
        folder.mkdir(parents=True)
