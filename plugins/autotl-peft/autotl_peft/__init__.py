"""Parameter-efficient fine-tuning as strategies of AutoTL. Importing this imports neither torch nor peft."""

from __future__ import annotations

from collections.abc import Sequence

import autotl
from autotl.plugins.contracts import Strategy
from autotl.plugins.hookspecs import PluginContext
from autotl_peft.ia3 import IA3
from autotl_peft.lora import LoRA


@autotl.hookimpl
def autotl_strategies(context: PluginContext) -> Sequence[Strategy]:
    return [LoRA(), IA3()]
