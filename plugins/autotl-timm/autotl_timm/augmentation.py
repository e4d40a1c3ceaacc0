"""Augmentation of whole batches: one affine warp and three colour factors, a few milliseconds for 32 images."""

from __future__ import annotations

import torch

#: At full strength a crop keeps at least this share of the area; timm's recipes for small data use 0.3 to 0.6.
SMALLEST_CROP = 0.35

#: At full strength the crop's aspect ratio changes by up to this factor, as in Inception's crops (3/4 to 4/3).
ASPECT = 4 / 3

#: At full strength brightness, contrast and saturation change by up to this share, as in timm's colour jitter.
COLOUR = 0.4


def augmented(
    pixels: torch.Tensor,
    strength: float,
    generator: torch.Generator | None,
    *,
    mirror: bool = True,
    together: int = 1,
) -> torch.Tensor:
    """Mirrored, cropped and recoloured images: ``[batch, 3, side, side] float32``, values 0 to 1.

    strength: above 0, up to 1. mirror: whether half of them are mirrored. together: so many that follow each other, the
    images of a row, are all mirrored or none is; all else happens to each by itself. All randomness comes from
    `generator`, which is of the CPU wherever the pixels are.
    """
    batch = len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(batch, generator=generator) * (high - low) + low

    area = uniform(1.0 - (1.0 - SMALLEST_CROP) * strength, 1.0)
    aspect = ASPECT ** uniform(-strength, strength)
    width, height = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    tossed = uniform(0.0, 1.0)[::together].repeat_interleave(together)
    side = torch.where(tossed < (0.5 if mirror else 0.0), -1.0, 1.0)
    warp = torch.zeros(batch, 2, 3)
    warp[:, 0, 0], warp[:, 0, 2] = width * side, uniform(-1.0, 1.0) * (1.0 - width)
    warp[:, 1, 1], warp[:, 1, 2] = height, uniform(-1.0, 1.0) * (1.0 - height)
    grid = torch.nn.functional.affine_grid(warp.to(pixels.device), list(pixels.shape), align_corners=False)
    pixels = torch.nn.functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)

    change = COLOUR * strength
    factors = torch.stack([uniform(1.0 - change, 1.0 + change) for _ in range(3)]).to(pixels.device)
    brightness, contrast, saturation = factors.view(3, -1, 1, 1, 1)
    pixels = pixels * brightness
    pixels = torch.lerp(pixels.mean((1, 2, 3), keepdim=True), pixels, contrast)
    pixels = torch.lerp(pixels.mean(1, keepdim=True), pixels, saturation)
    return pixels.clamp_(0.0, 1.0)
