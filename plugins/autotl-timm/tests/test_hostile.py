"""Model folders from elsewhere: no file of theirs is run, and no network is built larger than their weights."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from canaries import canary_pickle

from autotl.errors import ZooError
from autotl.plugins.contracts import ZooContext


@pytest.fixture
def canary(tmp_path):
    """A pickle that writes a file when it is read, and must not be."""
    sung, file = tmp_path / "sung", tmp_path / "canary.pth"
    file.write_bytes(canary_pickle(sung))
    yield str(file)
    assert not sung.exists()


@pytest.fixture
def model(zoo, tmp_path):
    return shutil.copytree(zoo / "vit", tmp_path / "models" / "vit")


def change(folder, **arguments):
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] = (config.get("model_args") or {}) | arguments
    (folder / "config.json").write_text(json.dumps(config))


def candidate_in(family, folder):
    return next(c for c in family.candidates(ZooContext(folders=(folder,))) if c.source == "folder")


@pytest.mark.parametrize(
    "arguments",
    [
        {"depth": 10**9},
        {"depth": 10**5},
        {"embed_dim": 3 * 10**7},
        {"embed_dim": 3 * 10**4},
        {"img_size": 10**6},
        {"img_size": [10**9, 10**9]},
        {"num_classes": 10**9},
        {"mlp_ratio": 1e300},
        {"depth": float("inf")},
    ],
)
@pytest.mark.parametrize("pretrained", [True, False])
def test_no_network_is_built_that_is_larger_than_its_weights(family, model, arguments, pretrained):
    change(model, **arguments)
    with pytest.raises(ZooError, match="larger"):
        family.load(candidate_in(family, model), pretrained=pretrained)
    with pytest.raises(ZooError, match="larger"):
        family.encoder(candidate_in(family, model), [])


@pytest.fixture
def saved(family, local, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    family.save(family.load(local["vit"]), family.encoder(local["vit"], []), folder)
    return folder


@pytest.mark.parametrize("arguments", [{"depth": 10**5}, {"embed_dim": 3 * 10**4}, {"depth": 10**9}])
def test_nor_from_a_bundle(family, saved, arguments):
    change(saved, **arguments)
    with pytest.raises(ValueError, match="larger"):
        family.restore(saved)


def test_files_that_settings_name_are_not_loaded(family, model, saved, canary):
    for arguments in (
        {"checkpoint_path": canary},
        {"pretrained_cfg_overlay": {"source": "", "file": canary}},
        {"pretrained_cfg": {"file": canary}, "cache_dir": canary},
    ):
        for folder in (model, saved):
            shutil.copy(folder / "config.json", folder / "kept")
            change(folder, **arguments)
        with pytest.raises(ZooError, match="no argument of a network"):
            family.load(candidate_in(family, model))
        with pytest.raises(ValueError, match="no argument of a network"):
            family.restore(saved)
        for folder in (model, saved):
            shutil.move(folder / "kept", folder / "config.json")


def test_published_settings_name_no_other_weights(family, model, canary):
    config = json.loads((model / "config.json").read_text())
    config["pretrained_cfg"] |= {"source": "file", "file": canary, "url": "http://192.0.2.1/x.pth", "custom_load": True}
    (model / "config.json").write_text(json.dumps(config))
    family.load(candidate_in(family, model))  # from the folder's own safetensors


def test_network_of_a_bundle_is_timms_own(family, saved, zoo):
    config = json.loads((saved / "config.json").read_text())
    for name in ("hf-hub:evil/network", f"local-dir:{zoo / 'resnet'}", "../resnet", ""):
        (saved / "config.json").write_text(json.dumps(config | {"architecture": name}))
        with pytest.raises(ValueError, match="knows no network"):
            family.restore(saved)


@pytest.mark.parametrize("side", [0, 10**6, 10**12])
def test_images_are_not_read_at_any_size(family, saved, side):
    path = saved / "preprocessing.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"side": side}))
    with pytest.raises(ValueError, match="pixels"):
        family.restore(saved)


def test_large_and_nested_files_are_not_read(family, model, caplog):
    for spoil in (lambda path: path.write_text("[" * 200_000), lambda path: os.truncate(path, 10**10)):
        spoil(model / "config.json")
        assert not [c for c in family.candidates(ZooContext(folders=(model,))) if c.source == "folder"]
    assert "nested too deeply" in caplog.text
    assert "at most" in caplog.text
