"""Several images of a row: each through the same network, one row to all else, from the table to exports."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from autotl_timm.several import SeveralImagesFamily
from PIL import Image
from short_trainings import train_briefly
from starlette.testclient import TestClient

import autotl
from autotl.cli.main import main
from autotl.errors import DataError, ExportError
from autotl.plugins.contracts import Unreadable, ZooContext
from autotl.plugins.manager import plugins
from autotl.serving.app import make_app
from autotl.serving.limits import Limits
from autotl.testing import check_exporter, check_family, check_stored_states, make_bundle

#: One of each way in which a state is laid out: maps, tokens, maps with the channels last, and nothing to cut.
LAYOUTS = ["convnext", "vit", "swin", "ghostnet"]


@pytest.fixture
def several():
    return SeveralImagesFamily()


@pytest.fixture
def candidates(several, zoo):
    """``candidates(images)``: those of `zoo` by name, for rows of so many images."""

    def find(images):
        found = several.candidates(ZooContext(folders=(zoo,), columns=images))
        return {candidate.name: candidate for candidate in found if candidate.source == "folder"}

    return find


def rows_of(paths, images):
    """Rows of so many images each, each image in one row."""
    return list(zip(*[iter(paths)] * images, strict=False))


def as_table(rows):
    return pd.DataFrame(rows, columns=["image1", "image2"])


@torch.no_grad()
def features(family, candidate, cells):
    encoder, backbone = family.encoder(candidate, cells), family.load(candidate)
    return backbone.pool(backbone(encoder.batch(encoder.encode(cells))))


# -------------------------------------------------------------------- the network


def test_the_family_keeps_its_contract(several, candidates, kind, many_photos):
    check_family(several, candidates(2)[kind], rows_of(many_photos[:8], 2))


@torch.no_grad()
def test_folded_rows_are_the_same(several, candidates, many_photos):
    candidate, rows = candidates(2)["resnet"], rows_of(many_photos[:8], 2)
    encoder, backbone = several.encoder(candidate, rows), several.load(candidate)
    state, passing = encoder.batch(encoder.encode(rows)), backbone.folded()
    assert passing is not backbone
    expected = backbone.pool(backbone(state))
    torch.testing.assert_close(passing.pool(passing(state)), expected, atol=1e-4 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("images", [2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_features_are_those_of_each_image_in_order_and_how_much_they_differ(
    family, local, several, candidates, many_photos, layout, images
):
    candidate, rows = candidates(images)[layout], rows_of(many_photos[:12], images)
    each = features(family, local[layout], many_photos[:12]).unflatten(0, (-1, images))
    found = features(several, candidate, rows)
    assert found.shape[1] == several.load(candidate).width
    torch.testing.assert_close(found[:, : -each.shape[2]], each.flatten(1), atol=1e-5, rtol=1e-4)
    apart = each.amax(1) - each.amin(1)
    torch.testing.assert_close(found[:, -each.shape[2] :], apart, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_from_stored_states_equals_training_through_the_frozen_stages(
    several, candidates, layout, many_photos
):
    candidate = candidates(3)[layout]
    stages = max(len(several.load(candidate).stages) // 2, 1)
    check_stored_states(several, candidate, rows_of(many_photos * 2, 3), stages=stages, steps=10)


def test_there_is_one_network_however_many_images_a_row_has(local, candidates):
    for images in (2, 3):
        for name, candidate in candidates(images).items():
            assert candidate.parameters == local[name].parameters
            assert (candidate.columns, candidate.width) == (images, (images + 1) * local[name].width)
            assert candidate.key == f"timm-several/{name}"


def test_channels_last_no_pixel_is_moved_to_take_images_apart(several, candidates, many_photos):
    encoder = several.encoder(candidates(2)["resnet"], [])
    x = encoder.batch(encoder.encode(rows_of(many_photos, 2)))["x"]
    assert x.shape == (8, 3, 128, 64)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.unflatten(2, (2, -1)).transpose(1, 2).flatten(0, 1).data_ptr() == x.data_ptr()


# -------------------------------------------------------------------- how rows are read


def test_a_row_holds_its_images_as_the_family_of_one_reads_them(family, local, several, candidates, many_photos):
    encoder, one = several.encoder(candidates(2)["resnet"], []), family.encoder(local["resnet"], [])
    (row,) = encoder.encode([many_photos[:2]])  # as a list, which comes over the line to the worker
    assert row.dtype == np.uint8
    assert np.array_equal(row, np.stack(one.encode(many_photos[:2])))
    other = several.encoder(candidates(3)["resnet"], [])
    assert len({one.fingerprint, encoder.fingerprint, other.fingerprint}) == 3
    assert pickle.loads(pickle.dumps(encoder)) == encoder  # made here a moment ago


def test_the_side_is_settled_by_all_images_of_the_sample(several, candidates, tmp_path):
    for name, side in (("small", 40), ("large", 800)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    small, large = str(tmp_path / "small.png"), str(tmp_path / "large.png")
    candidate = dataclasses.replace(candidates(2)["efficientnet"], input_size=224)
    assert several.encoder(candidate, [(small, small)] * 3).side == 128
    assert several.encoder(candidate, [(small, large)] * 3).side == several.encoder(candidate, []).side == 224


@pytest.mark.parametrize("cell", [None, "photo.png", (), ("one.png",), ("one.png", "two.png", "three.png"), 7])
def test_what_is_no_row_of_so_many_images_is_unreadable_and_its_neighbours_are_read(
    several, candidates, many_photos, cell
):
    rows = rows_of(many_photos[:4], 2)
    first, odd, last = several.encoder(candidates(2)["resnet"], rows).encode([rows[0], cell, rows[1]])
    assert odd == Unreadable("not 2 images")
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)


def test_the_image_that_cannot_be_read_is_named(several, candidates, many_photos, tmp_path):
    (tmp_path / "torn.png").write_bytes(Path(many_photos[0]).read_bytes()[:300])
    encoder = several.encoder(candidates(2)["resnet"], [])
    gone, torn = str(tmp_path / "gone.png"), str(tmp_path / "torn.png")
    missing, broken = encoder.encode([(many_photos[0], gone), (torn, many_photos[0])])
    assert missing == Unreadable(f"{gone!r} does not exist")
    assert broken.reason.startswith(f"{torn!r} cannot be read")


@pytest.mark.parametrize("images", [0, -1])
def test_rows_of_no_images_are_not_read(several, candidates, tmp_path, images):
    candidate = candidates(2)["resnet"]
    several.save(several.load(candidate), several.encoder(candidate, []), tmp_path)
    settings = json.loads((tmp_path / "preprocessing.json").read_text())
    assert settings["images"] == 2
    (tmp_path / "preprocessing.json").write_text(json.dumps(settings | {"images": images}))
    with pytest.raises(ValueError, match=f"rows of {images} images cannot be read"):
        several.restore(tmp_path)


def squares(encoder, row, count, strength):
    """So many augmented copies of a row's two images: ``[count, 2, side, side]``, grey from 0 to 1."""
    batch = encoder.batch([row] * count, augment=strength, generator=torch.Generator().manual_seed(0))["x"]
    pixels = batch * torch.tensor(encoder.std).view(3, 1, 1) + torch.tensor(encoder.mean).view(3, 1, 1)
    return pixels.mean(1).unflatten(1, (2, -1))


