"""Images of the table, small enough that a page can hold them."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path

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

    try:
        with warnings.catch_warnings(), Image.open(Path(path), formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # of metadata that are not used
            if image.width * image.height > MOST_PIXELS:
                return None
            image.draft("RGB", (SIDE, SIDE))  # a JPEG is decoded at an eighth of its size where that is enough
            upright = ImageOps.exif_transpose(image).convert("RGB")
            upright.thumbnail((SIDE, SIDE))
            upright.info.clear()  # a comment would be written too
            out = io.BytesIO()
            upright.save(out, "JPEG", quality=QUALITY)
    except Exception:  # a file that is no image fails in as many ways as there are formats
        return None
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")
