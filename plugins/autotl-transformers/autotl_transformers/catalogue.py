"""What is known of published encoders by name, and a guess for the others."""

from __future__ import annotations

import functools
import math
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from autotl.plugins.contracts import Recipe

if TYPE_CHECKING:
    from autotl_transformers.stages import Pooling

#: Up to this width the larger rate is used: small networks want larger steps (ELECTRA was published with
#: 3e-4 for small and 1e-4 for base).
NARROW = 384


@dataclass(frozen=True)
class Entry:
    """One published encoder; see the head of ``catalogue.toml`` for what the figures mean."""

    name: str
    parameters: int
    width: int
    layers: int
    input_size: int
    licence: str
    prior: float
    recipe: Recipe
    pooling: Pooling = "mean"  #: that it was trained with, where it was trained as an encoder of sentences
    language: str = "en"  #: empty for several
    pickled: bool = False  #: whether the hub has its weights as a pickle only, which is never read


@functools.cache
def catalogue() -> tuple[Entry, ...]:
    """The curated encoders, in the order of the file."""
    text = files("autotl_transformers").joinpath("catalogue.toml").read_text(encoding="utf-8")
    return tuple(_entry(table) for table in tomllib.loads(text)["model"])


def _entry(table: dict[str, Any]) -> Entry:
    return Entry(**(table | {"recipe": default_recipe(table["width"], **table["recipe"])}))


def known(name: str, *, width: int, layers: int) -> Entry | None:
    """The entry whose name ends like `name` and that has this shape; a cut model is not the one it is named after."""
    for entry in catalogue():
        if last_part(entry.name) == last_part(name) and (entry.width, entry.layers) == (width, layers):
            return entry
    return None


def last_part(name: str) -> str:
    """``all-MiniLM-L6-v2`` of ``sentence-transformers/all-MiniLM-L6-v2``."""
    return name.rpartition("/")[2]


def default_recipe(width: int, *, learning_rate: float | None = None, layer_decay: float = 0.9) -> Recipe:
    """How encoders of BERT's kind are fine-tuned.

    3e-5 at batch 32 is the middle of what BERT's paper tried; the larger rate of narrow ones is a judgement.
    The layer decay is the one common for BERT (0.8 to 0.95 in the literature).
    """
    if learning_rate is None:
        learning_rate = 1e-4 if width <= NARROW else 3e-5
    return Recipe(learning_rate=learning_rate, layer_decay=layer_decay, weight_decay=0.01, batch_size=32, epochs=5.0)


def default_prior(parameters: int) -> float:
    """0 to 1 for an encoder that nobody here knows: larger is better, 0.25 a decade above 10**5.5 parameters.

    That puts 23 M at 0.46 and 110 M at 0.64, below well-known encoders of the same size.
    """
    return min(max(0.25 * (math.log10(max(parameters, 1)) - 5.5), 0.0), 1.0)
