"""Only the lower stages are trained: where inputs look different but mean the same (Lee et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Parameter, Progress, Real, StrategyContext, Value, Work
from autotl.strategies.finetune import recipe_passes

if TYPE_CHECKING:
    import torch

    from autotl.training.trial import Trial


class Surgical:
    """AdamW on the first part of the stages and on the head, which starts from the linear probe."""

    name = "surgical"
    regularized = True
    weight = 0.2

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        chosen: list[Parameter] = [
            Choice("trained_fraction", (0.25, 0.5)),
            Real("learning_rate_multiplier", 0.1, 10.0, log=True, usual=1.0),
            Real("epochs_multiplier", 0.3, 2.0, log=True, usual=1.0),
        ]
        return [*chosen, Choice("augment", (0.0, 0.3, 0.6, 1.0))] if context.augments else chosen

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        usual: dict[str, Value] = {"trained_fraction": 0.25, "learning_rate_multiplier": 1.0, "epochs_multiplier": 1.0}
        return [usual | {"augment": 0.3} if context.augments else usual]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return Work(
            passes=recipe_passes(context.candidate.recipe, context.rows) * float(settings["epochs_multiplier"]),
            method=f"{self.name} {settings['trained_fraction']:g}",
            augment=float(settings.get("augment", 0.0)),
        )

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.features.boundary import stage_at
        from autotl.training.loop import Plan, train
        from autotl.training.model import Classifier

        settings, recipe = trial.settings, trial.frozen.candidate.recipe
        backbone = trial.load_backbone()
        fraction = settings.number("trained_fraction")
        above = max(stage_at(fraction, backbone), 1)

        def is_low(stage: int, name: str, parameter: torch.nn.Parameter) -> bool:
            return stage < above

        trial.model = Classifier(backbone, trial.starting_head()).to(trial.device)
        plan = Plan(
            epochs=recipe_passes(recipe, len(trial.train)) * settings.number("epochs_multiplier"),
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate * settings.number("learning_rate_multiplier"),
            layer_decay=1.0,
            weight_decay=recipe.weight_decay,
            schedule="constant-cooldown",
            frozen_stages=0,
            augment=settings.number("augment") if trial.frozen.family.augments else 0.0,
            method=f"{self.name} {fraction:g}",
            trains=is_low,
        )
        yield from train(trial.model, trial, plan)
