"""Only norms and biases are trained: next to nothing to overfit with (BitFit, Ben Zaken et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Parameter, Progress, Real, StrategyContext, Value, Work
from autotl.strategies.finetune import recipe_passes

if TYPE_CHECKING:
    import torch

    from autotl.training.trial import Trial

#: A thousandth of the weights has to go a longer way: BitFit's rates are 5 to 20 times those of full fine-tuning.
RATE = 10.0


class NormBias:
    """AdamW on every parameter with one dimension, at all depths, from the linear probe's head.

    On a thousand rows it is as good as other ways to tune a few parameters, and makes other mistakes than full
    fine-tuning does, which a mixture is glad of (Mai et al. 2024).
    """

    name = "norm_bias"
    regularized = True
    weight = 0.3

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        chosen: list[Parameter] = [
            Real("learning_rate_multiplier", 0.1, 10.0, log=True, usual=1.0),
            Real("epochs_multiplier", 0.3, 2.0, log=True, usual=1.0),
        ]
        return [*chosen, Choice("augment", (0.0, 0.3, 0.6, 1.0))] if context.augments else chosen

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        usual: dict[str, Value] = {"learning_rate_multiplier": 1.0, "epochs_multiplier": 1.0}
        return [usual | {"augment": 0.3} if context.augments else usual]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return Work(
            passes=recipe_passes(context.candidate.recipe, context.rows) * float(settings["epochs_multiplier"]),
            method=self.name,
            augment=float(settings.get("augment", 0.0)),
        )

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.training.loop import Plan, train
        from autotl.training.model import Classifier

        settings, recipe = trial.settings, trial.frozen.candidate.recipe
        trial.model = Classifier(trial.load_backbone(), trial.starting_head()).to(trial.device)
        plan = Plan(
            epochs=recipe_passes(recipe, len(trial.train)) * settings.number("epochs_multiplier"),
            batch_size=recipe.batch_size,
            learning_rate=RATE * recipe.learning_rate * settings.number("learning_rate_multiplier"),
            layer_decay=1.0,
            weight_decay=0.0,
            schedule="constant-cooldown",
            frozen_stages=0,
            augment=settings.number("augment") if trial.frozen.family.augments else 0.0,
            method=self.name,
            trains=_is_norm_or_bias,
        )
        yield from train(trial.model, trial, plan)


def _is_norm_or_bias(stage: int, name: str, parameter: torch.nn.Parameter) -> bool:
    return parameter.ndim == 1
