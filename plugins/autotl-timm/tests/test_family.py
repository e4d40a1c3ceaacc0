"""Loading, saving and restoring; the side that is worked at; what the package costs to import."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from autotl.errors import ZooError
from autotl.plugins.contracts import InputEncoder, ModelFamily, ZooContext

TINY_VIT = {"embed_dim": 48, "depth": 3, "num_heads": 3}


@torch.no_grad()
def features(backbone, encoder, photos):
    return backbone.pool(backbone(encoder.batch(encoder.encode(photos))))


def only(family, folder: Path):
    (candidate,) = (c for c in family.candidates(ZooContext(folders=(folder,))) if c.source == "folder")
    return candidate


def pictures(folder: Path, *sizes: tuple[int, int]) -> list[str]:
    for index, size in enumerate(sizes):
        Image.new("RGB", size).save(folder / f"{index}.png")
    return [str(folder / f"{index}.png") for index in range(len(sizes))]


def test_it_is_a_family_of_images(family, local, photos):
    assert isinstance(family, ModelFamily)
    assert (family.name, family.modality, family.augments) == ("timm", "image", True)
    assert isinstance(family.encoder(local["resnet"], photos), InputEncoder)


def test_importing_and_finding_candidates_imports_neither_torch_nor_timm(zoo):
    program = (
        "import sys; from pathlib import Path; import autotl_timm\n"
        "from autotl.plugins.contracts import ZooContext\n"
        "families = autotl_timm.autotl_model_families(context=None)\n"
        "for family in families:\n"
        "    assert any(c.source == 'folder' for c in family.candidates(ZooContext(folders=(Path(sys.argv[1]),))))\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'huggingface_hub', 'PIL'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program, str(zoo)], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_saved_model_gives_equal_features_after_restore(family, local, photos, kind, tmp_path):
    backbone, encoder = family.load(local[kind], drop=0.1), family.encoder(local[kind], photos)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.01)
    expected = features(backbone, encoder, photos)
    (tmp_path / "saved").mkdir()
    family.save(backbone, encoder, tmp_path / "saved")

    restored, reader = family.restore(tmp_path / "saved")

    assert not restored.training
    assert reader == encoder
    assert torch.equal(features(restored, reader, photos), expected)
    assert {path.suffix for path in (tmp_path / "saved").iterdir()} == {".json", ".safetensors"}


def test_a_view_is_saved_and_restored_as_a_view(family, local, photos, tmp_path):
    encoder = family.encoder(local["resnet"], photos)
    (mirrored,) = encoder.views()
    (tmp_path / "saved").mkdir()
    family.save(family.load(local["resnet"]), mirrored, tmp_path / "saved")
    assert family.restore(tmp_path / "saved")[1] == mirrored


def test_a_restored_model_can_be_saved_again(family, local, photos, tmp_path):
    backbone, encoder = family.load(local["mobilenetv2"]), family.encoder(local["mobilenetv2"], photos)
    expected = features(backbone, encoder, photos)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        family.save(backbone, encoder, tmp_path / name)
        backbone, encoder = family.restore(tmp_path / name)
    assert torch.equal(features(backbone, encoder, photos), expected)


def test_a_saved_model_is_a_candidate_and_one_for_timm(family, local, photos, kind, tmp_path):
    backbone, encoder = family.load(local[kind]), family.encoder(local[kind], photos)
    expected = features(backbone, encoder, photos)
    (tmp_path / "saved").mkdir()
    family.save(backbone, encoder, tmp_path / "saved")

    candidate = only(family, tmp_path / "saved")
    network = timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True, num_classes=0).eval()

    assert (candidate.width, candidate.input_size) == (backbone.width, local[kind].input_size)
    assert family.encoder(candidate, photos) == encoder
    assert torch.equal(features(family.load(candidate), encoder, photos), expected)
    with torch.no_grad():
        found = network.forward_head(
            network.forward_features(encoder.batch(encoder.encode(photos))["x"]), pre_logits=True
        )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_arguments_that_the_publisher_recorded_do_not_stand_in_the_way(family, local, photos, tmp_path):
    shutil.copytree(local["resnet"].location, tmp_path / "recorded")
    file = tmp_path / "recorded" / "config.json"
    arguments = {"num_classes": 7, "drop_path_rate": 0.3, "drop_rate": 0.2}
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_args": arguments}))
    candidate, encoder = only(family, tmp_path / "recorded"), family.encoder(local["resnet"], photos)
    backbone = family.load(candidate)
    assert torch.equal(features(backbone, encoder, photos), features(family.load(local["resnet"]), encoder, photos))
    assert torch.equal(features(backbone.train(), encoder, photos), features(backbone, encoder, photos))


def test_what_timm_exports_is_loaded(family, local, photos, tmp_path):
    backbone, encoder = family.load(local["mobilenetv2"]), family.encoder(local["mobilenetv2"], photos)
    network = timm.create_model(f"local-dir:{local['mobilenetv2'].location}", pretrained=True)
    arguments = {"pad_type": "same", "bn_eps": 1e-3}
    timm.models.save_for_hf(network, str(tmp_path / "export"), model_args=arguments, safe_serialization=True)
    candidate = only(family, tmp_path / "export")
    assert family.encoder(candidate, photos) == encoder
    assert torch.equal(features(family.load(candidate), encoder, photos), features(backbone, encoder, photos))


def test_half_precision_weights_are_loaded_as_fp32(family, local, tmp_path):
    shutil.copytree(local["vit"].location, tmp_path / "half")
    weights = load_file(tmp_path / "half" / "model.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, tmp_path / "half" / "model.safetensors")
    backbone = family.load(only(family, tmp_path / "half"))
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}


def test_weights_from_the_hub_keep_the_arguments_that_they_were_made_with(
    family, local, photos, tmp_path, empty_hub_cache, monkeypatch
):
    snapshot = empty_hub_cache / "models--someone--small" / "snapshots" / "abc"
    shutil.copytree(local["mobilenetv2"].location, snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(empty_hub_cache))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)  # nobody asks for what is here
    candidate = dataclasses.replace(local["mobilenetv2"], source="hub", location="someone/small")

    encoder, backbone = family.encoder(candidate, photos), family.load(candidate)
    (tmp_path / "saved").mkdir()
    family.save(backbone, encoder, tmp_path / "saved")

    expected = features(family.load(local["mobilenetv2"]), encoder, photos)
    assert encoder == family.encoder(local["mobilenetv2"], photos)
    assert torch.equal(features(backbone, encoder, photos), expected)
    assert torch.equal(features(family.restore(tmp_path / "saved")[0], encoder, photos), expected)


def test_weights_that_lack_a_tensor_are_refused(family, local, tmp_path):
    shutil.copytree(local["resnet"].location, tmp_path / "torn")
    weights = load_file(tmp_path / "torn" / "model.safetensors")
    save_file(
        {name: value for name, value in weights.items() if "layer3" not in name},
        tmp_path / "torn" / "model.safetensors",
    )
    with pytest.raises(ZooError, match=r"^timm/torn: cannot be loaded from .*torn .*Check that it is complete"):
        family.load(only(family, tmp_path / "torn"))


def test_a_model_that_cannot_be_had_is_one_line_with_a_way_out(family, local, photos, monkeypatch, tmp_path):
    gone = dataclasses.replace(local["resnet"], name="gone", location=str(tmp_path / "gone"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (hub,) = (c for c in family.candidates(ZooContext()) if c.name == "resnet18.a1_in1k")
    for candidate in (gone, hub):
        for ask in (family.load, lambda candidate: family.encoder(candidate, photos)):
            with pytest.raises(ZooError) as caught:
                ask(candidate)
            assert str(caught.value).startswith(candidate.key)
            assert "\n" not in str(caught.value)


def test_an_architecture_that_timm_does_not_know_is_refused(family, local, tmp_path):
    shutil.copytree(local["resnet"].location, tmp_path / "odd")
    file = tmp_path / "odd" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"architecture": "nosuchnet"}))
    with pytest.raises(ZooError, match=r"^timm/odd: .*nosuchnet"):
        family.load(only(family, tmp_path / "odd"))


def test_loading_prints_nothing(family, local, photos, kind, capfd, tmp_path):
    backbone = family.load(local[kind])
    family.save(backbone, family.encoder(local[kind], photos), tmp_path)
    family.restore(tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(200, 150)], 160),
        ([(380, 128)], 192),
        ([(128, 380)], 192),
        ([(144, 144), (150, 150), (2000, 2000)], 160),
        ([(2000, 2000)] * 2 + [(150, 150)], 224),
        ([(40, 40)], 128),
        ([(1, 1)], 128),
    ],
)
def test_the_side_is_the_samples_median_short_side_or_half_the_long_one(family, local, tmp_path, sizes, expected):
    candidate = dataclasses.replace(local["resnet"], input_size=224)
    assert family.encoder(candidate, pictures(tmp_path, *sizes)).side == expected


def test_the_side_is_never_above_the_networks(family, local, tmp_path):
    sample = pictures(tmp_path, (500, 500))
    assert family.encoder(local["resnet"], sample).side == local["resnet"].input_size == 64
    assert family.encoder(dataclasses.replace(local["resnet"], input_size=176), sample).side == 176


def test_a_sample_that_cannot_be_read_settles_on_the_networks_side(family, local, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    candidate = dataclasses.replace(local["resnet"], input_size=224)
    cells = [str(tmp_path / "text.jpg"), str(tmp_path / "missing.jpg"), None]
    assert family.encoder(candidate, cells).side == family.encoder(candidate, []).side == 224
    assert family.encoder(candidate, [*cells, *pictures(tmp_path, (150, 150))]).side == 160


@pytest.mark.parametrize(
    "name", ["vit", "deit-distilled", "deit3", "dinov2", "dinov2-registers", "swin", "swinv2", "vit-attention-pooled"]
)
def test_a_network_of_one_side_keeps_it(family, local, tmp_path, name):
    for folder, size in (("small", 40), ("large", 500)):
        (tmp_path / folder).mkdir()
        encoder = family.encoder(local[name], pictures(tmp_path / folder, (size, size)))
        assert encoder.side == local[name].input_size


@pytest.mark.parametrize(
    ("architecture", "made_for", "expected"),
    [
        ("vit_small_patch14_dinov2", 518, 224),
        ("vit_tiny_patch16_384", 384, 224),
        ("deit3_small_patch16_384", 384, 384),
        ("swinv2_tiny_window8_256", 256, 256),
    ],
)
def test_a_network_for_a_large_side_works_at_the_side_that_it_is_built_for(
    family, photos, write, tmp_path, architecture, made_for, expected
):
    arguments = (
        {"embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]} if "swin" in architecture else TINY_VIT
    )
    folder = write(tmp_path / "mine", architecture, made_for, **arguments)
    candidate = only(family, folder)
    encoder, backbone = family.encoder(candidate, photos), family.load(candidate)
    reference = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0, img_size=expected).eval()

    found = features(backbone, encoder, photos)

    assert (candidate.input_size, encoder.side) == (made_for, expected)
    with torch.no_grad():
        torch.testing.assert_close(found, reference(encoder.batch(encoder.encode(photos))["x"]), atol=1e-5, rtol=0)
    (tmp_path / "saved").mkdir()
    family.save(backbone, encoder, tmp_path / "saved")
    restored, reader = family.restore(tmp_path / "saved")
    assert torch.equal(features(restored, reader, photos), found)


def test_a_published_network_tells_two_flowers_apart(family, shared):
    folder = shared / "zoo" / "mobilenetv2_035.keras_in1k"
    images = [sorted((shared / "data" / "flowers" / "images" / kind).glob("*.jpg"))[:2] for kind in ("daisy", "rose")]
    cells = [str(path) for paths in images for path in paths]
    if not folder.is_dir() or len(cells) < 4:
        # published weights and photographs are not ours to copy into the project
        pytest.skip(f"{folder.name} or the flowers are not here")
    candidate = only(family, folder)
    encoder = family.encoder(candidate, cells)
    backbone = family.load(candidate)

    found = features(backbone, encoder, cells)

    assert candidate.name == folder.name
    assert candidate.width == backbone.width == found.shape[1] == 1280
    distances = torch.cdist(found, found) + 1e9 * torch.eye(4)
    assert np.isfinite(found.numpy()).all()
    assert distances.min() > 1.0


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
