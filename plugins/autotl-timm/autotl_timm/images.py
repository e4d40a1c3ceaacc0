"""Image files to uint8 squares once, and squares to normalized batches at every step."""

from __future__ import annotations

import functools
import hashlib
import json
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from autotl.data.wording import shortened
from autotl.plugins.contracts import Unreadable
from autotl.untrusted import read_object
from autotl_timm.preprocess import READERS, SETTINGS, is_row, read_square, readable_formats

if TYPE_CHECKING:
    import torch

    from autotl.plugins.contracts import State

#: Below this side pretrained networks lose most of what they know; larger sides cost with their square.
SMALLEST_SIDE = 128

#: Pictures that say how large and of what shape all are.
SAMPLED = 64

#: Length over width up to which the middle square is taken: of a page of A4 or Letter it would leave out the heading
#: and the signature, of a bottle of 1 to 3 two thirds. Squeezing them into a square keeps all, as BiT and VTAB do with
#: any (Kolesnikov et al. 2020); to photographs of 4 to 3 it made no difference (a head on MobileNetV2-1.0, 0.733 of
#: 800 flowers either way; half frozen, seven passes, three draws, 0.779, 0.756, 0.784 squeezed and 0.781, 0.751, 0.780
#: cut), and what is to be counted in them may be at their ends.
LONGEST_TO_CUT = 1.2

#: No network of timm was made for more; what a file of settings claims beyond would only cost memory.
LARGEST_SIDE = 1024


