"""Image files become squares, and squares become batches; odd and bad files are in `test_bad_images.py`."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autotl.features.rows import CHUNK, MOST_THREADS, EncodedRows
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Unreadable

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture(scope="module")
def encoder(zoo):
    """Of a small ResNet: 64 pixels."""
    from autotl_timm.family import TimmFamily

    from autotl.plugins.contracts import ZooContext

    (candidate,) = (c for c in TimmFamily().candidates(ZooContext(folders=(zoo,))) if c.name == "resnet")
    return TimmFamily().encoder(candidate, [])


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)


def read(encoder, path: Path) -> np.ndarray:
    (array,) = encoder.encode([str(path)])
    assert isinstance(array, np.ndarray), array
    assert array.shape == (64, 64, 3)
    assert array.dtype == np.uint8
    return array


def assert_all_near(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 3) -> None:
    assert np.abs(pixels.astype(int) - colour).max() <= tolerance


def halves(first: tuple[int, int, int], second: tuple[int, int, int]) -> Image.Image:
    """The first colour above the second."""
    image = Image.new("RGB", (80, 80), second)
    image.paste(first, (0, 0, 80, 40))
    return image


def test_the_short_side_fits_and_the_middle_is_kept(encoder, tmp_path):
    image = Image.new("RGB", (400, 100), BLUE)
    image.paste(RED, (150, 0, 250, 100))
    image.save(tmp_path / "wide.png")
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "tall.png")
    for name in ("wide.png", "tall.png"):
        assert_all_near(read(encoder, tmp_path / name)[2:-2, 2:-2], RED)


@pytest.mark.parametrize(
    ("size", "whole"),
    [
        ((100, 300), True),
        ((300, 100), True),
        ((99, 140), True),
        ((140, 99), True),
        ((130, 100), True),
        ((118, 100), False),
        ((100, 118), False),
    ],
)
def test_of_pictures_that_are_mostly_long_nothing_is_cut_off(zoo, tmp_path, size, whole):
    from autotl_timm.family import TimmFamily
    from autotl_timm.preprocess import Inputs

    from autotl.plugins.contracts import ZooContext

    width, height = size
    image = Image.new("RGB", size, WHITE)
    image.paste(RED, (0, 0, max(width // 20, 5), max(height // 20, 5)))  # a corner
    image.save(tmp_path / "one.png")
    Image.new("RGB", (64, 64), BLUE).save(tmp_path / "square.png")
    sample = [str(tmp_path / name) for name in ("one.png", "one.png", "square.png")]
    (candidate,) = (c for c in TimmFamily().candidates(ZooContext(folders=(zoo,))) if c.name == "resnet")
    encoder = TimmFamily().encoder(candidate, sample)
    square = read(encoder, tmp_path / "one.png")
    assert (np.abs(square[0, 0].astype(int) - RED).max() < 30) == whole
    encoder.write_portable(tmp_path)
    np.testing.assert_array_equal(Inputs(tmp_path).encode([str(tmp_path / "one.png")])[0], square)


def test_paths_may_be_strings_or_paths_and_arrays_keep_their_order(encoder, tmp_path):
    colours = [RED, BLUE, WHITE]
    for index, colour in enumerate(colours):
        Image.new("RGB", (70, 70), colour).save(tmp_path / f"{index}.png")
    arrays = encoder.encode([tmp_path / "0.png", str(tmp_path / "none.png"), tmp_path / "1.png", tmp_path / "2.png"])
    assert isinstance(arrays.pop(1), Unreadable)
    assert [tuple(array[0, 0]) for array in arrays] == colours
    assert encoder.encode([]) == []


def test_pictures_of_more_than_8_bits_are_as_bright_beside_each_other_as_they_were(zoo, tmp_path):
    """By itself, the dim one would be as bright as the others, and the one with a broken pixel next to black."""
    from autotl_timm.family import TimmFamily

    from autotl.plugins.contracts import ZooContext

    pictures = {name: np.full((80, 80), level, np.uint16) for name, level in (("dim", 800), ("a", 3000), ("b", 3000))}
    pictures["b"][3, 5] = 60_000
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    paths = [str(tmp_path / f"{name}.png") for name in pictures]
    (candidate,) = (c for c in TimmFamily().candidates(ZooContext(folders=(zoo,))) if c.name == "resnet")
    levels = [int(np.median(array)) for array in TimmFamily().encoder(candidate, paths).encode(paths)]
    assert levels == pytest.approx([800 * 255 / 4095, 3000 * 255 / 4095, 3000 * 255 / 4095], abs=1)


def deep(folder, name, values, **options):
    Image.fromarray(values.astype(np.uint16)).save(folder / name, **options)
    return str(folder / name)


def levels_of(zoo, paths, pick=np.median):
    """What the encoder that a family makes of these pictures reads in each."""
    from autotl_timm.family import TimmFamily

    from autotl.plugins.contracts import ZooContext

    (candidate,) = (c for c in TimmFamily().candidates(ZooContext(folders=(zoo,))) if c.name == "resnet")
    return [int(pick(array)) for array in TimmFamily().encoder(candidate, paths).encode(paths)]


def test_pictures_of_two_devices_have_a_white_each(zoo, tmp_path):
    """With one for all, those of 12 bits would be 16 greys next to black."""
    slope = np.linspace(0, 1, 80 * 80).reshape(80, 80)
    paths = [deep(tmp_path, f"{i}.png", slope * (4000 if i % 2 else 65_000)) for i in range(6)]
    assert levels_of(zoo, paths) == pytest.approx([126] * 6, abs=4)


def test_temperatures_do_not_begin_at_black(zoo, tmp_path):
    """Hundredths of a kelvin: a scene is a small part of what is above 0."""
    slope = np.linspace(29_800, 31_000, 80 * 80).reshape(80, 80)
    (path,) = [deep(tmp_path, "thermal.png", slope)]
    assert levels_of(zoo, [path]) == pytest.approx([127], abs=4)
    assert levels_of(zoo, [path], np.ptp)[0] > 230


def test_where_0_is_white_pictures_are_turned_round(zoo, tmp_path):
    """MONOCHROME1, as some X-rays are: Pillow inverts 8 bits of it, and leaves 16 as they are."""
    values = np.full((80, 80), 1000)
    paths = [deep(tmp_path, "usual.tif", values), deep(tmp_path, "inverted.tif", 4095 - values, tiffinfo={262: 0})]
    with Image.open(paths[1]) as image:
        assert image.tag_v2[262] == 0
    assert levels_of(zoo, paths) == pytest.approx([62, 62], abs=1)


def test_white_drawings_without_a_ground_are_seen(encoder, tmp_path):
    image = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (16, 16, 48, 48))
    image.save(tmp_path / "white.png")
    assert np.ptp(read(encoder, tmp_path / "white.png").astype(int)) > 150
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (16, 16, 48, 48))
    image.save(tmp_path / "black.png")
    assert read(encoder, tmp_path / "black.png")[0, 0].tolist() == [255] * 3


def test_a_large_photo_is_close_to_its_full_decoding(encoder, tmp_path):
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(tmp_path / "large.jpg", quality=95)
    Image.open(tmp_path / "large.jpg").save(tmp_path / "large.png")
    difference = read(encoder, tmp_path / "large.jpg").astype(int) - read(encoder, tmp_path / "large.png")
    assert np.abs(difference).max() < 12


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that another thread can be kept waiting at")
def test_reading_in_a_thread_leaves_the_warnings_of_the_others_alone(encoder, tmp_path):
    os.mkfifo(tmp_path / "slow.jpg")
    filters, before = warnings.filters, list(warnings.filters)
    thread = threading.Thread(target=encoder.encode, args=([tmp_path / "slow.jpg"],))
    thread.start()
    with (tmp_path / "slow.jpg").open("wb"):  # opens when the thread has begun to read
        during = warnings.filters
    thread.join()
    assert during is warnings.filters is filters
    assert filters == before


def test_reading_prints_nothing(tmp_path):
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\x00" + b"\x12\x01\x03\0\x01\0\0\0"
    Image.new("RGB", (80, 80), RED).save(tmp_path / "odd.jpg", exif=exif)
    program = (
        "import sys; from autotl_timm.images import ImageEncoder\n"
        "print(ImageEncoder(32, 'bicubic', (0, 0, 0), (1, 1, 1)).encode(sys.argv[1:])[0].shape)"
    )
    command = [sys.executable, "-W", "always", "-c", program, str(tmp_path / "odd.jpg")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (answer.stdout.strip(), answer.stderr) == ("(32, 32, 3)", "")


def test_pickling_keeps_the_encoder(encoder, photos):
    # bytes made on this very line; the contract asks that encoders can travel to other processes
    other = pickle.loads(pickle.dumps(encoder))  # made here a moment ago
    assert other == encoder
    assert hash(other) == hash(encoder)
    assert other.fingerprint == encoder.fingerprint
    assert np.array_equal(other.encode(photos), encoder.encode(photos))


def test_the_fingerprint_changes_with_what_decides_the_arrays_only(encoder, noise, tmp_path):
    Image.fromarray(noise).save(tmp_path / "noise.png")
    (array,) = encoder.encode([tmp_path / "noise.png"])
    for change in ({"side": 96}, {"interpolation": "bilinear"}, {"squeezed": True}):
        other = dataclasses.replace(encoder, **change)
        assert other.fingerprint != encoder.fingerprint
        assert not np.array_equal(other.encode([tmp_path / "noise.png"])[0], array)
    other = dataclasses.replace(encoder, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert other.fingerprint == encoder.fingerprint
    assert np.array_equal(other.encode([tmp_path / "noise.png"])[0], array)


def test_where_files_come_slowly_more_of_them_are_read_at_once(encoder, many_photos, tmp_path, monkeypatch):
    """As over a network: each is there after 50 ms."""
    monkeypatch.setattr("autotl.features.rows.cores", lambda: 2)
    reading, most, lock = 0, 0, threading.Lock()

    class Slow:
        fingerprint, longest = encoder.fingerprint, None

        def encode(self, cells):
            nonlocal reading, most
            with lock:
                reading += 1
                most = max(most, reading)
            time.sleep(0.05 * len(cells))
            with lock:
                reading -= 1
            return encoder.encode(cells)

    cells = [str(tmp_path / f"{number}.png") for number in range(256)]
    for number, cell in enumerate(cells):  # different files
        Path(cell).write_bytes(Path(many_photos[number % len(many_photos)]).read_bytes() + bytes([number // 16]))
    rows, indices = EncodedRows(Slow(), cells, modality="image", store=FeatureStore(None)), np.arange(len(cells))
    assert sum(len(part) for part in rows.stream(indices[:CHUNK], ahead=False)) == CHUNK
    assert most == 2
    assert [len(part) for part in rows.stream(indices[CHUNK:], ahead=False)] == [CHUNK] * 3
    assert most == MOST_THREADS
    for index in (0, 200):
        np.testing.assert_array_equal(rows.gather([index])[0], encoder.encode([cells[index]])[0])


def test_a_batch_is_normalized_exactly(encoder, photos):
    rows = encoder.encode(photos)
    state = encoder.batch(rows)
    expected = (np.stack(rows).transpose(0, 3, 1, 2) / 255 - np.reshape(encoder.mean, (3, 1, 1))) / np.reshape(
        encoder.std, (3, 1, 1)
    )
    assert state.keys() == {"x"}
    assert state["x"].dtype == torch.float32
    np.testing.assert_allclose(state["x"].numpy(), expected, atol=1e-6)
    assert torch.equal(encoder.batch(rows, augment=0.0, generator=torch.Generator().manual_seed(1))["x"], state["x"])


def augmented(encoder, rows, strength: float, seed: int) -> torch.Tensor:
    """The batch as pixels from 0 to 1."""
    batch = encoder.batch(rows, augment=strength, generator=torch.Generator().manual_seed(seed))["x"]
    return batch * torch.tensor(encoder.std).view(3, 1, 1) + torch.tensor(encoder.mean).view(3, 1, 1)


def test_augmentation_is_decided_by_the_generator_alone(encoder, photos):
    rows = encoder.encode(photos)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = augmented(encoder, rows, 0.6, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(augmented(encoder, rows, 0.6, seed=3), first)
    assert not torch.allclose(augmented(encoder, rows, 0.6, seed=4), first, atol=0.01)
    assert not torch.allclose(encoder.batch(rows, augment=0.6)["x"], encoder.batch(rows, augment=0.6)["x"], atol=0.01)


@pytest.mark.parametrize("strength", [0.01, 0.3, 0.6, 1.0])
def test_augmented_pixels_stay_in_range(encoder, photos, strength):
    rows = encoder.encode(photos) * 16
    rows += [np.zeros_like(rows[0]), np.full_like(rows[0], 255)]
    pixels = augmented(encoder, rows, strength, seed=0)
    assert pixels.shape == (34, 3, 64, 64)
    assert torch.isfinite(pixels).all()
    assert pixels.min() > -1e-5
    assert pixels.max() < 1 + 1e-5


def test_augmentation_leaves_the_rows_alone(encoder, photos):
    rows = encoder.encode(photos)
    before = [row.copy() for row in rows]
    augmented(encoder, rows, 1.0, seed=0)
    assert all(np.array_equal(row, kept) for row, kept in zip(rows, before, strict=True))


def test_more_strength_changes_more(encoder, photos):
    rows = [encoder.encode(photos)[0]] * 64
    plain = torch.tensor(rows[0]).permute(2, 0, 1) / 255
    changes = []
    for strength in (0.01, 0.3, 1.0):
        pixels = augmented(encoder, rows, strength, seed=0)
        mirrored = pixels.flip(3)
        changes.append(
            float(
                torch.minimum((pixels - plain).abs().mean((1, 2, 3)), (mirrored - plain).abs().mean((1, 2, 3))).mean()
            )
        )
    assert changes[0] < 0.02 < changes[1] < changes[2]


def test_half_of_the_pictures_are_mirrored_and_none_is_turned_over(encoder):
    row = np.zeros((64, 64, 3), np.uint8)
    row[:20, :20] = 255
    pixels = augmented(encoder, [row] * 400, 0.01, seed=0).mean(1)
    left, right = pixels[:, :16, :16].mean((1, 2)) > 0.9, pixels[:, :16, -16:].mean((1, 2)) > 0.9
    assert torch.equal(left, ~right)
    assert 150 < int(left.sum()) < 250
    assert pixels[:, -32:].max() < 0.01


def test_rows_of_a_batch_are_augmented_each_in_its_own_way(encoder, photos):
    pixels = augmented(encoder, [encoder.encode(photos)[0]] * 4, 0.6, seed=0)
    for index in range(3):
        assert not torch.allclose(pixels[index], pixels[index + 1], atol=0.01)


def test_brightness_changes_by_less_than_half(encoder):
    grey = np.full((64, 64, 3), 128, np.uint8)
    pixels = augmented(encoder, [grey] * 100, 1.0, seed=0).mean((1, 2, 3)) / (128 / 255)
    assert 0.599 < pixels.min() < 0.7
    assert 1.3 < pixels.max() < 1.401


def test_contrast_and_saturation_change_apart(encoder):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, :21], stripes[:, 21:42], stripes[:, 42:] = (80, 80, 80), (140, 90, 90), (150, 150, 150)
    pixels = augmented(encoder, [stripes] * 100, 0.3, seed=0)
    range_of_grey = pixels.mean(1).flatten(1).amax(1) - pixels.mean(1).flatten(1).amin(1)
    colour = (pixels[:, 0] - pixels[:, 1]).flatten(1).amax(1)
    for found, plain in ((range_of_grey / pixels.mean((1, 2, 3)), 70 / 112.5), (colour / range_of_grey, 50 / 70)):
        assert found.std() / plain > 0.04
        assert (found / plain - 1).abs().max() < 0.3


def test_the_only_view_is_the_mirrored_one(encoder, photos):
    (mirrored,) = encoder.views()
    rows = encoder.encode(photos)
    assert mirrored.fingerprint == encoder.fingerprint
    assert torch.equal(mirrored.batch(rows)["x"], encoder.batch(rows)["x"].flip(3))
    assert list(mirrored.views()) == []
    generator = torch.Generator().manual_seed(0)
    same = torch.Generator().manual_seed(0)
    assert torch.equal(
        mirrored.batch(rows, augment=0.5, generator=generator)["x"],
        encoder.batch(rows, augment=0.5, generator=same)["x"],
    )


def test_without_views_nothing_is_mirrored_and_all_else_is_as_before(encoder, photos):
    alone = encoder.without_views()
    rows = encoder.encode(photos)
    assert list(alone.views()) == []
    assert alone.fingerprint == encoder.fingerprint
    assert torch.equal(alone.batch(rows)["x"], encoder.batch(rows)["x"])
    row = np.zeros((64, 64, 3), np.uint8)
    row[:20, :20] = 255
    pixels = augmented(alone, [row] * 100, 0.01, seed=0).mean(1)
    assert (pixels[:, :16, :16].mean((1, 2)) > 0.9).all()
    both = augmented(encoder, [row] * 100, 0.6, seed=3), augmented(alone, [row] * 100, 0.6, seed=3)
    same = torch.isclose(*both, atol=1e-6).flatten(1).all(1)
    assert 20 < int(same.sum()) < 80  # those that are not mirrored are augmented alike
