"""Image files to normalized batches, on Pillow and numpy alone.

The family reads its images with this file, and an exported model ships a copy of it: it imports nothing of AutoTL.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

# What Pillow warns of is decided here by errors and sizes. Once for all: `catch_warnings` is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

#: Above this a file is taken for a decompression bomb: three times what a good camera makes, less than Pillow refuses.
MOST_PIXELS = 150_000_000

#: What `Inputs` reads.
SETTINGS = "preprocessing.json"

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Inputs:
    """How one network reads images, by the settings in a folder."""

    def __init__(self, folder: Path) -> None:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        self._side, self._interpolation = settings["side"], settings["interpolation"]
        self._mirrored = settings["mirrored"]
        self._mean, self._std = np.array(settings["mean"], np.float32), np.array(settings["std"], np.float32)

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | str]:
        """``[side, side, 3] uint8`` for each path; a reason where it cannot be read."""
        return [read_square(str(cell), self._side, self._interpolation) for cell in cells]

    def batch(self, rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """``"x"``: ``[batch, 3, side, side] float32``, normalized, mirrored where this is the mirrored view."""
        pixels = np.stack(rows)
        pixels = pixels[:, :, ::-1] if self._mirrored else pixels
        normalized = pixels * (1.0 / (255.0 * self._std)) - self._mean / self._std
        return {"x": np.ascontiguousarray(normalized.transpose(0, 3, 1, 2), np.float32)}


def read_square(path: str, side: int, interpolation: str) -> np.ndarray | str:
    """The middle square of an image at ``[side, side, 3] uint8``, or why it cannot be read."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                return f"{path} has {image.width}x{image.height} pixels, too many"
            image.draft("RGB", (side, side))  # large JPEGs decode at an eighth of the work
            upright = _to_rgb(ImageOps.exif_transpose(image))
            return np.asarray(
                ImageOps.fit(upright, (side, side), _FILTERS.get(interpolation, Image.Resampling.BICUBIC))
            )
    except FileNotFoundError:
        return f"{path} does not exist"
    except Exception as error:  # decoders fail on foreign bytes in every way there is
        return f"{path} cannot be read ({_reason(error)})"


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
