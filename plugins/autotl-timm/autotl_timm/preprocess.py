"""Image files to normalized batches, on Pillow and numpy alone.

The family reads its images with this file, and an exported model ships a copy of it: it imports nothing of AutoTL.
"""

from __future__ import annotations

import functools
import json
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

# What Pillow warns of is decided here by errors and sizes. Once for all: `catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

#: Above this a file is taken for a decompression bomb: three times what a good camera makes, less than Pillow refuses.
MOST_PIXELS = 150_000_000

#: What `Inputs` reads.
SETTINGS = "preprocessing.json"

#: What pictures come in. Pillow knows forty more; some are a program's business (EPS starts Ghostscript), and none is
#: what a camera, a scanner or the web gives.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

#: How to turn a picture upright, by the EXIF orientation.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: What is white in a picture of more than 8 bits, by the bits that detectors have: X-rays and microscopes write 10 to
#: 14 of them into files for 16, which as 16 would be next to black.
_WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)

#: Of a picture's pixels, how many lie within what is white, and beyond what is black: single ones are often broken.
_BRIGHTEST, _DARKEST = 0.999, 0.001

#: Pictures of two devices have no white in common: in some it is so many times what it is in the others, with none
#: between, as there are where one device sees dark and bright things; and so large a share is darker. 12 bits beside 16
#: would be 16 greys next to black.
_FAR_APART, _ENOUGH_DARK = 16.0, 0.1

#: Values of which the least is so large a part of the largest begin somewhere else than at black: temperatures do.
_HIGH_UP = 0.5

#: The tag of a TIFF that says what 0 is, and what it says where that is white, as some X-rays have it: Pillow inverts
#: such a picture of 8 bits only.
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0

#: Of the grey values of what is not transparent: a drawing so bright is made for a dark page, and would not be seen on
#: a white one. Then it lies on `_DARK_PAGE`.
_WHITE_INK, _DARK_PAGE = 230, (64, 64, 64)

#: Pictures that say what is white in all, and the longest side of what is looked at of each: pixels in steps.
_SAMPLE, _SAMPLED_SIDE = 32, 1024

