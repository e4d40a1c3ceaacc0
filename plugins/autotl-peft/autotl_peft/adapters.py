"""What strategies with adapters have in common: where they apply, and how they are trained."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotl.plugins.contracts import TEXTUAL, Choice, Parameter, Progress, Strategy, StrategyContext, Value, Work
from autotl.strategies import tuning

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig

    from autotl.training.settings import Settings
    from autotl.training.trial import Trial


class Adapters(Strategy, ABC):
    """AdamW on small parts put into the linear layers, from the linear probe's head; no other weight changes.

    Applies to texts, whose encoders all consist of linear layers, and to image networks whose published recipe has
    rates that decay from stage to stage, as only transformers' do. Where that was a mistake the trial fails and says
    so: what a network consists of cannot be known before it is loaded.
    """

    name: str
    regularized = True
    #: After two recipes of fine-tuning: as good on small tables (Hu et al. 2022; Mai et al. 2024), and a step takes
    #: less memory, but not much less time.
    weight = 0.5

    rate: float  #: times the rate of full fine-tuning
    highest_rate = math.inf  #: of the recipe, whatever that of full fine-tuning is
    decays: bool  #: whether the recipe's weight decay is right for what is trained: it pulls towards zero

    @abstractmethod
    def config(self, layers: Mapping[str, torch.nn.Linear], settings: Settings) -> PeftConfig:
        """What `peft` is to put into `layers`, by their names below the stages."""

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        if not is_transformer(context):
            return []
        return [
            # half of the steps' time where the budget is short; deeper would leave few layers to adapt
            Choice("frozen_fraction", (0.0, 0.5)),
            *tuning.parameters(context),
        ]

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        """One recipe, the lower half frozen where fine-tuning's is."""
        frozen = 0.0 if tuning.affords(context) else 0.5
        return [tuning.usual(context) | {"frozen_fraction": frozen}]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return tuning.work(context, settings, frozen_fraction=float(settings["frozen_fraction"]), method=self.name)

    def fit(self, trial: Trial) -> Iterator[Progress]:
        """Yields where the loop does, with the adapters multiplied into a plain network of its own.

        Raises `TrialError` for a backbone without linear layers.
        """
        from autotl.features.boundary import stage_at
        from autotl.training.loop import train
        from autotl.training.model import Classifier
        from autotl_peft.layers import adapt, linear_layers, merge

        backbone, head = trial.load_backbone().to(trial.device), trial.starting_head()
        frozen_stages = stage_at(trial.settings.number("frozen_fraction"), backbone)
        layers = linear_layers(backbone, trial, frozen_stages)
        adapters = adapt(backbone, self.config(layers, trial.settings), seed=trial.seed)
        model = Classifier(backbone, head).to(trial.device)
        trial.model = Classifier(trial.load_backbone(), head).to(trial.device)
        plan = replace(
            tuning.plan(trial, rate=min(self.rate, self.highest_rate / trial.frozen.candidate.recipe.learning_rate)),
            frozen_stages=frozen_stages,
            method=self.name,
            trains=lambda stage, name, parameter: id(parameter) in adapters,
        )
        plan = plan if self.decays else replace(plan, weight_decay=0.0)
        for progress in train(model, trial, plan):
            merge(model, trial.model)  # not into the model itself: it trains on, and rounding would add up
            yield progress


def is_transformer(context: StrategyContext) -> bool:
    """Whether the backbone is one, as far as can be known before it is loaded."""
    candidate = context.candidate
    return candidate.modality in TEXTUAL or candidate.recipe.layer_decay < 1.0
