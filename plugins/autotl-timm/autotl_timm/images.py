"""Image files to uint8 squares once, and squares to normalized batches at every step."""

from __future__ import annotations

import hashlib
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

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
        return hashlib.sha256(f"image 1 {self.side} {self.interpolation}".encode()).hexdigest()[:16]

    @property
    def longest(self) -> None:
        """Images are scaled, not cut."""
        return None

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """``[side, side, 3] uint8`` for each path."""
        return [self._read(str(cell)) for cell in cells]

    def _read(self, path: str) -> np.ndarray | Unreadable:
        try:
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    return Unreadable(f"{path} has {image.width}x{image.height} pixels, too many")
                image.draft("RGB", (self.side, self.side))  # large JPEGs decode at an eighth of the work
                return self._square(_to_rgb(ImageOps.exif_transpose(image)))
        except FileNotFoundError:
            return Unreadable(f"{path} does not exist")
        except Exception as error:  # decoders fail on foreign bytes in every way there is
            return Unreadable(f"{path} cannot be read ({_reason(error)})")

    def _square(self, image: Image.Image) -> np.ndarray:
        fitted = ImageOps.fit(image, (self.side, self.side), _FILTERS.get(self.interpolation, Image.Resampling.BICUBIC))
        return np.asarray(fitted)

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


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB; transparency on white, 16 bits scaled to 8."""
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        values = np.asarray(image, np.float32)
        top = 65535.0 if values.max() > 255 else 255.0
        return Image.fromarray((values / top * 255).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    if "cannot identify" in text:
        return "not an image that Pillow knows"
    return text or type(error).__name__


def native_side(cells: Sequence[Any], largest: int) -> int:
    """The side to work at: the sample's median short side in steps of 32, at most what the network was made for.

    Enlarging images costs with the square of the side and brings nothing: on photographs of 128 pixels, ridge heads
    on two networks gained less than a point from 224.
    """
    sides = []
    for cell in cells[:64]:
        try:
            with Image.open(str(cell)) as image:
                sides.append(min(image.size))
        except Exception:  # decoders fail in every way; `encode` names the file that cannot be read
            continue
    median = statistics.median(sides) if sides else largest
    return int(min(max(round(median / 32) * 32, SMALLEST_SIDE), largest))
