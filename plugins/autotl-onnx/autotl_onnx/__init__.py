"""ONNX exports of AutoTL's answers. Importing this imports neither torch nor onnx."""

from __future__ import annotations

from collections.abc import Sequence

import autotl
from autotl.plugins.contracts import Exporter
from autotl.plugins.hookspecs import PluginContext


@autotl.hookimpl
def autotl_exporters(context: PluginContext) -> Sequence[Exporter]:
    from autotl_onnx.exporters import OnnxExporter, SmallOnnxExporter

    return [OnnxExporter(), SmallOnnxExporter()]
