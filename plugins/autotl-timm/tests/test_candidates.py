"""What can be had, from where, and what is known of it before anything is loaded."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import timm
import torch
from autotl_timm.catalogue import catalogue
from safetensors.torch import load_file

from autotl.plugins.contracts import ZooContext

ATTO = "convnextv2_atto.fcmae_ft_in1k"


@pytest.fixture
def one(zoo: Path, tmp_path: Path) -> Path:
    """A folder of models with one model in it, ``mine``."""
    shutil.copytree(zoo / "resnet", tmp_path / "models" / "mine")
    return tmp_path / "models"


def found(family, *folders: Path):
    return {c.name: c for c in family.candidates(ZooContext(folders=folders)) if c.source != "hub"}


def write_safetensors(folder: Path, header: bytes, *, length: int | None = None, data: bytes = b"") -> None:
    size = len(header) if length is None else length
    (folder / "model.safetensors").write_bytes(size.to_bytes(8, "little") + header + data)


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cache_model(cache: Path, source: Path, name: str, revisions: tuple[str, ...], main: str | None) -> Path:
    repository = cache / ("models--" + name.replace("/", "--"))
    for revision in revisions:
        shutil.copytree(source, repository / "snapshots" / revision)
    if main:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(main)
    return repository / "snapshots"


def test_a_folder_of_models_and_a_model_folder_are_both_taken(family, one):
    assert found(family, one).keys() == found(family, one / "mine").keys() == {"mine"}


def test_what_is_known_of_a_folder(family, zoo, kind):
    candidate = found(family, zoo)[kind]
    settings = json.loads((zoo / kind / "config.json").read_text())["pretrained_cfg"]
    weights = load_file(zoo / kind / "model.safetensors")
    assert candidate.parameters == sum(value.numel() for value in weights.values() if value.is_floating_point())
    assert candidate.input_size == settings["input_size"][1]
    assert candidate.licence == settings.get("license", "unknown")
    assert (candidate.family, candidate.modality, candidate.source) == ("timm", "image", "folder")
    assert Path(candidate.location) == zoo / kind
    if kind not in {"mobilenetv3", "ghostnet"}:  # timm's own figure for them leaves out the last convolution
        assert candidate.width == family.load(candidate).width


def test_settings_of_older_folders_are_at_the_top(family, one):
    file = one / "mine" / "config.json"
    new = json.loads(file.read_text())
    arguments = {
        "architecture": new["architecture"],
        "num_features": new["num_features"],
        "license": "mit",
        "num_classes": 7,
    }
    file.write_text(json.dumps(new["pretrained_cfg"] | arguments))
    candidate = found(family, one)["mine"]
    assert (candidate.width, candidate.input_size, candidate.licence) == (512, 64, "mit")
    assert family.load(candidate).width == 512


def test_transformers_are_given_gentler_recipes_than_convolutions(family, local):
    assert local["vit"].recipe == local["deit3"].recipe == local["swin"].recipe == local["convnext"].recipe
    assert local["resnet"].recipe == local["ghostnet"].recipe
    assert local["vit"].recipe.learning_rate < local["resnet"].recipe.learning_rate
    assert local["vit"].recipe.layer_decay < local["resnet"].recipe.layer_decay == 1.0


def test_an_unknown_network_is_judged_by_its_size(local):
    by_size = sorted(local.values(), key=lambda candidate: candidate.parameters)
    priors = [candidate.prior for candidate in by_size]
    assert priors == sorted(priors)
    assert 0.0 <= priors[0] < priors[-1] <= 1.0


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
        (b'{"w": {"shape": [1]}}', None, b""),
        (b'{"w": 1}', None, b""),
    ],
)
def test_a_hostile_or_torn_file_is_skipped_with_a_warning(family, one, caplog, header, length, data):
    write_safetensors(one / "mine", header, length=length, data=data)
    assert not found(family, one)
    assert "mine: skipped" in caplog.text


def test_a_file_cut_short_is_skipped_with_a_warning(family, one, caplog):
    file = one / "mine" / "model.safetensors"
    for kept in (file.stat().st_size - 1, 100, 3, 0):
        file.write_bytes(file.read_bytes()[:kept])
        assert not found(family, one)
    assert caplog.text.count("mine: skipped") == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"num_features": None},
        {"num_features": "many"},
        {"num_features": float("inf")},
        {"pretrained_cfg": {}},
        {"pretrained_cfg": {"input_size": 224}},
        {"pretrained_cfg": {"input_size": [3]}},
        {"pretrained_cfg": {"input_size": [3, float("inf"), 3]}},
    ],
)
def test_a_malformed_configuration_is_skipped_with_a_warning(family, one, caplog, changes):
    edit(one / "mine" / "config.json", **changes)
    assert not found(family, one)
    assert "mine: skipped" in caplog.text


@pytest.mark.parametrize("config", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_an_unreadable_configuration_is_skipped_with_a_warning(family, one, caplog, config):
    (one / "mine" / "config.json").write_bytes(config)
    assert not found(family, one)
    assert "mine: skipped" in caplog.text


def test_what_is_not_for_this_family_is_passed_over_in_silence(family, one, caplog):
    (one / "mine" / "model.safetensors").rename(one / "mine" / "pytorch_model.bin")
    for name, config in {"text": {"model_type": "bert", "hidden_size": 384}, "list": []}.items():
        (one / name).mkdir()
        (one / name / "config.json").write_text(json.dumps(config))
        write_safetensors(one / name, b"{}")
    (one / "empty").mkdir()
    (one / "a-file").write_text("not a folder")
    with caplog.at_level(logging.DEBUG):
        assert not found(family, one, one / "nowhere")
    assert not caplog.text


def test_a_torn_folder_does_not_hide_its_neighbours(family, one, zoo):
    shutil.copytree(zoo / "regnet", one / "other")
    write_safetensors(one / "mine", b"{}", length=99)
    assert found(family, one).keys() == {"other"}


def test_the_hub_cache_is_read_by_file_system(family, zoo, empty_hub_cache):
    snapshots = cache_model(empty_hub_cache, zoo / "resnet", "someone/small", ("aaa", "bbb"), "aaa")
    cache_model(empty_hub_cache, zoo / "regnet", "timm/regnetx_002.odd", ("ccc",), None)
    (empty_hub_cache / "models--interrupted--download" / "snapshots").mkdir(parents=True)
    cached = found(family)
    assert cached.keys() == {"someone/small", "regnetx_002.odd"}
    assert cached["someone/small"].source == "cache"
    assert Path(cached["someone/small"].location) == snapshots / "aaa"
    assert family.load(cached["someone/small"]).width == 512


def test_the_cache_is_where_the_hubs_own_variables_say(family, zoo, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    cache_model(tmp_path / "home" / "hub", zoo / "resnet", "someone/small", ("aaa",), "aaa")
    assert found(family).keys() == {"someone/small"}


def test_what_is_not_here_is_on_the_hub(family):
    for hub in (False, True):
        everything = family.candidates(ZooContext(hub=hub))
        assert {c.name for c in everything} == catalogue().keys()
        assert {(c.source, c.location) for c in everything} == {("hub", f"timm/{name}") for name in catalogue()}


def test_a_model_appears_once_with_its_nearest_source(family, zoo, tmp_path, empty_hub_cache):
    (remote,) = (c for c in family.candidates(ZooContext()) if c.name == ATTO)
    cache_model(empty_hub_cache, zoo / "convnextv2", f"timm/{ATTO}", ("aaa",), "aaa")
    (cached,) = (c for c in family.candidates(ZooContext()) if ATTO in c.name)
    assert (cached.name, cached.source) == (ATTO, "cache")

    folder, again = tmp_path / ATTO, tmp_path / "elsewhere" / ATTO
    shutil.copytree(zoo / "convnextv2", folder)
    shutil.copytree(zoo / "convnextv2", again)
    everything = family.candidates(ZooContext(folders=(folder, again)))
    (local,) = (c for c in everything if ATTO in c.name)
    assert (local.source, local.location) == ("folder", str(folder))
    assert local.prior == cached.prior == remote.prior
    assert local.recipe == cached.recipe == remote.recipe
    assert len({c.key for c in everything}) == len(everything) == len(catalogue())


def test_a_licence_that_the_folder_does_not_state_is_the_catalogues(family, one):
    (one / "mine").rename(one / ATTO)
    settings = json.loads((one / ATTO / "config.json").read_text())["pretrained_cfg"]
    for stated, expected in ((None, "cc-by-nc-4.0"), ("mit", "mit")):
        edit(one / ATTO / "config.json", pretrained_cfg=settings | {"license": stated})
        assert found(family, one)[ATTO].licence == expected


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_the_catalogue_says_what_timm_says(name):
    entry = catalogue()[name]
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
        features = (
            network.forward_head(torch.empty(1, 4, network.num_features), pre_logits=True)
            if (name.startswith("vit"))
            else None
        )
    assert entry.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert entry.width == network.head_hidden_size
    assert features is None or entry.width == features.shape[1]
    assert entry.input_size == network.pretrained_cfg["input_size"][1]
    assert entry.licence == network.pretrained_cfg["license"]


def test_the_catalogue_is_in_range(family):
    for candidate in family.candidates(ZooContext()):
        assert 0 < candidate.prior < 1
        assert 1e-5 <= candidate.recipe.learning_rate <= 1e-3
