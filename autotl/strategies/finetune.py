"""Fine-tuning from the probe's head, with the lower stages frozen or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Parameter, Progress, Real, Recipe, StrategyContext, Value, Work

if TYPE_CHECKING:
    from autotl.training.trial import Trial


#: From none to BEiT's, the strongest in common use.
LAYER_DECAYS = (0.65, 0.8, 0.9, 1.0)

FROZEN = (0.0, 0.25, 0.5, 0.75, 1.0)

#: However small the table: with fewer steps fine-tuning ends before it has begun, and looks unstable for no other
#: reason (Mosbach et al. 2021, Zhang et al. 2021).
FEWEST_STEPS = 300


def recipe_passes(recipe: Recipe, rows: int) -> float:
    """Passes over the training rows that the recipe asks for."""
    return max(recipe.epochs, FEWEST_STEPS * recipe.batch_size / rows)


def _nearest(recipe: Recipe) -> float:
    """The layer decay of the recipe, as far as it is one of ours."""
    return min(LAYER_DECAYS, key=lambda decay: abs(decay - recipe.layer_decay))


class Finetune:
    """AdamW on the stages above the freeze depth, the head started from the linear probe (LP-FT).

    Starting at the probe keeps the first steps from tearing the features apart (Kumar et al. 2022). Rates and
    lengths are multiples of the backbone's published recipe, so that they mean the same for every backbone.
    """

    name = "finetune"
    regularized = True
    weight = 1.0

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        """Five or six, and the regularizers that are on, which most are not: some ten trials tell few more apart."""
        usual_decay = _nearest(context.candidate.recipe)
        chosen: list[Parameter] = [
            # the deeper the more rows there are to train on (VTAB-1k: full fine-tuning loses to part of it below 1000)
            Choice("frozen_fraction", FROZEN, (3, 1, 3, 2, 1) if context.rows >= 1000 else (1, 1, 3, 3, 2)),
            Real("learning_rate_multiplier", 0.1, 10.0, log=True, usual=1.0),
            Choice("layer_decay", LAYER_DECAYS, tuple(3.0 if decay == usual_decay else 1.0 for decay in LAYER_DECAYS)),
            Choice("schedule", ("constant-cooldown", "cosine", "linear", "one-cycle")),
            Real("epochs_multiplier", 0.3, 2.0, log=True, usual=1.0),
        ]
        return [*chosen, Choice("augment", (0.0, 0.3, 0.6, 1.0))] if context.augments else chosen

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        """The published recipe; twice its rate; half its rate and longer; the same with the other freeze depth.

        Where the budget does not afford the recipe's passes, the lower half is frozen first: steps then cost half,
        and twice as many of them do more (MobileNetV2-1.0 on 1900 photographs, two thirds through five minutes on two
        busy cores: 0.76 against 0.66 on validation rows). Short trainings also want weaker augmentation.
        """
        recipe = context.candidate.recipe
        short = context.passes < recipe_passes(recipe, context.rows)
        published: dict[str, Value] = {
            "frozen_fraction": 0.5 if short else 0.0,
            "learning_rate_multiplier": 1.0,
            "layer_decay": _nearest(recipe),
            "schedule": "constant-cooldown",
            "epochs_multiplier": 1.0,
        }
        published |= {"augment": 0.3 if short else 0.6} if context.augments else {}
        return [
            published,
            published | {"learning_rate_multiplier": 2.0},
            published | {"learning_rate_multiplier": 0.5, "epochs_multiplier": 1.5},
            published | {"frozen_fraction": 0.0 if short else 0.5},  # last, as the whole of it may not be affordable
        ]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return Work(
            passes=recipe_passes(context.candidate.recipe, context.rows) * float(settings["epochs_multiplier"]),
            frozen_fraction=float(settings["frozen_fraction"]),
            augment=float(settings.get("augment", 0.0)),
        )

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.features.boundary import stage_at
        from autotl.training.loop import Plan, train
        from autotl.training.model import Classifier

        settings, recipe = trial.settings, trial.frozen.candidate.recipe
        augments = trial.frozen.family.augments
        backbone = trial.load_backbone()
        trial.model = Classifier(backbone, trial.starting_head()).to(trial.device)
        plan = Plan(
            epochs=recipe_passes(recipe, len(trial.train)) * settings.number("epochs_multiplier"),
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate * settings.number("learning_rate_multiplier"),
            layer_decay=settings.number("layer_decay"),
            weight_decay=recipe.weight_decay,
            schedule=settings.word("schedule"),
            frozen_stages=stage_at(settings.number("frozen_fraction"), backbone),
            augment=settings.number("augment") if augments else 0.0,
        )
        yield from train(trial.model, trial, plan)
