"""The hooks. Nothing here imports torch: AutoTL asks every plugin what it has whenever it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import autotl

if TYPE_CHECKING:
    from autotl.plugins.contracts import ModelFamily
    from autotl.plugins.hookspecs import PluginContext


@autotl.hookimpl
def autotl_model_families(context: PluginContext) -> Sequence[ModelFamily]:
    from .family import Family

    return [Family()]