def test_images_are_augmented_each_in_its_own_way_and_mirrored_together(several, candidates):
    encoder = several.encoder(candidates(2)["resnet"], [])
    row = np.zeros((2, 64, 64, 3), np.uint8)
    row[:, :20, :20] = 255
    left = squares(encoder, row, 200, 0.01)[..., :16, :16].mean((2, 3)) > 0.9
    assert torch.equal(left[:, 0], left[:, 1])
    assert 60 < int(left[:, 0].sum()) < 140
    assert (squares(encoder.without_views(), row, 50, 0.01)[..., :16, :16].mean((2, 3)) > 0.9).all()
    strongly = squares(encoder, row, 4, 0.6)
    assert not torch.allclose(strongly[:, 0], strongly[:, 1], atol=0.01)


def test_the_mirrored_view_mirrors_each_image_in_its_place(several, candidates, many_photos):
    encoder = several.encoder(candidates(2)["resnet"], [])
    (mirrored,) = encoder.views()
    rows = encoder.encode(rows_of(many_photos, 2))
    assert torch.equal(mirrored.batch(rows)["x"], encoder.batch(rows)["x"].flip(3))


# -------------------------------------------------------------------- answers, exports, and a search


@pytest.fixture
def rows(many_photos):
    return rows_of(many_photos, 2)


