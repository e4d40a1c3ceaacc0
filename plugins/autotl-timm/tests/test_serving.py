"""Images over HTTP: as base64, never as a path, and gone when they are answered."""

from __future__ import annotations

import asyncio
import base64
import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from autotl.serving import app
from autotl.serving.app import make_app
from autotl.serving.limits import Limits
from autotl.testing import make_bundle


@pytest.fixture
def predictor(family, local, photos, tmp_path):
    return make_bundle(family, [local["mobilenetv3"]], photos, tmp_path / "run")


@pytest.fixture(params=["in memory", "on disk"])
def client(request, predictor, tmp_path, monkeypatch):
    for name in ("memory", "disk"):
        (tmp_path / "temporary" / name).mkdir(parents=True)
    memory = tmp_path / "temporary" / "memory" if request.param == "in memory" else tmp_path / "nowhere"
    monkeypatch.setattr(app, "MEMORY", str(memory))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary" / "disk"))
    with TestClient(make_app(predictor, Limits(pixels=100_000))) as client:
        used = [folder.parent.name for folder in (tmp_path / "temporary").glob("*/autotl-serve-*")]
        assert used == [request.param.split()[1]]
        yield client
    assert not [*(tmp_path / "temporary").glob("*/*")]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def image_file(kind: str, width: int, height: int) -> bytes:
    file, random = io.BytesIO(), np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(file, kind)
    return file.getvalue()


def test_answers_are_the_predictors_and_uploads_are_gone(client, predictor, photos, tmp_path):
    sent = [encoded(Path(photo).read_bytes()) for photo in photos]
    rows = client.post("/predict", json={"images": sent}).json()["predictions"]
    served = [list(row["probabilities"].values()) for row in rows]
    np.testing.assert_allclose(served, predictor.answers(photos).answers, atol=1e-5)
    assert [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("/etc/passwd", "image 1 is not base64"),
        ("no base64!", "image 1 is not base64"),
        ("", "image 1 cannot be read"),
        (encoded(b"/etc/passwd"), "image 1 cannot be read"),
        (encoded(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "image 1 cannot be read"),
        (encoded(image_file("PNG", 400, 300)), "image 1 has 120000 pixels, and 100000 are allowed"),
        (encoded(image_file("PNG", 200, 200)[:3000]), "row 1: the input cannot be read"),
    ],
)
def test_bad_images_are_refused_without_a_word_of_the_server(client, photos, tmp_path, image, says):
    good = encoded(Path(photos[0]).read_bytes())
    answer = client.post("/predict", json={"images": [good, image]})
    assert answer.status_code == 422
    (detail,) = answer.json().values()
    assert says in detail
    assert str(tmp_path) not in detail
    assert [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()] == []
    assert client.post("/predict", json={"images": [good]}).status_code == 200


def test_of_many_who_ask_at_once_each_gets_its_own(client, predictor, photos):
    torn = encoded(image_file("PNG", 200, 200)[:3000])
    asked = [image for photo in photos for image in (torn, encoded(Path(photo).read_bytes()))]
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda image: client.post("/predict", json={"images": [image]}), asked))
    assert [answer.status_code for answer in answers] == [422, 200] * len(photos)
    served = [list(answer.json()["predictions"][0]["probabilities"].values()) for answer in answers[1::2]]
    np.testing.assert_allclose(served, predictor.answers(photos).answers, atol=1e-5)


def test_images_that_cannot_be_laid_down_are_told_of_here_and_there(client, photos, tmp_path, caplog):
    """Its folder is gone, as on a machine that cleans up after a while; a full disk does the same."""
    (folder,) = (tmp_path / "temporary").glob("*/autotl-serve-*")
    folder.rename(tmp_path / "moved")
    image = encoded(Path(photos[0]).read_bytes())
    answer = client.post("/predict", json={"images": [image]})
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        "the service has no room for images now; try again later",
    )
    assert "no image can be taken: " in caplog.text
    (tmp_path / "moved").rename(folder)
    assert client.post("/predict", json={"images": [image]}).status_code == 200


@pytest.mark.parametrize("client", ["on disk"], indirect=True)
def test_large_requests_are_looked_at_beside_the_loop(client, predictor, photos, tmp_path, monkeypatch):
    """So that a file whose header takes seconds keeps nobody else waiting."""
    beside = []

    async def in_a_thread(work, *given):
        beside.append(work)
        return await to_thread(work, *given)

    to_thread = asyncio.to_thread
    monkeypatch.setattr(app, "LARGE_BODY", 1000)
    monkeypatch.setattr(asyncio, "to_thread", in_a_thread)
    sent = [encoded(Path(photo).read_bytes()) for photo in photos]
    answer = client.post("/predict", json={"images": sent})
    served = [list(row["probabilities"].values()) for row in answer.json()["predictions"]]
    np.testing.assert_allclose(served, predictor.answers(photos).answers, atol=1e-5)
    refused = client.post("/predict", json={"images": [*sent, encoded(b"no image" * 1000)]})
    assert refused.status_code == 422
    assert f"image {len(sent)} cannot be read" in refused.json()["detail"]
    assert len(beside) == 2
    assert [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()] == []
