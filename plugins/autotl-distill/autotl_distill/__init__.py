"""Transfer by model: a small network learns from what a finished run answers."""

from __future__ import annotations

from collections.abc import Sequence

import autotl
from autotl.plugins.contracts import Command, Strategy
from autotl.plugins.hookspecs import PluginContext
from autotl_distill.command import DistillCommand
from autotl_distill.strategy import Distill


@autotl.hookimpl
def autotl_strategies(context: PluginContext) -> Sequence[Strategy]:
    return [Distill()]


@autotl.hookimpl
def autotl_commands(context: PluginContext) -> Sequence[Command]:
    return [DistillCommand()]
