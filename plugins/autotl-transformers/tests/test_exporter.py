"""A folder that other libraries load: the same answers, by the lines of its README."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from autotl_transformers.stages import Backbone
from bundle_edits import edit_card
from readmes import answers_of_readme
from transformers import AutoModel

import autotl
from autotl.data.task import Task
from autotl.errors import ExportError
from autotl.exporters.tracing import traced
from autotl.features.heads import LinearHead
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import read_card
from autotl.predictor.predictor import Predictor
from autotl.testing import check_exporter, make_bundle
from autotl.training.model import Classifier


@pytest.fixture
def texts(texts) -> list[str]:
    """Without the empty one, which is a missing cell in a table."""
    return [text for text in texts if text]


@pytest.fixture
def model(family, local, kind, texts, tmp_path) -> Predictor:
    return make_bundle(family, [local[kind]], texts, tmp_path / "run")


def test_every_type_of_encoder_keeps_the_contract(model, texts):
    check_exporter(plugins().exporter("huggingface"), model, texts)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_readme_says_how_it_is_loaded(family, local, texts, tmp_path, pooling, monkeypatch):
    load = type(family).load
    monkeypatch.setattr(
        type(family), "load", lambda self, candidate: Backbone(load(self, candidate).model, pooling=pooling).eval()
    )
    model = make_bundle(family, [local["bert"]], texts, tmp_path / "run")
    data = pd.DataFrame({"text": texts})
    autotl.export(tmp_path / "run", to="huggingface", out=tmp_path / "out", data=data)
    answers = answers_of_readme(tmp_path / "out", '["a text"]', repr(texts))
    assert answers
    for said in answers:
        np.testing.assert_allclose(said, model.predict_proba(data), rtol=0, atol=1e-4)


def test_the_readme_says_how_columns_are_joined(family, local, texts, tmp_path):
    make_bundle(family, [local["bert"]], texts, tmp_path / "run")
    inputs = [{"name": name, "modality": "text"} for name in ("title", "body")]
    card = json.loads((tmp_path / "run" / "best" / "bundle.json").read_text(encoding="utf-8"))
    edit_card(tmp_path / "run" / "best", task=card["task"] | {"inputs": inputs})
    data = pd.DataFrame({"title": texts, "body": texts[::-1]})
    autotl.export(tmp_path / "run", to="huggingface", out=tmp_path / "out", data=data)
    rows = [f"title: {title}\nbody: {body}" for title, body in zip(texts, texts[::-1], strict=True)]
    answers = answers_of_readme(tmp_path / "out", r'["title: a title\nbody: a body"]', repr(rows))
    assert answers
    for said in answers:
        np.testing.assert_allclose(said, autotl.load(tmp_path / "run").predict_proba(data), rtol=0, atol=1e-4)


def test_a_head_on_several_layers_is_held_for_every_type_of_encoder(family, local, kind, texts, tmp_path):
    model = make_bundle(family, [local[kind]], texts, tmp_path / "run", layered=True)
    check_exporter(plugins().exporter("huggingface"), model, texts)
    data = pd.DataFrame({"text": texts})
    autotl.export(tmp_path / "run", to="huggingface", out=tmp_path / "out", data=data)
    answers = answers_of_readme(tmp_path / "out", '["a text"]', repr(texts))
    assert answers
    for said in answers:
        np.testing.assert_allclose(said, model.predict_proba(data), rtol=0, atol=1e-4)


def test_a_head_on_several_layers_is_said_to_need_transformers_alone(family, local, texts, tmp_path):
    make_bundle(family, [local["bert"]], texts, tmp_path / "run", layered=True)
    autotl.export(tmp_path / "run", to="huggingface", out=tmp_path / "out", data=pd.DataFrame({"text": texts}))
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "from sentence_transformers" not in readme
    assert "its last 4 states side by side" in readme
    assert "hidden_states[-4:-1]" in readme


def test_the_readme_says_what_to_install_and_what_a_warning_means(model, texts, tmp_path):
    """transformers warns where a network of this type has a pooler."""
    autotl.export(tmp_path / "run", to="huggingface", out=tmp_path / "out", data=pd.DataFrame({"text": texts}))
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    for packages in ("sentence-transformers", "torch transformers safetensors"):
        assert f"```\npip install {packages}\n```" in readme
    _, report = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert ("pooler" in readme) == any(name.startswith("pooler.") for name in report["missing_keys"])


def test_numbers_are_answered_in_the_units_of_the_table(family, local, texts, tmp_path):
    folder = make_bundle(family, [local["bert"]], texts, tmp_path / "run").folder
    card = read_card(folder)
    scales = [
        {"mean": 100.0, "deviation": 20.0},
        {"mean": 1.0, "deviation": 0.5, "log": True},
        {"mean": 0, "deviation": 1},
    ]
    numbers = {
        "kind": "regression",
        "classes": [],
        "scales": scales,
        "targets": ["length", "price", "mark"],
        "metric": "r2",
    }
    members = tuple(member.model_copy(update={"temperature": 1.0}) for member in card.members)
    task = Task.model_validate(card.task.model_dump() | numbers)
    (folder / "bundle.json").write_text(card.model_copy(update={"task": task, "members": members}).model_dump_json())
    data = pd.DataFrame({"text": texts})
    autotl.export(tmp_path / "run", to="huggingface", out=tmp_path / "out", data=data)
    for said in answers_of_readme(tmp_path / "out", '["a text"]', repr(texts)):
        np.testing.assert_allclose(said, autotl.load(tmp_path / "run").predict(data), rtol=1e-4)


def test_what_the_layout_cannot_hold_is_told(family, local, texts, tmp_path):
    make_bundle(family, [local["bert"], local["electra"]], texts, tmp_path / "two")
    with pytest.raises(ExportError, match=r"is a mean of 2 answers, and 'huggingface' holds one network"):
        autotl.export(tmp_path / "two", to="huggingface", out=tmp_path / "out", data=pd.DataFrame({"text": texts}))
    make_bundle(family, [local["bert"]], texts, tmp_path / "one")
    with pytest.raises(ExportError, match=r"is of the family 'transformers', and 'timm' is for 'timm'"):
        autotl.export(tmp_path / "one", to="timm", out=tmp_path / "out", data=pd.DataFrame({"text": texts}))
    assert not (tmp_path / "out").exists()


def test_a_traced_encoder_serves_every_length(family, local):
    """ModernBERT looks at its neighbourhood only where a text is longer than that."""
    encoder = family.encoder(local["modernbert"], ["good film " * 20])
    backbone = family.load(local["modernbert"])
    weight = np.random.default_rng(0).standard_normal((backbone.width, 2)).astype(np.float32)
    network = Classifier(backbone, LinearHead(weight, np.zeros(2, np.float32))).eval()
    rows = encoder.encode(["bad", "good film"])
    program = traced(network, encoder, rows, modality="text", name="modernbert").module()
    for cells in (["good"], ["very " * 30, "bad", "the plot was long"], ["not boring"] * 6):
        state = encoder.batch(encoder.encode(cells))
        with torch.no_grad():
            assert torch.allclose(program(state), network(state), rtol=1e-4, atol=1e-4)