@pytest.fixture
def model(several, candidates, rows, tmp_path):
    """An answer for two images, and for the same mirrored, that nobody trained."""
    return make_bundle(several, [candidates(2)["mobilenetv3"]], rows, tmp_path / "run", views=True, layered=True)


def test_rows_by_themselves_are_predicted_like_a_table(model, rows, tmp_path, capsys):
    table = as_table(rows)
    expected = model.predict_proba(rows)
    np.testing.assert_array_equal(model.predict_proba(table), expected)
    assert np.isfinite(expected).all()
    assert not np.allclose(model.predict_proba([(two, one) for one, two in rows]), expected, atol=1e-3)  # ordered
    assert model.predict([rows[0], (rows[1][0], None), (rows[1][0], "gone.png")]).tolist()[1:] == [None, None]
    with pytest.raises(DataError, match="row 1: Each input is a tuple of 2"):
        model.predict([rows[0][0]])
    table.loc[1, "image2"], table.loc[2, "image1"] = None, str(tmp_path / "gone.png")
    table.to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(tmp_path / "run"), "--data", str(tmp_path / "new.csv")]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0].startswith("image1,image2,prediction,")
    assert f"new.csv: row 3: '{tmp_path / 'gone.png'}' does not exist" in told.err
    table.drop(columns="image1").to_csv(tmp_path / "new.csv", index=False)
    assert main(["predict", str(tmp_path / "run"), "--data", str(tmp_path / "new.csv")]) == 2
    assert "new.csv has no column 'image1'" in capsys.readouterr().err
    assert "from set of images image1 and image2" in model._repr_html_()
    assert "('image1.jpg', 'image2.jpg')" in model._repr_html_().replace("&#x27;", "'")


def test_rows_are_exported_and_the_layout_of_timm_has_no_place_for_them(model, rows, tmp_path):
    check_exporter(plugins().exporter("torch"), model, rows)
    with pytest.raises(ExportError, match=r"best answers to 2 images at once, and 'timm' holds a network for one\."):
        autotl.export(tmp_path / "run", to="timm", out=tmp_path / "out", data=as_table(rows))
    assert not (tmp_path / "out").exists()


def test_an_export_says_how_it_is_asked(model, rows, tmp_path):
    autotl.export(tmp_path / "run", to="torch", out=tmp_path / "out", data=as_table(rows))
    readme = (tmp_path / "out" / "README.md").read_text()
    assert 'predict([("image1.jpg", "image2.jpg")])' in readme
    assert "the columns image1, image2" in readme


