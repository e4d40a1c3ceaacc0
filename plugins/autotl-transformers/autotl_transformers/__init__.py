"""Text backbones from transformers, as an AutoTL plugin. Importing this imports neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autotl.plugins.hookspecs import PluginContext, hookimpl

if TYPE_CHECKING:
    from autotl.plugins.contracts import Exporter, ModelFamily


@hookimpl
def autotl_model_families(context: PluginContext) -> Sequence[ModelFamily]:
    """The one family of this package."""
    from autotl_transformers.family import TransformersFamily

    return [TransformersFamily()]


@hookimpl
def autotl_exporters(context: PluginContext) -> Sequence[Exporter]:
    """A folder in the layout of this library."""
    from autotl_transformers.exporter import HuggingFaceExporter

    return [HuggingFaceExporter()]
