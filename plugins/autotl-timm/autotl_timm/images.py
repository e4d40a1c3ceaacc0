"""Image files to uint8 squares once, and squares to normalized batches at every step."""

from __future__ import annotations

import functools
import hashlib
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from autotl.data.wording import shortened
from autotl.plugins.contracts import Unreadable

if TYPE_CHECKING:
    import torch

    from autotl.plugins.contracts import State

# What Pillow warns of is decided here by errors and sizes. Once for all: `catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

#: Above this a file is taken for a decompression bomb: three times what a good camera makes, less than Pillow refuses.
MOST_PIXELS = 150_000_000

#: Below this side pretrained networks lose most of what they know; larger sides cost with their square.
SMALLEST_SIDE = 128

#: No network of timm was made for more; what a file of settings claims beyond would only cost memory.
LARGEST_SIDE = 1024
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

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class ImageEncoder:
    """Reads images into ``[side, side, 3] uint8``: short side to `side`, then the middle square.

    The usual tighter crop is left out: the arrays serve training as well, and it would throw labelled pixels away.
    """

    side: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mirrored: bool = False  #: whether batches that are not augmented are

    def __post_init__(self) -> None:
        if not 1 <= self.side <= LARGEST_SIDE or len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"images of {self.side} pixels: 1 to {LARGEST_SIDE}, and three channels, can be read")

    @property
    def fingerprint(self) -> str:
        """Of what decides the arrays; mean and deviation act on batches, so backbones can share arrays."""
        return hashlib.sha256(f"image 2 {self.side} {self.interpolation}".encode()).hexdigest()[:16]

    @property
    def longest(self) -> None:
        """Images are scaled, not cut."""
        return None

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """``[side, side, 3] uint8`` for each path."""
        return [self._read(str(cell)) for cell in cells]

    def _read(self, path: str) -> np.ndarray | Unreadable:
        try:
            with Image.open(path, formats=_formats()) as image:
                if image.width * image.height > MOST_PIXELS:
                    return Unreadable(f"{shortened(path, width=200)} has {image.width}x{image.height} pixels, too many")
                image.draft("RGB", (self.side, self.side))  # large JPEGs decode at an eighth of the work
                return np.asarray(_on_white(self._square(_plain(_upright(image)))))
        except FileNotFoundError:
            return Unreadable(f"{shortened(path, width=200)} does not exist")
        except Exception as error:  # decoders fail on foreign bytes in every way there is
            return Unreadable(f"{shortened(path, width=200)} cannot be read ({_reason(error)})")

    def _square(self, image: Image.Image) -> Image.Image:
        return ImageOps.fit(image, (self.side, self.side), _FILTERS.get(self.interpolation, Image.Resampling.BICUBIC))

    def batch(
        self, rows: Sequence[np.ndarray], *, augment: float = 0.0, generator: torch.Generator | None = None
    ) -> State:
        """``"x"``: ``[batch, 3, side, side] float32``, normalized, augmented when `augment` is above 0."""
        import torch

        from autotl_timm.augmentation import augmented

        stacked = torch.from_numpy(np.stack(rows))
        if self.mirrored and not augment:
            stacked = stacked.flip(2)
        batch, height, width, channels = stacked.shape
        # a row of pixels is one dimension here: with three channels as the innermost, nothing would be vectorized
        pixels = stacked.view(batch, height, width * channels).float()
        if augment > 0:
            pixels = pixels.div_(255.0).view(batch, height, width, channels).permute(0, 3, 1, 2)
            pixels = augmented(pixels, augment, generator).permute(0, 2, 3, 1).reshape(batch, height, -1)
        std, mean = torch.tensor(self.std), torch.tensor(self.mean)
        unit = 1.0 if augment > 0 else 255.0
        pixels = pixels.mul_((1.0 / (unit * std)).repeat(width)).sub_((mean / std).repeat(width))
        return {"x": pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)}

    def views(self) -> Sequence[ImageEncoder]:
        """The mirrored one: training mirrors too."""
        return [] if self.mirrored else [replace(self, mirrored=True)]


@functools.cache
def _formats() -> list[str]:
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


def _plain(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where there is transparency; more than 8 bits scaled to 8."""
    if image.mode == "F":
        values = np.nan_to_num(np.array(image), copy=False, posinf=0.0, neginf=0.0)
        return Image.fromarray(_in_8_bits(values, (1.0, 255.0, 65535.0)))
    if image.mode.startswith("I"):
        return Image.fromarray(_in_8_bits(np.array(image, np.float32), (255.0, 65535.0)))
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def _in_8_bits(values: np.ndarray, usual: Sequence[float]) -> np.ndarray:
    """``uint8`` from float32, which is overwritten: white is the first of the `usual` values that none exceeds, or else
    the largest value; what is below 0 is black.
    """
    largest = float(values.max())
    values *= 255 / next((white for white in usual if largest <= white), largest)
    return values.clip(0, 255, out=values).astype(np.uint8)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _reason(error: Exception) -> str:
    text = (isinstance(error, OSError) and error.strerror) or str(error)
    if "cannot identify" in text:
        return "not an image of a known format"
    return text.splitlines()[0] if text else type(error).__name__


def native_side(cells: Sequence[Any], largest: int) -> int:
    """The side to work at: the sample's median short side in steps of 32, at most what the network was made for.

    Enlarging images costs with the square of the side and brings nothing: on photographs of 128 pixels, ridge heads
    on two networks gained less than a point from 224.
    """
    sides = []
    for cell in cells[:64]:
        try:
            with Image.open(str(cell), formats=_formats()) as image:
                sides.append(min(image.size))
        except Exception:  # decoders fail in every way; `encode` names the file that cannot be read
            continue
    median = statistics.median(sides) if sides else largest
    return int(min(max(round(median / 32) * 32, SMALLEST_SIDE), largest))
