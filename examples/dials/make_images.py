"""Draws this example's pictures and tables: ``python make_images.py`` writes ``dials/``, the same every time.

A dial has a scale, a pointer, and a number to be read off: 0 at the lower left, 100 at the lower right.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

#: Pictures to learn from and to test on, and the pixels of a side.
TRAIN, TEST, SIDE = 600, 200, 128

#: Degrees of the scale: three quarters of a circle.
SPAN = 270.0


def draw(reading: float, random: np.random.Generator) -> Image.Image:
    """A dial that shows `reading`, somewhere in the picture, a little turned, on noise."""
    noise = random.integers(40, 215, (SIDE // 8, SIDE // 8, 3), np.uint8)
    picture = Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    canvas = ImageDraw.Draw(picture)
    radius = random.uniform(0.3, 0.45) * SIDE
    x, y = random.uniform(radius, SIDE - radius, 2)
    face, ink = random.integers(200, 256, 3), random.integers(0, 80, 3)
    canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(face.tolist()))
    turned = random.normal(0, 3)

    def at(share: float, part: float) -> tuple[float, float]:
        angle = math.radians(135 + turned + SPAN * share)
        return x + part * radius * math.cos(angle), y + part * radius * math.sin(angle)

    for tick in range(11):
        canvas.line((at(tick / 10, 0.8), at(tick / 10, 0.95)), fill=tuple(ink.tolist()), width=2)
    pointer = tuple(random.integers(0, 256, 3).tolist())
    canvas.line(((x, y), at(reading / 100, 0.75)), fill=pointer, width=int(random.integers(3, 6)))
    canvas.ellipse((x - 4, y - 4, x + 4, y + 4), fill=tuple(ink.tolist()))
    return picture.filter(ImageFilter.GaussianBlur(random.uniform(0, 1)))


def main() -> None:
    random, folder = np.random.default_rng(0), Path("dials")
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, count in (("train", TRAIN), ("test", TEST)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["image", "reading"])
            for number in range(count):
                reading = round(float(random.uniform(0, 100)), 1)
                path = f"images/{name}-{number}.png"
                draw(reading, random).save(folder / path)
                writer.writerow([path, reading])


if __name__ == "__main__":
    main()
