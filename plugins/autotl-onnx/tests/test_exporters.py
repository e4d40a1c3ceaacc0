"""ONNX exports answer as the bundle does, without anything that made them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import autotl
from autotl.plugins.contracts import ZooContext
from autotl.plugins.manager import plugins
from autotl.testing import check_plugin, make_bundle

#: Runs a script as it would run where nothing is installed that an export does without.
ALONE = """
import runpy, sys
for name in ("torch", "autotl", "transformers", "timm", "onnx", "safetensors", "pandas"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small are slowed down by a second thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def answers_alone(folder: Path, **columns: list[str | None]) -> tuple[list[str], np.ndarray]:
    """What ``python predict.py table.csv`` says in a process of its own: labels, and probabilities."""
    table = folder.parent / "new.csv"
    pd.DataFrame(columns).to_csv(table, index_label="id")
    command = [sys.executable, "-c", ALONE, str(folder / "predict.py"), str(table)]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert answer.returncode == 0, answer.stderr
    rows = list(csv.DictReader(answer.stdout.splitlines()))
    for column, cells in columns.items():
        assert [row[column] for row in rows] == [cell or "" for cell in cells]
    values = [[float(v or "nan") for name, v in row.items() if name.startswith("probability_")] for row in rows]
    return [row["prediction"] for row in rows], np.array(values)


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_the_plugin_keeps_its_contracts():
    check_plugin("onnx")


@pytest.mark.parametrize("layered", [False, True])
def test_a_mixture_for_texts_answers_where_nothing_of_ours_is(bundle, texts, tmp_path, layered):
    model = bundle("one", "two", layered=layered)
    found = autotl.export(model.folder, to="onnx", out=tmp_path / "out", data=pd.DataFrame({"text": texts}))
    assert found.difference < 1e-4
    assert found.agreement == 1
    others = ["word1", *(f"{text} word2 word3" for text in texts[:10]), " ".join(texts), None, "nothing known"]
    labels, probabilities = answers_alone(tmp_path / "out", text=others)
    expected = model.predict_proba(pd.DataFrame({"text": others}))
    assert np.isnan(expected).all(1).tolist() == [text is None for text in others]
    assert_same(probabilities, expected)
    assert labels == [label or "" for label in model.predict(pd.DataFrame({"text": others}))]
    assert len(list((tmp_path / "out").rglob("*.onnx"))) == 2


@pytest.mark.parametrize("layered", [False, True])
def test_a_network_for_images_and_its_mirrored_view_answer_where_nothing_of_ours_is(
    bundle, pictures, tmp_path, layered
):
    model = bundle("resnet", layered=layered)
    cells = [*pictures[:12], "no/such.png"]
    autotl.export(model.folder, to="onnx", out=tmp_path / "out", data=pd.DataFrame({"image": pictures}))
    answer = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert len({member["network"] for member in answer["members"]}) == 1
    assert len({member["folder"] for member in answer["members"]}) == 2
    labels, probabilities = answers_alone(tmp_path / "out", image=cells)
    assert_same(probabilities, model.predict_proba(pd.DataFrame({"image": cells})))
    assert labels[-1] == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_what_is_no_file_is_not_waited_for(bundle, pictures, tmp_path):
    autotl.export(bundle("resnet").folder, to="onnx", out=tmp_path / "out", data=pd.DataFrame({"image": pictures}))
    os.mkfifo(tmp_path / "pipe.png")
    pd.DataFrame({"image": [pictures[0], "pipe.png", "/dev/zero"]}).to_csv(tmp_path / "new.csv", index=False)
    command = [sys.executable, str(tmp_path / "out" / "predict.py"), str(tmp_path / "new.csv")]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=60)
    labels = [row["prediction"] for row in csv.DictReader(answer.stdout.splitlines())]
    assert [bool(label) for label in labels] == [True, False, False]
    assert answer.stderr.count("is a pipe or a device, not a file; left without a prediction") == 2


def test_a_network_for_several_images_answers_where_nothing_of_ours_is(zoo, pictures, tmp_path):
    family = plugins().family("timm-several")
    found = family.candidates(ZooContext((zoo,), columns=2))
    (candidate,) = (one for one in found if one.name == "resnet" and one.source == "folder")
    cells = list(zip(pictures[::2], pictures[1::2], strict=True))
    model = make_bundle(family, [candidate], cells, tmp_path / "run", views=True, layered=True)
    data = pd.DataFrame(cells, columns=["image1", "image2"])
    autotl.export(model.folder, to="onnx", out=tmp_path / "out", data=data)
    for place, odd in ((2, "no/such.png"), (3, None)):
        data.loc[place, "image2"] = odd
    data = data.astype(object).where(data.notna(), None)
    labels, probabilities = answers_alone(tmp_path / "out", **data.to_dict("list"))
    assert_same(probabilities, model.predict_proba(data))
    assert [place for place, label in enumerate(labels) if not label] == [2, 3]


@pytest.mark.parametrize(("backbone", "column"), [("one", "text"), ("resnet", "image")])
def test_eight_bits_are_a_fraction_of_the_size_and_lose_what_is_told(
    bundle, texts, pictures, tmp_path, backbone, column
):
    model = bundle(backbone)
    cells = texts if column == "text" else pictures
    table = pd.DataFrame({column: cells, "label": model.predict(pd.DataFrame({column: cells}))})
    found = autotl.export(model.folder, to="onnx-int8", out=tmp_path / "out", data=table)
    assert found.bundle_score == 1
    assert found.score == pytest.approx(found.agreement)
    assert found.agreement > 0.7
    assert 1e-4 < found.difference < 0.5
    networks = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.onnx"))
    weights = sum(path.stat().st_size for path in model.folder.rglob("*.safetensors")) / len(model.card.members)
    assert networks < 0.5 * weights
    assert not list((tmp_path / "out").rglob("whole*"))


@pytest.mark.slow
def test_a_published_network_answers_alike_on_photographs(shared, tmp_path):
    family = plugins().family("timm")
    folder = shared / "zoo" / "mobilenetv2_035.keras_in1k"
    (candidate,) = (one for one in family.candidates(ZooContext((folder,))) if one.source == "folder")
    photographs = [str(path) for path in sorted((shared / "data" / "flowers" / "images").rglob("*.jpg"))[::150]]
    model = make_bundle(family, [candidate], photographs, tmp_path / "run")
    data = pd.DataFrame({"image": photographs})
    found = autotl.export(tmp_path / "run", to="onnx", out=tmp_path / "out", data=data)
    assert found.rows == len(photographs) > 10
    assert found.difference < 1e-4
    _, probabilities = answers_alone(tmp_path / "out", image=photographs)
    assert_same(probabilities, model.predict_proba(data))
