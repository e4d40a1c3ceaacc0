"""The core's own regularizers, brought in by the same hook as anyone's."""

from __future__ import annotations

from collections.abc import Sequence

from autotl.plugins.contracts import Regularizer
from autotl.plugins.hookspecs import PluginContext, hookimpl
from autotl.regularizers.drop import Drop
from autotl.regularizers.huber import Huber
from autotl.regularizers.l2_sp import L2SP
from autotl.regularizers.label_smoothing import LabelSmoothing
from autotl.regularizers.logit_adjustment import LogitAdjustment
from autotl.regularizers.mixing import CutMix, Mixup
from autotl.regularizers.r_drop import RDrop
from autotl.regularizers.reinit_top import ReinitTop


@hookimpl
def autotl_regularizers(context: PluginContext) -> Sequence[Regularizer]:
    # L2-SP's after what draws weights anew, as it pulls to where these begin; R-Drop's and Huber's after what changes
    # the targets, with which they compare
    return [LabelSmoothing(), Drop(), ReinitTop(), L2SP(), Mixup(), CutMix(), RDrop(), LogitAdjustment(), Huber()]
