"""What strategies that train have in common: lengths, rates and augmentation around the published recipe.

Rates and lengths are multiples of it, so that they mean the same for every backbone and every strategy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Parameter, Real, StrategyContext, Value, Work

if TYPE_CHECKING:
    from autotl.training.loop import Plan
    from autotl.training.trial import Trial


def parameters(context: StrategyContext) -> Sequence[Parameter]:
    """Rate, length, and strength of augmentation where the family knows it."""
    chosen: list[Parameter] = [
        Real("learning_rate_multiplier", 0.1, 10.0, log=True, usual=1.0),
        Real("epochs_multiplier", 0.3, 2.0, log=True, usual=1.0),
    ]
    return [*chosen, Choice("augment", (0.0, 0.3, 0.6, 1.0))] if context.augments else chosen


def affords(context: StrategyContext) -> bool:
    """Whether the budget affords the recipe's passes."""
    return context.passes >= context.candidate.recipe.passes(context.rows)


def usual(context: StrategyContext) -> dict[str, Value]:
    """The recipe's values of `parameters`; short trainings want weaker augmentation."""
    values: dict[str, Value] = {"learning_rate_multiplier": 1.0, "epochs_multiplier": 1.0}
    return values | {"augment": 0.6 if affords(context) else 0.3} if context.augments else values


def work(
    context: StrategyContext, settings: Mapping[str, Value], *, frozen_fraction: float = 0.0, method: str = ""
) -> Work:
    """What a training with these settings will compute."""
    return Work(
        passes=context.candidate.recipe.passes(context.rows) * float(settings["epochs_multiplier"]),
        method=method,
        frozen_fraction=frozen_fraction,
        augment=float(settings.get("augment", 0.0)),
    )


def plan(trial: Trial, *, rate: float = 1.0) -> Plan:
    """The recipe with the trial's settings of `parameters`; nothing is frozen, and all stages have one rate.

    Its layer decay is for full fine-tuning. Strategies that hold back by what they train gain nothing from it: MiniLM
    on trec6, two passes, two seeds, with one rate and with decay: lora 0.957 and 0.956, norm_bias 0.951 and 0.946,
    gradual 0.965 and 0.962.

    rate: what the recipe's is multiplied with besides.
    """
    from autotl.training.loop import Plan

    settings, recipe = trial.settings, trial.frozen.candidate.recipe
    return Plan(
        epochs=recipe.passes(len(trial.train)) * settings.number("epochs_multiplier"),
        batch_size=recipe.batch_size,
        learning_rate=rate * recipe.learning_rate * settings.number("learning_rate_multiplier"),
        layer_decay=1.0,
        weight_decay=recipe.weight_decay,
        schedule="constant-cooldown",
        frozen_stages=0,
        augment=settings.number("augment") if trial.frozen.family.augments else 0.0,
    )
