"""timm's image networks as a family of AutoTL."""

from __future__ import annotations

from collections.abc import Sequence

import autotl
from autotl.plugins.contracts import Exporter, ModelFamily
from autotl.plugins.hookspecs import PluginContext
from autotl_timm.exporter import TimmExporter
from autotl_timm.family import TimmFamily
from autotl_timm.several import SeveralImagesFamily


@autotl.hookimpl
def autotl_model_families(context: PluginContext) -> Sequence[ModelFamily]:
    return [TimmFamily(), SeveralImagesFamily()]


@autotl.hookimpl
def autotl_exporters(context: PluginContext) -> Sequence[Exporter]:
    return [TimmExporter()]
