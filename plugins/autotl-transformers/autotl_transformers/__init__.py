"""Backbones for texts and pairs of texts from transformers, as an AutoTL plugin.

Importing this imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotl.plugins.hookspecs import PluginContext, hookimpl

if TYPE_CHECKING:
    from autotl.plugins.contracts import Exporter, ModelFamily


@hookimpl
def autotl_model_families(context: PluginContext) -> Sequence[ModelFamily]:
    """Of texts, and two of pairs: two towers first, whose features as published are the better start."""
    from autotl_transformers.family import TransformersFamily
    from autotl_transformers.pairs import CrossEncoderFamily, TwoTowersFamily

    return [TransformersFamily(), TwoTowersFamily(), CrossEncoderFamily()]


@hookimpl
def autotl_exporters(context: PluginContext) -> Sequence[Exporter]:
    """A folder in the layout of this library."""
    from autotl_transformers.exporter import HuggingFaceExporter

    return [HuggingFaceExporter()]