def encoded(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


def noise(width, height):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_rows_are_served(model, rows, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    sent = [[encoded(path) for path in row] for row in rows[:3]]
    with TestClient(make_app(model, Limits(pixels=100_000))) as client:
        found = client.post("/predict", json={"images": sent}).json()["predictions"]
        served = [list(row["probabilities"].values()) for row in found]
        np.testing.assert_allclose(served, model.answers(rows[:3]).answers, atol=1e-5)
        torn = base64.b64encode(noise(200, 200)[:3000]).decode()
        large = base64.b64encode(noise(400, 300)).decode()
        for wrong, says in (
            (sent[0][:1], "input 1 has 1 images, and 2 are read: image1, image2"),
            ([sent[0][0], "no base64!"], "'image2' of input 1 is not base64"),
            ([large, sent[0][0]], "'image1' of input 1 has 120000 pixels, and 100000 are allowed"),
            ([sent[0][0], torn], "row 1: 'image2' cannot be read"),
        ):
            answer = client.post("/predict", json={"images": [sent[0], wrong]})
            assert answer.status_code == 422
            assert says in answer.json()["detail"]
            assert str(tmp_path) not in answer.json()["detail"]
        assert client.post("/predict", json={"images": [sent[0][0]]}).status_code == 422
        page = client.get("/").text
        assert "image1.jpg" in page
        assert "megapixels an image" in page
        assert not [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]


def test_a_model_for_one_or_several_images_is_packed_by_its_name(zoo, tmp_path, capsys):
    out = tmp_path / "zoo.tar"
    command = ["models", "--models", str(zoo / "resnet"), "--offline", "--json", "pack", "resnet", "-o", str(out)]
    assert main(command) == 0
    (packed,) = json.loads(capsys.readouterr().out)["models"]
    assert packed["backbone"] == "timm/resnet"


def draw(path, red, random):
    """A picture of noise, rather red or rather blue."""
    pixels = random.integers(0, 90, (64, 64, 3), np.uint8)
    pixels[:, :, 0 if red else 2] += 120
    Image.fromarray(pixels).save(path)


def write_colours(folder, rows, random):
    """A table in which only both images together tell whether they have the same colour."""
    folder.mkdir()
    found = []
    for number in range(rows):
        colours = random.integers(0, 2, 2)
        for view, red in zip(("front", "side"), colours, strict=True):
            draw(folder / f"{view}{number}.png", red, random)
        found.append((f"front{number}.png", f"side{number}.png", "same" if colours[0] == colours[1] else "other"))
    return pd.DataFrame(found, columns=["front", "side", "label"])


@pytest.mark.slow
def test_a_search_learns_what_only_both_images_tell(searched, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / "cache"))
    train_briefly(monkeypatch, tmp_path / "site")
    random, folder = np.random.default_rng(0), tmp_path / "data"
    table = write_colours(folder, 60, random)
    for view in ("front", "side"):  # a copy of the first row, brighter and of another size
        copy = Image.open(folder / f"{view}0.png").point(lambda value: value + 9).resize((96, 96))
        copy.save(folder / f"{view}a.png")
    (folder / "torn.png").write_bytes((folder / "front0.png").read_bytes()[:100])
    table.loc[60], table.loc[61] = ("fronta.png", "sidea.png", table["label"][0]), ("front0.png", "torn.png", "same")
    table.to_csv(folder / "table.csv", index=False)

    for view in ("front", "side"):  # the third row, smaller
        Image.open(folder / f"{view}2.png").resize((48, 48)).save(folder / f"{view}t.png")
    test = pd.DataFrame([("frontt.png", "sidet.png", table["label"][2]), *map(tuple, table.values[5:6])])
    test.set_axis(table.columns, axis=1).to_csv(folder / "test.csv", index=False)

    options = {"image": ["front", "side"], "models": searched, "out": tmp_path / "run", "test": folder / "test.csv"}
    found = autotl.fit(folder / "table.csv", trials=1, quiet=True, **options)

    assert (found.task.modality, found.task.columns) == ("images", ("front", "side"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["request"]["image"] == ["front", "side"]
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    notes = [event["text"] for event in events if event["kind"] == "note"]
    assert any(note.startswith("1 set of images nearly the same as another, such as table.csv: row") for note in notes)
    assert any(note.startswith("1 row to test on shows nearly the same as rows that are learned") for note in notes)
    assert any("row 62: " in note and "torn.png' cannot be read" in note for note in notes)
    assert found.predict(folder / "table.csv")[-1] is None
    new = write_colours(tmp_path / "new", 40, random)
    new.to_csv(tmp_path / "new" / "new.csv", index=False)
    # what each image says by itself, added up, tells three of the four combinations at most
    assert found.score(tmp_path / "new" / "new.csv") > 0.9
    report = (tmp_path / "run" / "report.html").read_text()
    assert "from the sets of images in columns front and side" in report
    assert "--image front side" in report
