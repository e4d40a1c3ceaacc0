"""Images of the table, small enough that a page can hold them."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autotl.data.paths import obstacle

if TYPE_CHECKING:
    from PIL import Image

#: Pixels of the longer side: what a person needs to see what it shows.
SIDE = 160

#: Some 6 kB an image; a page holds a few dozen.
QUALITY = 75

#: Pixels of an image that is opened at all: more takes seconds to shrink, and may be meant to take all memory.
MOST_PIXELS = 30_000_000

#: Others are not opened: some are programs that a converter would run.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def data_uri(path: str) -> str | None:
    """A JPEG inlined; None for what is no image, or too large a one. It holds nothing but pixels."""
    from PIL import Image, ImageOps

    if obstacle(path):  # a pipe would never end
        return None
    try:
        with warnings.catch_warnings(), Image.open(Path(path), formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # of metadata that are not used
            if image.width * image.height > MOST_PIXELS:
                return None
            image.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at an eighth of its size where that is enough
            shown = _visible(ImageOps.exif_transpose(image))
            shown.thumbnail((SIDE, SIDE))
            shown.info.clear()  # a comment would be written too
            out = io.BytesIO()
            shown.save(out, "JPEG", quality=QUALITY)
    except Exception:  # a file that is no image fails in as many ways as there are formats
        return None
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _visible(image: Image.Image) -> Image.Image:
    """RGB: on white where there is transparency, and from the darkest to the brightest where pixels have 16 bits."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
        values -= values.min()
        return Image.fromarray((values * (255 / max(float(values.max()), 1e-6))).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    return image.convert("RGB")
