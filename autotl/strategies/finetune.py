"""Fine-tuning from the probe's head, with the lower stages frozen or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotl.plugins.contracts import (
    TEXTUAL,
    Choice,
    Parameter,
    Progress,
    Recipe,
    Strategy,
    StrategyContext,
    Value,
    Work,
)
from autotl.strategies import tuning

if TYPE_CHECKING:
    from autotl.training.trial import Trial

#: From none to BEiT's, the strongest in common use.
LAYER_DECAYS = (0.65, 0.8, 0.9, 1.0)

FROZEN = (0.0, 0.25, 0.5, 0.75, 1.0)

#: Half frozen, a step costs half, and twice as many do more before images: MobileNetV2-1.0 on 2400 photographs had 0.80
#: of the test rows right, half frozen, and 0.78 in the same time with nothing frozen. Texts are better off with all of
#: the network, or no worse (benchmarks/NOTES.md has the figures).
LONGER = 2.0


def _nearest(recipe: Recipe) -> float:
    """The layer decay of the recipe, as far as it is one of ours."""
    return min(LAYER_DECAYS, key=lambda decay: abs(decay - recipe.layer_decay))


class Finetune(Strategy):
    """AdamW on the stages above the freeze depth, the head started from the linear probe (LP-FT).

    Starting at the probe keeps the first steps from tearing the features apart (Kumar et al. 2022), given rows enough.
    """

    name = "finetune"
    regularized = True
    weight = 1.0

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        """Five or six, and the regularizers that are on, which most are not: some ten trials tell few more apart."""
        usual_decay = _nearest(context.candidate.recipe)
        # pictures: the deeper the more rows there are to train on (VTAB-1k: full fine-tuning loses to part of it below
        # 1000); texts: as `LONGER` has it, of few rows too
        weights = (3, 1, 3, 2, 1) if context.rows >= 1000 else (1, 1, 3, 3, 2)
        if context.candidate.modality in TEXTUAL:
            weights = (5, 1, 3, 1, 1)
        depth = [
            Choice("frozen_fraction", FROZEN, weights),
            Choice("layer_decay", LAYER_DECAYS, tuple(3.0 if decay == usual_decay else 1.0 for decay in LAYER_DECAYS)),
        ]
        if context.stages == 1:  # which has no lower half, and no layers that its family tells apart
            depth = [Choice("frozen_fraction", (0.0,)), Choice("layer_decay", (1.0,))]
        return [
            *depth,
            Choice("schedule", ("constant-cooldown", "cosine", "linear", "one-cycle")),
            *tuning.parameters(context),
        ]

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        """The published recipe and the same with the lower half frozen, which are of equal length and unlike enough
        for a mixture, the better one first; then that with twice the rate, and with half the rate and twice the passes.
        """
        whole: dict[str, Value] = {
            "frozen_fraction": 0.0,
            "layer_decay": 1.0 if context.stages == 1 else _nearest(context.candidate.recipe),
            "schedule": "constant-cooldown",
            **tuning.usual(context),
        }
        half = whole | {"frozen_fraction": 0.5, "epochs_multiplier": LONGER}
        first, other = (whole, half) if context.candidate.modality in TEXTUAL else (half, whole)
        if context.stages == 1:
            first, other = whole, whole | {"schedule": "cosine"}
        return [
            first,
            other,
            first | {"learning_rate_multiplier": 2.0},
            first | {"learning_rate_multiplier": 0.5, "epochs_multiplier": LONGER},
        ]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return tuning.work(context, settings, frozen_fraction=float(settings["frozen_fraction"]))

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.features.boundary import stage_at
        from autotl.training.loop import train
        from autotl.training.model import Classifier

        backbone = trial.load_backbone()
        trial.model = Classifier(backbone, trial.starting_head()).to(trial.device)
        plan = replace(
            tuning.plan(trial),
            layer_decay=trial.settings.number("layer_decay"),
            schedule=trial.settings.word("schedule"),
            frozen_stages=stage_at(trial.settings.number("frozen_fraction"), backbone),
        )
        yield from train(trial.model, trial, plan)
