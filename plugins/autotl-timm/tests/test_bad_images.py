"""The corpus of odd and bad pictures: each is seen as a person sees it, or named with the reason in one line."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from autotl_timm.images import ImageEncoder, native_side
from autotl_timm.preprocess import read_square
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from autotl.data.paths import MOST_BYTES
from autotl.features.rows import EncodedRows
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Unreadable

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
GREY = (128, 128, 128)

ENCODER = ImageEncoder(64, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def saved(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def plain(mode: str, colour, size=(90, 70)) -> Image.Image:
    return Image.new(mode, size, colour)


def array(values, dtype) -> Image.Image:
    return Image.fromarray(np.full((70, 90), values, dtype))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *, bits: int = 8, colours: int = 2, before: bytes = b"") -> bytes:
    """A PNG that claims a size, whatever its pixels. colours: 2 RGB, 4 grey with alpha, 6 RGB with alpha."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    parts = chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def in_16_bits(colours: int, channels: int, value: int = 0x8080) -> bytes:
    return png(64, 64, (b"\0" + value.to_bytes(2, "big") * channels * 64) * 64, bits=16, colours=colours)


def turned(orientation: bytes) -> bytes:
    """EXIF with one entry, whose value is `orientation`."""
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + b"\x12\x01" + orientation + bytes(4)


def palette(**options) -> bytes:
    image = Image.new("P", (80, 80), 1)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    return saved(image, **options)


FRAMES = [plain("RGB", colour) for colour in (RED, BLUE, WHITE)]

SEEN = {
    "JPEG": ("a.jpg", saved(plain("RGB", (200, 30, 60)), "JPEG"), (200, 30, 60)),
    "grey JPEG": ("a.jpg", saved(plain("L", 100, (900, 700)), "JPEG"), (100, 100, 100)),
    "grey PNG": ("a.png", saved(plain("L", 100)), (100, 100, 100)),
    "CMYK": ("a.jpg", saved(plain("CMYK", (0, 255, 255, 0), (900, 700)), "JPEG"), RED),
    "CMYK in a TIFF": ("a.tif", saved(plain("CMYK", (0, 255, 255, 0)), "TIFF"), RED),
    "one bit": ("a.png", saved(plain("1", 1)), WHITE),
    "16 bits of grey": ("a.png", saved(array(0x8080, np.uint16)), GREY),
    "16 bits, all black": ("a.png", saved(array(0, np.uint16)), BLACK),
    "16 bits that hold 8": ("a.png", saved(array(128, np.uint16)), GREY),
    "16 bits that hold 12": ("a.png", saved(array(2056, np.uint16)), GREY),
    "16 bits that hold 12 in a TIFF": ("a.tif", saved(array(2056, np.uint16), "TIFF"), GREY),
    "16 bits that hold 14": ("a.png", saved(array(8224, np.uint16)), GREY),
    "16 bits in a TIFF": ("a.tif", saved(array(0xC0C0, np.uint16), "TIFF"), (192, 192, 192)),
    "16 bits of RGB": ("a.png", in_16_bits(2, 3), GREY),
    "16 bits of RGB that hold 12": ("a.png", in_16_bits(2, 3, 0x0808), GREY),
    "16 bits of RGB with alpha": ("a.png", in_16_bits(6, 4), (191, 191, 191)),
    "16 bits of grey with alpha": ("a.png", in_16_bits(4, 2), (191, 191, 191)),
    "32 bits": ("a.tif", saved(array(0x8080, np.int32), "TIFF"), GREY),
    "32 bits beyond 16": ("a.tif", saved(array(2_000_000, np.int32), "TIFF"), WHITE),
    "32 bits below zero": ("a.tif", saved(array(-1000, np.int32), "TIFF"), BLACK),
    "fractions from 0 to 1": ("a.tif", saved(array(0.5, np.float32), "TIFF"), GREY),
    "fractions from 0 to 255": ("a.tif", saved(array(128.0, np.float32), "TIFF"), GREY),
    "no number in any pixel": ("a.tif", saved(array(np.nan, np.float32), "TIFF"), BLACK),
    "infinity in every pixel": ("a.tif", saved(array(np.inf, np.float32), "TIFF"), BLACK),
    "nothing but transparency": ("a.png", saved(plain("RGBA", (0, 0, 0, 0))), WHITE),
    "half transparent": ("a.png", saved(plain("RGBA", (255, 0, 0, 128))), (255, 127, 127)),
    "grey and transparent": ("a.png", saved(plain("LA", (0, 0))), WHITE),
    "a palette": ("a.png", palette(), RED),
    "a palette with a transparent colour": ("a.png", palette(transparency=1), WHITE),
    "a palette with alphas": ("a.png", palette(transparency=bytes([255, 0, 255])), WHITE),
    "a palette with a transparent colour in a GIF": ("a.gif", palette(form="GIF", transparency=1), WHITE),
    "an animated GIF": ("a.gif", saved(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), RED),
    "an animated PNG": ("a.png", saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), RED),
    "an animated WebP": ("a.webp", saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]), RED),
    "a TIFF of several pages": ("a.tif", saved(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), RED),
    "several pictures of one phone": ("a.jpg", saved(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]), RED),
    "WebP": ("a.webp", saved(plain("RGB", (60, 120, 180)), "WEBP"), (60, 120, 180)),
    "BMP": ("a.bmp", saved(plain("RGB", RED), "BMP"), RED),
    "one pixel": ("a.png", saved(plain("RGB", RED, (1, 1))), RED),
    "very wide": ("a.png", saved(plain("RGB", BLUE, (20_000, 3))), BLUE),
    "very wide JPEG": ("a.jpg", saved(plain("RGB", (10, 200, 100), (20_000, 3)), "JPEG"), (10, 200, 100)),
    "very tall": ("a.png", saved(plain("RGB", BLUE, (1, 20_000))), BLUE),
    "no suffix": ("a", saved(plain("RGB", RED)), RED),
    "the suffix of another format": ("a.jpg", saved(plain("RGB", RED)), RED),
    "spaces and accents in the name": ("ä ö.png", saved(plain("RGB", RED)), RED),
    "turned, which cannot be read": ("a.jpg", saved(plain("RGB", RED), "JPEG", exif=b"Exif\0\0rubbish"), RED),
    "turned, in a PNG with torn EXIF": ("a.png", saved(plain("RGB", RED), exif=b"Exif\0\0II*\0"), RED),
    "turned, in a WebP with torn EXIF": ("a.webp", saved(plain("RGB", RED), "WEBP", exif=b"Exif\0\0rubbish!!"), RED),
    "turned by a word": ("a.jpg", saved(plain("RGB", RED), "JPEG", exif=turned(b"\2\0\1\0\0\0X\0\0\0")), RED),
    "turned in the 99th way": ("a.jpg", saved(plain("RGB", RED), "JPEG", exif=turned(b"\3\0\1\0\0\0\x63\0\0\0")), RED),
    "bytes after the end": ("a.jpg", saved(plain("RGB", RED), "JPEG") + b"<?php ?>", RED),
}


