"""What can be had, from where, and what is known of it before anything is loaded."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from autotl_transformers.catalogue import catalogue
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from autotl.plugins.contracts import ZooContext

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def one(zoo: Path, tmp_path: Path) -> Path:
    """A folder of models with one model in it, ``mine``."""
    shutil.copytree(zoo / "bert", tmp_path / "models" / "mine")
    return tmp_path / "models"


def found(family, *folders: Path):
    return {c.name: c for c in family.candidates(ZooContext(folders=folders)) if c.source != "hub"}


def write_safetensors(folder: Path, header: bytes, *, length: int | None = None, data: bytes = b"") -> None:
    size = len(header) if length is None else length
    (folder / "model.safetensors").write_bytes(size.to_bytes(8, "little") + header + data)


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_folder_of_models_and_a_model_folder_are_both_taken(family, one):
    assert found(family, one).keys() == found(family, one / "mine").keys() == {"mine"}


def test_what_is_known_of_a_folder(family, zoo, kind):
    candidate = found(family, zoo)[kind]
    parameters = sum(parameter.numel() for parameter in AutoModel.from_pretrained(zoo / kind).parameters())
    offset = 2 if kind in {"roberta", "xlm-roberta", "camembert", "data2vec", "mpnet"} else 0
    assert candidate.parameters == parameters
    assert (candidate.width, candidate.input_size, candidate.licence) == (32, 64 - offset, "unknown")
    assert (candidate.family, candidate.modality, candidate.source) == ("transformers", "text", "folder")
    assert Path(candidate.location) == zoo / kind


def test_the_licence_and_the_limit_of_the_tokenizer_are_read(family, one):
    (one / "mine" / "README.md").write_text("---\nlanguage: en\nlicense: cc-by-4.0\n---\n# Mine\n")
    (one / "mine" / "tokenizer_config.json").write_text('{"model_max_length": 48}')
    assert (found(family, one)["mine"].licence, found(family, one)["mine"].input_size) == ("cc-by-4.0", 48)
    (one / "mine" / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert found(family, one)["mine"].input_size == 64


@pytest.mark.parametrize(
    ("readme", "origin", "expected"),
    [("# tiny-film-v1\n", "someone/base", "tiny-film-v1"), ("", "someone/base", "base"), ("", "/runs/3", "models")],
)
def test_a_folder_called_model_gets_a_name_that_says_something(family, one, readme, origin, expected):
    (one / "mine").rename(one / "model")
    (one / "model" / "README.md").write_text(readme)
    edit(one / "model" / "config.json", _name_or_path=origin)
    assert found(family, one).keys() == {expected}


def test_shards_are_counted_together_and_none_may_be_missing(family, one, caplog):
    folder = one / "mine"
    whole = found(family, one)["mine"].parameters
    weights = list(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    save_file(dict(weights[:5]), folder / "a.safetensors")
    save_file(dict(weights[5:]), folder / "b.safetensors")
    shards = {name: "a.safetensors" if i < 5 else "b.safetensors" for i, (name, _) in enumerate(weights)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert found(family, one)["mine"].parameters == whole

    for stray in ("c.safetensors", "../a.safetensors"):
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards | {"x": stray}}))
        assert not found(family, one)
    assert caplog.text.count("mine: skipped") == 2


@pytest.mark.parametrize(
    ("header", "length", "data"),
    [
        (b"{}", 2**63, b""),
        (b"{}", 50_000_000, b""),
        (b"[1, 2]", None, b""),
        (b"not json", None, b""),
        (b"[" * 100_000, None, b""),
        (b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', None, b"torn"),
        (b'{"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 0]}}', None, b""),
        (b'{"w": {"dtype": "F32", "shape": ["9"], "data_offsets": [0, 0]}}', None, b""),
        (b'{"w": {"dtype": 7, "shape": [1], "data_offsets": [0, 0]}}', None, b""),
        (b'{"w": {"shape": [1]}}', None, b""),
        (b'{"w": 1}', None, b""),
    ],
)
def test_a_hostile_or_torn_file_is_skipped_with_a_warning(family, one, caplog, header, length, data):
    write_safetensors(one / "mine", header, length=length, data=data)
    assert not found(family, one)
    assert "mine: skipped" in caplog.text


@pytest.mark.parametrize("config", ["[]", "{", '{"model_type": "bert"}', '{"model_type": "bert", "hidden_size": "9"}'])
def test_a_malformed_configuration_is_skipped_with_a_warning(family, one, caplog, config):
    (one / "mine" / "config.json").write_text(config)
    assert not found(family, one)
    assert "mine: skipped" in caplog.text


def test_what_is_not_for_this_family_is_passed_over_in_silence(family, one, caplog):
    (one / "mine" / "model.safetensors").rename(one / "mine" / "pytorch_model.bin")
    for name, config in {"picture": {"architecture": "resnet18"}, "writer": {"model_type": "gpt2"}}.items():
        (one / name).mkdir()
        (one / name / "config.json").write_text(json.dumps(config))
        write_safetensors(one / name, b"{}")
    (one / "empty").mkdir()
    assert not found(family, one, one / "nowhere")
    assert not caplog.text


def test_an_unknown_encoder_is_judged_by_its_size(family, zoo):
    candidate = found(family, zoo)["bert"]
    assert candidate.prior == 0.0
    assert (candidate.recipe.learning_rate, candidate.recipe.batch_size) == (1e-4, 32)


def cache_model(cache: Path, source: Path, name: str, revisions: tuple[str, ...], main: str | None) -> Path:
    repository = cache / ("models--" + name.replace("/", "--"))
    for revision in revisions:
        shutil.copytree(source, repository / "snapshots" / revision)
    if main:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(main)
    return repository / "snapshots"


def test_the_hub_cache_is_read_by_file_system(family, zoo, empty_hub_cache):
    snapshots = cache_model(empty_hub_cache, zoo / "bert", "someone/tiny", ("aaa", "bbb"), "aaa")
    cache_model(empty_hub_cache, zoo / "electra", "tiny-without-publisher", ("ccc",), None)
    (empty_hub_cache / "models--interrupted--download" / "snapshots").mkdir(parents=True)
    cached = found(family)
    assert cached.keys() == {"someone/tiny", "tiny-without-publisher"}
    assert cached["someone/tiny"].source == "cache"
    assert Path(cached["someone/tiny"].location) == snapshots / "aaa"
    assert family.load(cached["someone/tiny"]).width == 32


def test_what_was_downloaded_is_not_asked_for_again(family, zoo, empty_hub_cache, monkeypatch):
    """As every training loads its network, and the hub may be gone by then."""
    cache_model(empty_hub_cache, zoo / "bert", "someone/tiny", ("aaa",), "aaa")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(empty_hub_cache))
    no_pooling = empty_hub_cache / "models--someone--tiny" / ".no_exist" / "aaa" / "1_Pooling" / "config.json"
    no_pooling.parent.mkdir(parents=True)
    no_pooling.touch()  # as the hub's library notes it
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    candidate = dataclasses.replace(found(family)["someone/tiny"], source="hub", location="someone/tiny")
    assert family.load(candidate).width == 32


def test_the_cache_is_where_the_hubs_own_variables_say(family, zoo, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    cache_model(tmp_path / "home" / "hub", zoo / "bert", "someone/tiny", ("aaa",), "aaa")
    assert found(family).keys() == {"someone/tiny"}


def minilm_like(folder: Path, layers: int = 6) -> Path:
    """A folder that looks like all-MiniLM-L6-v2 from outside."""
    folder.mkdir(parents=True)
    config = {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": layers, "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder, b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', data=b"\0" * 8)
    return folder


def test_a_model_appears_once_with_its_nearest_source(family, tmp_path, empty_hub_cache):
    everything = family.candidates(ZooContext())
    assert {c.name for c in everything} == {entry.name for entry in catalogue() if not entry.pickled}
    assert {c.source for c in everything} == {"hub"}

    cache_model(empty_hub_cache, minilm_like(tmp_path / "download"), MINILM, ("aaa",), "aaa")
    (cached,) = (c for c in family.candidates(ZooContext()) if "MiniLM" in c.name)
    assert (cached.name, cached.source, cached.licence) == (MINILM, "cache", "apache-2.0")

    folder = minilm_like(tmp_path / "all-MiniLM-L6-v2")
    again = minilm_like(tmp_path / "elsewhere" / "all-MiniLM-L6-v2")
    (local,) = (c for c in family.candidates(ZooContext(folders=(folder, again))) if "MiniLM" in c.name)
    assert (local.name, local.source, local.location) == ("all-MiniLM-L6-v2", "folder", str(folder))
    assert (local.prior, local.recipe) == (cached.prior, cached.recipe)


def test_a_cut_model_is_not_the_one_it_is_named_after(family, tmp_path):
    folder = minilm_like(tmp_path / "all-MiniLM-L6-v2", layers=3)
    candidates = family.candidates(ZooContext(folders=(folder,)))
    (cut, whole) = (c for c in candidates if "MiniLM" in c.name)
    assert (cut.source, whole.source) == ("folder", "hub")
    assert cut.prior < whole.prior


def test_the_catalogue_is_in_range(family):
    for candidate in family.candidates(ZooContext()):
        assert 0 < candidate.prior < 1
        assert 1e-5 <= candidate.recipe.learning_rate <= 3e-4
        assert candidate.input_size == 512
        assert candidate.parameters > 10_000_000


@pytest.mark.parametrize(
    ("said", "language"),
    [
        ("language: en", "en"),
        ("language:\n- en", "en"),
        ("language:\n- de\n- en", ""),
        ("language: multilingual", ""),
        ("a: b", ""),
    ],
)
def test_the_language_is_read_where_there_is_one(family, one, said, language):
    (one / "mine" / "README.md").write_text(f"---\n{said}\nlicense: mit\n---\n# Mine\n")
    assert found(family, one)["mine"].language == language
