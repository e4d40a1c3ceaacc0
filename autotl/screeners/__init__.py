"""The core's own second opinions on frozen features, brought in by the same hook as anyone's."""

from __future__ import annotations

from collections.abc import Sequence

from autotl.plugins.contracts import Screener
from autotl.plugins.hookspecs import PluginContext, hookimpl
from autotl.screeners.evidence import Evidence
from autotl.screeners.neighbours import Neighbours


@hookimpl
def autotl_screeners(context: PluginContext) -> Sequence[Screener]:
    return [Neighbours(), Evidence()]