def write(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def test_tomography_is_seen_from_its_darkest_on(tmp_path):
    image = Image.fromarray(np.repeat(np.repeat(np.array([[-2000, 500, 3000]], np.int32), 40, 1), 120, 0))
    (pixels,) = ENCODER.encode([write(tmp_path, "slice.tif", saved(image, "TIFF"))])
    assert [int(pixels[32, column].mean()) for column in (4, 32, 60)] == [0, 127, 255]


@pytest.mark.parametrize(("name", "content", "colour"), SEEN.values(), ids=SEEN)
def test_picture_is_seen(tmp_path, name, content, colour):
    (pixels,) = ENCODER.encode([write(tmp_path, name, content)])
    assert isinstance(pixels, np.ndarray), pixels
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
    assert np.abs(pixels.astype(int) - colour).max() <= 4


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "red"),
    [
        (1, np.s_[:30, :]),
        (2, np.s_[:30, :]),
        (3, np.s_[34:, :]),
        (4, np.s_[34:, :]),
        (5, np.s_[:, :30]),
        (6, np.s_[:, 34:]),
        (7, np.s_[:, 34:]),
        (8, np.s_[:, :30]),
    ],
)
def test_picture_is_turned_as_its_camera_says(tmp_path, form, orientation, red):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = plain("RGB", BLUE, (800, 800))
    image.paste(RED, (0, 0, 800, 400))
    (pixels,) = ENCODER.encode([write(tmp_path, "turned", saved(image, form, exif=exif, quality=95))])
    assert np.abs(pixels[red].astype(int) - RED).max() <= 12
    assert (pixels[..., 2] > 200).mean() > 0.4


NOISE = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)), "JPEG")

