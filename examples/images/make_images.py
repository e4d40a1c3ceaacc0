"""Draws this example's pictures: ``python make_images.py`` writes ``shapes/CLASS/NUMBER.png``, the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = {"circle": 0, "square": 4, "triangle": 3}

#: Pictures a class, and the pixels of a side.
EACH, SIDE = 60, 96


def draw(corners: int, random: np.random.Generator) -> Image.Image:
    """One shape with so many corners, 0 for a circle, on noise."""
    noise = random.integers(60, 190, (SIDE // 4, SIDE // 4, 3), np.uint8)
    picture = Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    radius = random.uniform(0.15, 0.3) * SIDE
    x, y = random.uniform(radius, SIDE - radius, 2)
    colour = tuple(int(value) for value in random.integers(0, 256, 3))
    canvas = ImageDraw.Draw(picture)
    if corners:
        canvas.regular_polygon((x, y, radius), corners, rotation=int(random.integers(360)), fill=colour)
    else:
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture


def main() -> None:
    random = np.random.default_rng(0)
    for name, corners in CLASSES.items():
        folder = Path("shapes") / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(EACH):
            draw(corners, random).save(folder / f"{number}.png")


if __name__ == "__main__":
    main()
