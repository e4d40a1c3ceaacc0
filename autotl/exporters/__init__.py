"""Answers in forms that other programs use, checked against the bundle they come from.

The core's own exporters are brought in by the same hook as anyone's.
"""

from __future__ import annotations

from collections.abc import Sequence

from autotl.exporters.torch_program import TorchExporter
from autotl.plugins.contracts import Exporter
from autotl.plugins.hookspecs import PluginContext, hookimpl


@hookimpl
def autotl_exporters(context: PluginContext) -> Sequence[Exporter]:
    return [TorchExporter()]