#: Threads that look at samples: each file may be at the other end of a network.
READERS = 16
#: Pictures of more than 8 bits are large, and a decoded one may take half a gigabyte.
_ONE_AT_A_TIME = threading.Lock()

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Inputs:
    """How one network reads images, or rows of several, by the settings in a folder."""

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        self._side, self._interpolation = settings["side"], settings["interpolation"]
        self._white, self._squeezed = settings.get("white", 0.0), settings.get("squeezed", False)  # older have neither
        self._mirrored, self._images = settings["mirrored"], settings.get("images")  # only where a row has several
        self._mean, self._std = np.array(settings["mean"], np.float32), np.array(settings["std"], np.float32)

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | str]:
        """``[side, side, 3] uint8`` for each path, ``[images, side, side, 3] uint8`` for each tuple of paths; a reason
        where it cannot be read.
        """
        return [self._read(cell) if self._images is None else self._read_row(cell) for cell in cells]

    def _read(self, cell: Any) -> np.ndarray | str:
        return read_square(str(cell), self._side, self._interpolation, self._white, squeezed=self._squeezed)

    def _read_row(self, cell: Any) -> np.ndarray | str:
        if not is_row(cell, self._images):
            return f"not {self._images} images"
        squares = []
        for number, path in enumerate(cell, start=1):
            square = self._read(path)
            if isinstance(square, str):
                return f"image {number} {square}"
            squares.append(square)
        return np.stack(squares)

    def batch(self, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """``"x"``: ``[batch, 3, side, side] float32``, normalized, mirrored where this is the mirrored view.

        Several images stand one below the other: ``[batch, 3, images * side, side]``.
        """
        pixels = np.stack(rows).reshape(len(rows), -1, self._side, 3)
        pixels = pixels[:, :, ::-1] if self._mirrored else pixels
        normalized = pixels * (1.0 / (255.0 * self._std)) - self._mean / self._std
        return {"x": np.ascontiguousarray(normalized.transpose(0, 3, 1, 2), np.float32)}


def is_row(cell: Any, images: int) -> bool:
    """Whether a cell names so many images."""
    return isinstance(cell, tuple | list) and len(cell) == images


def read_square(
    path: str, side: int, interpolation: str, white: float = 0.0, *, squeezed: bool = False
) -> np.ndarray | str:
    """The middle square of an image, ``[side, side, 3] uint8``, or what is wrong with the file.

    white: of pictures of more than 8 bits, as `common_white` has it. squeezed: all of it, squeezed into a square.
    """
    try:
        try:
            return _square(path, side, interpolation, white, squeezed=squeezed)
        except MemoryError:  # of which others that are decoded at this moment take their part
            with _ONE_AT_A_TIME:
                return _square(path, side, interpolation, white, squeezed=squeezed)
    except FileNotFoundError:
        return "does not exist"
    except MemoryError:
        raise
    except Exception as error:  # decoders fail on foreign bytes in every way there is
        return f"cannot be read ({_reason(error)})"


def _square(path: str, side: int, interpolation: str, white: float, *, squeezed: bool) -> np.ndarray | str:
    """As `read_square`, for a file that can be read."""
    with Image.open(path, formats=readable_formats()) as image:
        if image.width * image.height > MOST_PIXELS:
            return f"has {image.width}x{image.height} pixels, too many"
        image.draft("RGB", (side, side))  # large JPEGs decode at an eighth of the work
        scaling = _FILTERS.get(interpolation, Image.Resampling.BICUBIC)
        deep = _is_deep(image)
        inverted = deep and _white_is_zero(image)
        whole = _plain(_upright(image), white, deep=deep)
        whole = ImageOps.invert(whole) if inverted else whole
        square = whole.resize((side, side), scaling) if squeezed else ImageOps.fit(whole, (side, side), scaling)
        return np.asarray(_on_a_page(square))


@functools.cache
def readable_formats() -> list[str]:
    """Those of `_FORMATS` that this Pillow reads."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its camera says, where that can be read: damaged notes beside a picture are no fault of the picture."""
    image.load()
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # parsers fail on foreign bytes in every way there is
        turn = None
    return image if turn is None else image.transpose(turn)


@functools.lru_cache(maxsize=1)  # every backbone of a search asks of the same table
def common_white(paths: tuple[str, ...]) -> float:
    """What is white in all pictures of more than 8 bits of a table; 0 where each has to say it by itself.

    By itself, one would be a quarter as bright as its neighbour for a few pixels above 4095. So it is where some
    values are below 0 or all far above it, as these have no black in common either, and where devices differ.
    """
    with ThreadPoolExecutor(READERS) as pool:
        extremes = [found for found in pool.map(_extremes, paths[:_SAMPLE]) if found is not None]
    if not extremes or _begins_elsewhere(min(low for low, _ in extremes), max(high for _, high in extremes)):
        return 0.0
    whites = sorted(_least_white(high, (1.0, *_WHITES)) for _, high in extremes)
    gaps = [place for place in range(1, len(whites)) if _FAR_APART * whites[place - 1] <= whites[place]]
    return 0.0 if gaps and gaps[-1] >= _ENOUGH_DARK * len(whites) else whites[-1]


def _least_white(bright: float, whites: Sequence[float]) -> float:
    """The first of them that is no darker; what is bright where none is."""
    return next((white for white in whites if bright <= white), bright)


def _begins_elsewhere(low: float, high: float) -> bool:
    """Whether 0 is not black; of one grey alone nobody knows."""
    return low < 0 or max(_HIGH_UP * high, _WHITES[0]) < low < high


def _extremes(path: str) -> tuple[float, float] | None:
    """What is dark and what is bright in a picture of more than 8 bits; None for any other."""
    try:
        with Image.open(path, formats=readable_formats()) as image:
            if image.width * image.height > MOST_PIXELS or not _is_deep(image):
                return None
            step = 1 + max(image.size) // _SAMPLED_SIDE
            with _ONE_AT_A_TIME:
                few = image.resize((-(-image.width // step), -(-image.height // step)), Image.Resampling.NEAREST)
            values = _numbers(few)
            least = 0.0 if image.mode == "F" else _WHITES[0]
    except MemoryError:
        raise
    except Exception:  # decoders fail on foreign bytes in every way there is; reading says which file it was
        return None
    return _ends(values, least)


def _ends(values: np.ndarray, least: float) -> tuple[float, float]:
    """The least and the largest value but for broken pixels, and the least of all below 0; what is white at `least`."""
    smallest, (low, high) = float(values.min()), np.quantile(values, [_DARKEST, _BRIGHTEST]).tolist()
    return smallest if smallest < 0 else low, max(least, high)


def _white_is_zero(image: Image.Image) -> bool:
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _is_deep(image: Image.Image) -> bool:
    """Whether its pixels have more than 8 bits; of colours only while it is not loaded, when Pillow drops the rest."""
    if image.mode == "RGB":
        return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    return image.mode == "F" or image.mode.startswith("I")


def _numbers(image: Image.Image) -> np.ndarray:
    """float32 of a picture of more than 8 bits; of colours as far as Pillow reads them, which is the upper 8."""
    values = np.array(image, np.float32)
    if image.mode == "RGB":
        values *= 65535 / 255
    return np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)


def _plain(image: Image.Image, white: float, *, deep: bool) -> Image.Image:
    """RGB, or RGBA where there is transparency; more than 8 bits scaled to 8."""
    if deep:
        return Image.fromarray(_in_8_bits(_numbers(image), white, (1.0, *_WHITES) if image.mode == "F" else _WHITES))
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def _in_8_bits(values: np.ndarray, white: float, whites: Sequence[float]) -> np.ndarray:
    """``uint8`` from float32, which is overwritten; black is 0. Without a `white`, it is the first of the `whites` that
    hardly any exceeds, or else what is bright. With values below 0 or all far above it, as in tomography and
    thermography, these are the largest and the smallest.
    """
    if not white:
        low, high = _ends(values, 0.0)
        if _begins_elsewhere(low, high):
            values -= low
            white = (float(values.max()) if low < 0 else high - low) or 1.0
        else:
            white = _least_white(high, whites)
    values *= 255 / white
    return values.clip(0, 255, out=values).astype(np.uint8)


def _on_a_page(image: Image.Image) -> Image.Image:
    """RGB: what is transparent shows a white page, or a dark one where the drawing is white."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    opacity = np.asarray(image.getchannel("A"), np.float32)
    ink = (np.asarray(image.convert("L"), np.float32) * opacity).sum() / max(float(opacity.sum()), 1.0)
    page = _DARK_PAGE if opacity.min() < 255 and ink > _WHITE_INK else (255, 255, 255)
    return Image.alpha_composite(Image.new("RGBA", image.size, page), image).convert("RGB")


def _reason(error: Exception) -> str:
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    if "cannot identify" in text:
        return "not an image of a known format"
    return text.splitlines()[0] if text else type(error).__name__
