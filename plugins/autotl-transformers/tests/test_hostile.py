"""Model folders from elsewhere: no code of theirs runs, and no network is built larger than their weights."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
from pathlib import Path

import pytest

from autotl.errors import ZooError
from autotl.plugins.contracts import ZooContext
from autotl.zoo.inventory import zoo_folders


@pytest.fixture
def canary(tmp_path):
    """A file that must not be there in the end, and code that would write it."""
    sung = tmp_path / "sung"
    yield f"open({str(sung)!r}, 'w')\n"
    assert not sung.exists()


@pytest.fixture
def model(zoo, tmp_path):
    return shutil.copytree(zoo / "bert", tmp_path / "models" / "bert")


def change(folder, name="config.json", **settings):
    path = folder / name
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))


def candidate_in(family, folder):
    """Its candidate; None where the folder is not taken for a model."""
    return next((c for c in family.candidates(ZooContext(folders=(folder,))) if c.source == "folder"), None)


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 10**7},
        {"hidden_size": 10**6},
        {"hidden_size": 4096, "num_attention_heads": 4096, "intermediate_size": 10**6},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 10**6},
        {"vocab_size": 10**9},
        {"max_position_embeddings": 2 * 10**6},
        {"num_labels": 10**12},
        {"intermediate_size": 10**400},
    ],
)
@pytest.mark.parametrize("pretrained", [True, False])
def test_no_network_is_built_that_is_larger_than_its_weights(family, model, settings, pretrained):
    change(model, **settings)
    with pytest.raises(ZooError, match="larger"):
        family.load(candidate_in(family, model), pretrained=pretrained)


def test_nor_from_a_bundle(family, local, texts, tmp_path):
    family.save(family.load(local["bert"]), family.encoder(local["bert"], texts), tmp_path)
    change(tmp_path, num_hidden_layers=10**5)
    with pytest.raises(ValueError, match="larger"):
        family.restore(tmp_path)
    change(tmp_path, num_hidden_layers=3)
    change(tmp_path, "preprocessing.json", max_tokens=10**9)
    with pytest.raises(ValueError, match="tokens"):
        family.restore(tmp_path)


def test_code_in_a_folder_is_not_run(family, model, texts, canary):
    (model / "modeling_evil.py").write_text(canary)
    references = dict.fromkeys(("AutoConfig", "AutoModel", "AutoTokenizer"), "modeling_evil.Evil")
    change(model, auto_map=references)
    change(model, "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling_evil.Evil", None]})
    found = candidate_in(family, model)
    family.load(found)  # by the library's own code
    family.encoder(found, texts)
    (model / "tokenizer.json").unlink()
    change(model, "tokenizer_config.json", tokenizer_class="Evil")
    with pytest.raises(ZooError, match="no tokenizer"):
        family.encoder(found, texts)


def test_network_that_is_code_of_its_own_is_left_out_with_its_reason(family, model, canary, caplog):
    (model / "modeling_evil.py").write_text(canary)
    change(model, model_type="evil", auto_map={"AutoModel": "modeling_evil.Evil"})
    assert candidate_in(family, model) is None
    assert "code of its own, which is never run" in caplog.text


def test_adapter_does_not_lead_to_other_weights(family, model, zoo):
    change(model, "adapter_config.json", base_model_name_or_path=str(zoo / "roberta"), peft_type="LORA")
    with pytest.raises(ZooError, match="adapter"):
        family.load(candidate_in(family, model))


def test_words_are_those_of_the_folder(family, model, texts, tmp_path):
    (model / "tokenizer.json").unlink()
    (model / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "mine"]))
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "secret"]))
    change(model, "tokenizer_config.json", tokenizer_class="BertTokenizer", vocab_file=str(tmp_path / "vocab.txt"))
    assert "secret" not in family.encoder(candidate_in(family, model), texts).tokenizer


def test_attention_of_elsewhere_is_not_fetched(family, model):
    change(model, attn_implementation="evil/kernel", _attn_implementation="evil/kernel")
    assert family.load(candidate_in(family, model)).model.config._attn_implementation in {"sdpa", "eager"}


def test_other_libraries_are_not_asked(family, model):
    change(model, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ZooError, match="quantized"):
        family.load(candidate_in(family, model))


def test_pickles_are_left_out_with_their_reason(family, model, caplog, canary):
    class Canary:
        def __reduce__(self):
            return exec, (canary,)

    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Canary()))
    assert zoo_folders([model.parent])
    assert candidate_in(family, model.parent) is None
    assert "pytorch_model.bin is a pickle" in caplog.text


def test_shards_are_files_of_the_folder(family, model, zoo, caplog):
    (model / "model.safetensors").unlink()
    for name in ("../../bert/model.safetensors", str(zoo / "bert" / "model.safetensors"), ".."):
        change(model, "model.safetensors.index.json", weight_map={"a": name})
        assert candidate_in(family, model) is None
    assert "names of files in the same folder" in caplog.text


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "README.md"])
def test_large_and_nested_files_are_not_read(family, model, caplog, name):
    with caplog.at_level(logging.WARNING):
        (model / name).write_text("[" * 200_000)
        candidate_in(family, model)
        os.truncate(model / name, 10**10)
        found = candidate_in(family, model)
    assert (found is None) == (name != "README.md")


def test_links_of_the_hubs_cache_are_followed(family, model, empty_hub_cache):
    repository = empty_hub_cache / "models--mine--bert"
    (repository / "blobs").mkdir(parents=True)
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in model.iterdir():
        shutil.move(file, repository / "blobs" / file.name)
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", file.name))
    found = {candidate.name: candidate for candidate in family.candidates(ZooContext())}
    assert found["mine/bert"].source == "cache"
    family.load(found["mine/bert"])
