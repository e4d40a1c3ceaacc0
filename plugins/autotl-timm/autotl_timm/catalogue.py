"""What is known of published networks by name, and a guess for the others."""

from __future__ import annotations

import functools
import math
import tomllib
from dataclasses import dataclass
from importlib.resources import files

from autotl.plugins.contracts import Recipe

#: Architectures whose names begin so are fine-tuned like transformers. ConvNeXt's authors did so too: 5e-5 with a decay
#: of 0.8 for groups of three blocks (Liu et al. 2022).
LIKE_TRANSFORMERS = (
    "aimv2", "beit", "caformer", "cait", "coat", "convformer", "convit", "convnext", "crossvit", "davit", "deit", "eva",
    "flexivit", "focalnet", "gcvit", "hiera", "mambaout", "maxvit", "maxxvit", "mvitv2", "naflexvit", "pit_",
    "poolformer", "pvt_v2", "samvit", "swin", "tiny_vit", "tnt", "twins", "vit", "volo", "xcit",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One published network; see the head of ``catalogue.toml`` for what the figures mean."""

    name: str
    parameters: int
    width: int
    input_size: int
    licence: str
    prior: float


@functools.cache
def catalogue() -> dict[str, Entry]:
    """The curated networks by name."""
    text = files("autotl_timm").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {table["name"]: Entry(**table) for table in tomllib.loads(text)["model"]}


def recipe(architecture: str) -> Recipe:
    """How networks of this kind are fine-tuned with AdamW at batch 32.

    Transformers: 5e-5 with a decay of 0.8 a block, between DeiT's and BEiT's published settings. Convolutional
    networks take larger steps: 3e-4 and 1e-3 came out alike on MobileNetV2 with 2000 photographs (0.756 and 0.753
    after six epochs), 2e-3 fell to 0.68.
    """
    if architecture.startswith(LIKE_TRANSFORMERS):
        return Recipe(learning_rate=5e-5, layer_decay=0.8, weight_decay=0.05, batch_size=32, epochs=10.0)
    return Recipe(learning_rate=5e-4, layer_decay=1.0, weight_decay=0.02, batch_size=32, epochs=12.0)


def default_prior(parameters: int) -> float:
    """0 to 1 for a network that nobody here knows: larger is better, 0.25 a decade above 10**5 parameters.

    Over 8 datasets and 10 ImageNet networks the number of parameters ranked transfer as well as any score did
    (weighted tau 0.74).
    """
    return min(max(0.25 * (math.log10(max(parameters, 1)) - 5.0), 0.0), 1.0)
