"""Transfer by architecture: the same network with new weights, to measure whether pretrained ones help at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Parameter, Progress, Real, Strategy, StrategyContext, Value, Work

if TYPE_CHECKING:
    from autotl.training.trial import Trial

#: New weights want larger steps than pretrained ones: AdamW from scratch is run at 1e-3 where fine-tuning has 1e-4 to
#: 3e-4 (timm's and BERT's published recipes), and no faster.
RATE, FASTEST = 5.0, 1e-3

#: Strength of augmentation where the family knows it: without pretraining everything has to come from these rows.
AUGMENT = 0.6


class Scratch(Strategy):
    """AdamW on all stages from new weights, for as many passes as the published recipe fine-tunes.

    Applies only where it has to be measured that transfer helps (`StrategyContext.doubtful`). Where source and target
    differ greatly it can win: of VTAB's tasks with a thousand rows three did as well without pretraining.
    """

    name = "scratch"
    regularized = True
    weight = 1.0
    pretrained = False

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        return [Real("learning_rate_multiplier", 0.1, 10.0, log=True, usual=1.0)] if context.doubtful else []

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        return [{"learning_rate_multiplier": 1.0}]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        augment = AUGMENT if context.augments else 0.0
        return Work(passes=context.candidate.recipe.passes(context.rows), augment=augment)

    def fit(self, trial: Trial) -> Iterator[Progress]:
        import torch

        from autotl.features.heads import LinearHead
        from autotl.training.loop import Plan, train
        from autotl.training.model import Classifier

        frozen, recipe = trial.frozen, trial.frozen.candidate.recipe
        torch.manual_seed(trial.seed)
        backbone = trial.load_backbone(pretrained=False)
        head = LinearHead.zeros(backbone.width, trial.outputs)
        trial.model = Classifier(backbone, head).to(trial.device)
        plan = Plan(
            epochs=recipe.passes(len(trial.train)),
            batch_size=recipe.batch_size,
            learning_rate=min(RATE * recipe.learning_rate, FASTEST) * trial.settings.number("learning_rate_multiplier"),
            layer_decay=1.0,
            weight_decay=recipe.weight_decay,
            schedule="constant-cooldown",
            frozen_stages=0,
            augment=AUGMENT if frozen.family.augments else 0.0,
            pretrained=False,
        )
        yield from train(trial.model, trial, plan)
