"""Images as a report shows them: as a person would see them, and never one that nobody can open."""

from __future__ import annotations

import base64
import io
import os

import numpy as np
import pytest
from PIL import Image

from autotl.report.small_images import SIDE, data_uri


def shown(path):
    uri = data_uri(str(path))
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def halves(dark, bright, dtype):
    return Image.fromarray(np.repeat(np.array([[dark, bright]], dtype), 64, axis=1).repeat(64, axis=0))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("16 bits.png", halves(0, 60_000, np.uint16)),
        ("12 of 16 bits.png", halves(0, 4000, np.uint16)),
        ("below zero.tif", halves(-1000, 3000, np.int32)),
        ("fractions.tif", halves(0.0, 0.5, np.float32)),
        ("8 bits.png", halves(0, 255, np.uint8)),
    ],
)
def test_dark_is_dark_and_bright_is_bright(tmp_path, name, image):
    image.save(tmp_path / name)
    pixels = np.asarray(shown(tmp_path / name).convert("L"))
    assert pixels[:, :50].max() < 30
    assert pixels[:, 78:].min() > 225


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(tmp_path, mode):
    Image.new(mode, (300, 200)).save(tmp_path / "clear.png")
    small = shown(tmp_path / "clear.png")
    assert small.size == (SIDE, round(SIDE * 2 / 3))
    assert np.asarray(small).min() > 250


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
def test_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert data_uri(str(tmp_path / "pipe.png")) is None