@dataclass(frozen=True)
class ImageEncoder:
    """Reads images into ``[side, side, 3] uint8``: short side to `side`, then the middle square; or squeezed into it.

    The usual tighter crop is left out: the arrays serve training as well, and it would throw labelled pixels away.
    """

    side: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mirrored: bool = False  #: whether batches that are not augmented are
    mirrors: bool = True  #: whether those that are augmented may be, and there is a mirrored view
    white: float = 0.0  #: in pictures of more than 8 bits; 0: each has its own
    squeezed: bool = False  #: whether the whole picture becomes a square, whatever its shape

    def __post_init__(self) -> None:
        if not 1 <= self.side <= LARGEST_SIDE or len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"images of {self.side} pixels: 1 to {LARGEST_SIDE}, and three channels, can be read")

    @property
    def fingerprint(self) -> str:
        """Of what decides the arrays; mean and deviation act on batches, so backbones can share arrays."""
        return hashlib.sha256(f"image 6 {self._deciding}".encode()).hexdigest()[:16]

    @property
    def _deciding(self) -> str:
        return f"{self.side} {self.interpolation} {self.white}{' squeezed' * self.squeezed}"

    @property
    def longest(self) -> None:
        """Images are scaled, not cut."""
        return None

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """``[side, side, 3] uint8`` for each path."""
        return [self._read(str(cell)) for cell in cells]

    def _read(self, path: str) -> np.ndarray | Unreadable:
        square = read_square(path, self.side, self.interpolation, self.white, squeezed=self.squeezed)
        return Unreadable(f"{shortened(path, width=200)} {square}") if isinstance(square, str) else square

    def batch(
        self, rows: Sequence[np.ndarray], *, augment: float = 0.0, generator: torch.Generator | None = None
    ) -> State:
        """``"x"``: ``[batch, 3, side, side] float32``, normalized, augmented when `augment` is above 0."""
        import torch

        return self.batch_on(torch.device("cpu"), rows, augment=augment, generator=generator)

    def batch_on(
        self,
        device: torch.device,
        rows: Sequence[np.ndarray],
        *,
        augment: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> State:
        """The same on a device, to which the bytes travel: a quarter of what the numbers weigh."""
        return {"x": self._normalized(device, rows, augment, generator)}

    def _normalized(
        self,
        device: torch.device,
        squares: Sequence[np.ndarray],
        augment: float,
        generator: torch.Generator | None,
        *,
        together: int = 1,
    ) -> torch.Tensor:
        """``[squares, 3, side, side] float32``, channels last in memory. together: as `augmented` has it."""
        import torch

        from autotl_timm.augmentation import augmented

        stacked = torch.from_numpy(np.stack(squares)).to(device)
        if self.mirrored and not augment:
            stacked = stacked.flip(2)
        batch, height, width, channels = stacked.shape
        # a row of pixels is one dimension here: with three channels as the innermost, nothing would be vectorized
        pixels = stacked.view(batch, height, width * channels).float()
        if augment > 0:
            pixels = pixels.div_(255.0).view(batch, height, width, channels).permute(0, 3, 1, 2)
            pixels = (
                augmented(pixels, augment, generator, mirror=self.mirrors, together=together)
                .permute(0, 2, 3, 1)
                .reshape(batch, height, -1)
            )
        std, mean = torch.tensor(self.std, device=device), torch.tensor(self.mean, device=device)
        unit = 1.0 if augment > 0 else 255.0
        pixels = pixels.mul_((1.0 / (unit * std)).repeat(width)).sub_((mean / std).repeat(width))
        return pixels.view(batch, height, width, channels).permute(0, 3, 1, 2)

    def views(self) -> Sequence[ImageEncoder]:
        """The mirrored one: training mirrors too."""
        return [replace(self, mirrored=True)] if self.mirrors and not self.mirrored else []

    def without_views(self) -> ImageEncoder:
        """Mirrors nothing."""
        return replace(self, mirrors=False)

    def save(self, folder: Path) -> None:
        """Writes the settings, which `restore` reads, and `autotl_timm.preprocess.Inputs` where there is no AutoTL."""
        (folder / SETTINGS).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def restore(cls, folder: Path) -> Self:
        """What `save` wrote."""
        settings = read_object(folder / SETTINGS)
        return cls(**settings | {"mean": tuple(settings["mean"]), "std": tuple(settings["std"])})

    def write_portable(self, folder: Path) -> Sequence[str]:
        """The settings, and a copy of `preprocess.py`, which needs Pillow and numpy."""
        self.save(folder)
        code = files("autotl_timm").joinpath("preprocess.py").read_text(encoding="utf-8")
        (folder / "preprocess.py").write_text(code, encoding="utf-8")
        return ["numpy", "pillow"]


@dataclass(frozen=True)
class SeveralImagesEncoder(ImageEncoder):
    """Reads the images of a row into ``[images, side, side, 3] uint8``, each as `ImageEncoder` reads one.

    In a batch they stand one below the other: ``[batch, 3, images * side, side]``.
    """

    images: int = field(kw_only=True)  #: of a row

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images < 1:
            raise ValueError(f"rows of {self.images} images cannot be read")

    @property
    def fingerprint(self) -> str:
        """As of one image, with their number."""
        return hashlib.sha256(f"images 4 {self.images} {self._deciding}".encode()).hexdigest()[:16]

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """``[images, side, side, 3] uint8`` for each tuple of paths; unreadable where one of them is."""
        return [self._read_row(cell) for cell in cells]

    def _read_row(self, cell: Any) -> np.ndarray | Unreadable:
        if not is_row(cell, self.images):
            return Unreadable(f"not {self.images} images")
        squares: list[np.ndarray] = []
        for path in cell:
            square = self._read(str(path))
            if isinstance(square, Unreadable):
                return square
            squares.append(square)
        return np.stack(squares)

    def batch_on(
        self,
        device: torch.device,
        rows: Sequence[np.ndarray],
        *,
        augment: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> State:
        """``"x"``: ``[batch, 3, images * side, side] float32``, each image augmented by itself.

        All images of a row are mirrored or none is: what is left in one stays beside what is left in the other.
        """
        squares = [square for row in rows for square in row]
        x = self._normalized(device, squares, augment, generator, together=self.images)
        return {"x": x.unflatten(0, (len(rows), -1)).transpose(1, 2).flatten(2, 3)}


def native_side(cells: Sequence[Any], largest: int, *, smallest: int = SMALLEST_SIDE) -> int:
    """The side to work at: the sample's median short side in steps of 32, at most what the network was made for.

    Or half the long side, where that is more: what is 430 long and 128 high, as spectrograms are, is squeezed by half.

    smallest: that the network takes.

    Enlarging images costs with the square of the side and brings nothing: on photographs of 128 pixels, ridge heads
    on two networks gained less than a point from 224.
    """
    median = statistics.median([max(min(size), max(size) / 2) for size in _sizes(_sample(cells))] or [largest])
    return int(min(max(round(median / 32) * 32, SMALLEST_SIDE, smallest), largest))


def are_long(cells: Sequence[Any]) -> bool:
    """Whether most of the sample's pictures are so long that what matters may lie outside the middle square."""
    return statistics.median([max(size) / min(size) for size in _sizes(_sample(cells))] or [1.0]) > LONGEST_TO_CUT


def _sample(cells: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(cells[:SAMPLED])


@functools.lru_cache(maxsize=1)  # every backbone of a search asks of the same table, and twice
def _sizes(cells: tuple[Any, ...]) -> list[tuple[int, int]]:
    """Width and height of those that can be read."""
    with ThreadPoolExecutor(READERS) as pool:
        return [size for size in pool.map(_size, cells) if size]


def _size(cell: Any) -> tuple[int, int] | None:
    try:
        with Image.open(str(cell), formats=readable_formats()) as image:
            return image.size
    except Exception:  # decoders fail in every way; `encode` names the file that cannot be read
        return None
