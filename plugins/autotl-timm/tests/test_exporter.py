"""A folder that timm loads: the same answers, by the lines of its README."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

import autotl
from autotl.errors import ExportError
from autotl.exporters.tracing import traced
from autotl.features.heads import LinearHead
from autotl.plugins.manager import plugins
from autotl.testing import check_exporter, make_bundle
from autotl.training.model import Classifier

#: Of each way in which a network of timm ends.
ENDS = (
    "resnet",
    "mobilenetv3",
    "convnext",
    "vit-averaged",
    "vit-attention-pooled",
    "deit-distilled",
    "swin",
    "ghostnet",
)


@pytest.mark.parametrize("kind", ENDS)
def test_networks_of_every_end_keep_the_contract(family, local, kind, many_photos, tmp_path):
    model = make_bundle(family, [local[kind]], many_photos, tmp_path / "run")
    check_exporter(plugins().exporter("timm"), model, many_photos)


def test_the_readme_says_how_it_is_loaded(family, local, many_photos, tmp_path, monkeypatch):
    model = make_bundle(family, [local["mobilenetv2"]], many_photos, tmp_path / "run")
    data = pd.DataFrame({"image": many_photos})
    autotl.export(tmp_path / "run", to="timm", out=tmp_path / "out", data=data)
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "```\npip install timm pillow\n```" in readme
    (block,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.syspath_prepend(str(tmp_path / "out"))
    names = {}
    code = block.replace("path/to/this/folder", str(tmp_path / "out")).replace('["photograph.jpg"]', repr(many_photos))
    exec(code, names)
    expected = model.predict_proba(data)
    np.testing.assert_allclose(names["answers"].numpy(), expected, rtol=0, atol=1e-4)

    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(names["network"]))
    pixels = torch.stack([transform(Image.open(path)) for path in many_photos])
    assert pixels.shape == names["batch"]["x"].shape
    assert (pixels - torch.from_numpy(names["batch"]["x"])).abs().mean() < 0.2  # other images are 1 apart


def test_timm_squeezes_what_was_squeezed(family, local, many_photos, tmp_path):
    long = [str(tmp_path / f"{number}.png") for number in range(len(many_photos))]
    for path, photo in zip(long, many_photos, strict=True):
        Image.open(photo).resize((60, 180)).save(path)
    make_bundle(family, [local["mobilenetv2"]], long, tmp_path / "run")
    autotl.export(tmp_path / "run", to="timm", out=tmp_path / "out", data=pd.DataFrame({"image": long}))
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=False)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    encoder = family.encoder(local["mobilenetv2"], long)
    pixels = torch.stack([transform(Image.open(path).convert("RGB")) for path in long[:4]])
    ours = encoder.batch(encoder.encode(long[:4]))["x"]
    assert encoder.squeezed
    assert pixels.shape == ours.shape
    assert (pixels - ours).abs().mean() < 0.2


def test_a_head_on_several_layers_is_told_to_be_too_much(family, local, photos, tmp_path):
    make_bundle(family, [local["resnet"]], photos, tmp_path / "run", layered=True)
    with pytest.raises(ExportError, match=r"several layers of timm/\S+ say, and 'timm' holds a head on the last one"):
        autotl.export(tmp_path / "run", to="timm", out=tmp_path / "out", data=pd.DataFrame({"image": photos}))
    assert not (tmp_path / "out").exists()


def test_an_answer_of_two_views_is_told_to_be_too_much(family, local, photos, tmp_path):
    make_bundle(family, [local["resnet"]], photos, tmp_path / "run", views=True)
    with pytest.raises(ExportError, match=r"is a mean of 2 answers, and 'timm' holds one network"):
        autotl.export(tmp_path / "run", to="timm", out=tmp_path / "out", data=pd.DataFrame({"image": photos}))


def test_a_traced_vit_serves_any_number_of_rows(family, local, many_photos):
    """Its class token alone counts, so that its last block is ours."""
    encoder = family.encoder(local["vit"], many_photos)
    backbone = family.load(local["vit"])
    weight = np.random.default_rng(0).standard_normal((backbone.width, 2)).astype(np.float32)
    network = Classifier(backbone, LinearHead(weight, np.zeros(2, np.float32))).eval()
    rows = encoder.encode(many_photos[:7])
    program = traced(network, encoder, rows, modality="image", name="vit").module()
    for count in (1, 2, 7):
        state = encoder.batch(rows[:count])
        with torch.no_grad():
            assert torch.allclose(program(state), network(state), rtol=1e-4, atol=1e-4)
