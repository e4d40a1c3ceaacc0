"""The core's own strategies, brought in by the same hook as anyone's."""

from __future__ import annotations

from collections.abc import Sequence

from autotl.plugins.contracts import Strategy
from autotl.plugins.hookspecs import PluginContext, hookimpl
from autotl.strategies.contrastive import Contrastive
from autotl.strategies.finetune import Finetune
from autotl.strategies.gradual import Gradual
from autotl.strategies.norm_bias import NormBias
from autotl.strategies.probe import Probe
from autotl.strategies.scratch import Scratch
from autotl.strategies.surgical import Surgical


@hookimpl
def autotl_strategies(context: PluginContext) -> Sequence[Strategy]:
    return [Finetune(), Probe(), Contrastive(), NormBias(), Gradual(), Surgical(), Scratch()]