UNSEEN = {
    "the half of a JPEG": ("a.jpg", NOISE[: len(NOISE) // 2], "truncated"),
    "the head of a JPEG": ("a.jpg", NOISE[:40], "cannot be read"),
    "the half of a PNG": ("a.png", png(100, 100, bytes(1000))[:-30], "cannot be read"),
    "a PNG that lacks rows": ("a.png", png(100, 100, bytes(1000)), "cannot be read"),
    "no bytes": ("a.jpg", b"", "not an image"),
    "a text": ("a.jpg", b"I am a text, no picture", "not an image"),
    "an SVG": ("a.jpg", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "not an image"),
    "a page of the web": ("a.png", b"<!DOCTYPE html><html><body>404</body></html>", "not an image"),
    "a PDF": ("a.jpg", b"%PDF-1.7\n%\xe2\xe3", "not an image"),
    "a program for Ghostscript": ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "a pointer of Git LFS": ("a.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "not an image"),
    "a bomb of 3.6 billion pixels": ("a.png", png(60_000, 60_000, bytes(1000)), "pixels"),
    "a bomb of 169 million pixels": ("a.png", png(13_000, 13_000, bytes(1000)), "13000x13000 pixels, too many"),
    "a bomb among the notes": (
        "a.png", png(64, 64, b"", before=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))), "too large",
    ),
    "no pixels": ("a.png", png(0, 10, b""), "cannot be read"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("name", "content", "words"), UNSEEN.values(), ids=UNSEEN)
def test_what_is_no_picture_is_named_with_the_reason(tmp_path, name, content, words):
    path = write(tmp_path, name, content)
    (answer,) = ENCODER.encode([path])
    assert isinstance(answer, Unreadable)
    assert answer.reason.startswith(repr(path))
    assert words in answer.reason
    assert len(answer.reason.splitlines()) == 1


@pytest.mark.parametrize("path", ["a\0b.jpg", "x" * 100_000, "", "missing.jpg"])
def test_path_that_leads_nowhere_is_named_briefly(path):
    (answer,) = ENCODER.encode([path])
    assert isinstance(answer, Unreadable)
    assert len(answer.reason) < 300


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_pictures_leave_the_side_to_the_good_ones(tmp_path):
    bad = [write(tmp_path, f"{place}", content) for place, (_, content, _) in enumerate(UNSEEN.values())]
    assert native_side([*bad, write(tmp_path, "good", saved(plain("RGB", RED, (160, 160))))], 224) == 160
    small = [write(tmp_path, "small", saved(plain("RGB", RED, (96, 96))))]
    assert [native_side(small, 224), native_side(small, 224, smallest=192)] == [128, 192]


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory that a process took")
def test_the_largest_picture_that_is_read_takes_less_than_two_gigabytes(tmp_path):
    """149 million pixels with alpha in half a megabyte: the worst that is not refused."""
    rows = zlib.compressobj(1)
    pixels = b"".join([*(rows.compress(bytes(1 + 4 * 12_200)) for _ in range(12_200)), rows.flush()])
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 12_200, 12_200, 8, 6, 0, 0, 0))
    path = write(tmp_path, "a.png", b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    program = (
        "import sys; from autotl.usage import peak_memory; from autotl_timm.images import ImageEncoder\n"
        "(pixels,) = ImageEncoder(64, 'bicubic', (0, 0, 0), (1, 1, 1)).encode(sys.argv[1:])\n"
        "print(pixels.min(), peak_memory() // 1_000_000)"
    )
    answer = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    white, megabytes = map(int, answer.stdout.split())
    assert white == 255
    assert megabytes < 2000


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([content for _, content, _ in SEEN.values() if len(content) < 5000]),
    change=st.tuples(st.floats(0, 1), st.binary(max_size=30)),
)
def test_whatever_bytes_there_are_a_picture_or_a_reason_comes_out(tmp_path, start, change):
    place, other = int(change[0] * len(start)), change[1]
    (answer,) = ENCODER.encode([write(tmp_path, "a", start[:place] + other + start[place + len(other) :])])
    assert isinstance(answer, Unreadable) or answer.shape == (64, 64, 3)


# -------------------------------------------------------------------- what the core keeps away from the encoder


@pytest.fixture
def places(tmp_path):
    """Paths that are no files, by what they are."""
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(100 * MOST_BYTES)  # takes no room on the disk
    return {name: str(tmp_path / f"{name}.jpg") for name in ("folder", "pipe", "zero", "loop", "huge", "gone")}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes, devices and links in the file system")
def test_what_is_no_file_is_not_opened(places, tmp_path):
    def fail(*_):
        raise TimeoutError("it hangs")

    cells = [write(tmp_path, "good.png", saved(plain("RGB", RED))), *places.values(), "https://example.org/a.jpg"]
    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    try:
        rows = EncodedRows(ENCODER, cells, modality="image", store=FeatureStore(None))
        assert rows.readable(np.arange(len(cells))).tolist() == [0]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    words = [
        "is a folder",
        "pipe or a device",
        "pipe or a device",
        "symbolic links",
        "200.0 GB",
        "not exist",
        "address",
    ]
    assert all(word in rows.unreadable[row] for row, word in enumerate(words, start=1)), rows.unreadable


@pytest.mark.parametrize("times", [1, 2])
def test_memory_that_runs_out_is_no_fault_of_the_picture(tmp_path, monkeypatch, times):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    opened, left = Image.open, [MemoryError] * times

    def open_image(*given, **how):
        if left:
            raise left.pop()
        return opened(*given, **how)

    monkeypatch.setattr(Image, "open", open_image)
    if times == 1:  # another picture was decoded at that moment
        assert read_square(str(tmp_path / "red.png"), 8, "bilinear").shape == (8, 8, 3)
    else:
        with pytest.raises(MemoryError):
            read_square(str(tmp_path / "red.png"), 8, "bilinear")
