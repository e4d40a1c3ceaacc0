"""The same networks for several images of a row, such as front and side of a product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autotl.plugins.contracts import Candidate, InputEncoder, Modality, ZooContext
from autotl_timm.family import TimmFamily, saved_network

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone
    from autotl_timm.images import ImageEncoder


def several_width(features: int, images: int) -> int:
    """Features of a row: those of each image, and by how much they differ."""
    return (images + 1) * features


class SeveralImagesFamily(TimmFamily):
    """Every image of a row passes through the same network; the candidates are those of one image."""

    name = "timm-several"
    modality: Modality = "images"

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        """Those of one image, with more features; for two images where no table says how many there are."""
        images = max(context.columns, 2)
        return [
            replace(
                candidate,
                family=self.name,
                modality=self.modality,
                columns=images,
                width=several_width(candidate.width, images),
            )
            for candidate in super().candidates(context)
        ]

    def restore(self, folder: Path) -> tuple[Backbone, InputEncoder]:
        """As of one image; how many a row has is saved with how they are read."""
        from autotl_timm.images import SeveralImagesEncoder

        (network, arguments), encoder = saved_network(folder), SeveralImagesEncoder.restore(folder)
        return self._in_stages(network, arguments, images=encoder.images), encoder

    def _reading(self, candidate: Candidate, **settings: Any) -> ImageEncoder:
        from autotl_timm.images import SeveralImagesEncoder

        return SeveralImagesEncoder(**settings, images=candidate.columns)

    def _in_stages(self, network: Any, arguments: dict[str, Any], *, images: int) -> Backbone:
        from autotl_timm.stages import SeveralImages

        return cast("Backbone", SeveralImages(network, model_args=arguments, images=images).eval())
