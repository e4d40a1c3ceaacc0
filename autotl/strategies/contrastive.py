"""Few texts a class: the encoder learns which belong together, then a head in closed form tells the classes apart.

The idea of SetFit (Tunstall et al. 2022), where eight texts a class become hundreds of pairs. Here all pairs of a batch
are looked at together (Khosla et al. 2020), so none have to be built or drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Parameter, Progress, Strategy, StrategyContext, Value, Work
from autotl.strategies import tuning

if TYPE_CHECKING:
    from autotl.training.model import Classifier
    from autotl.training.trial import Trial

#: Above so many texts a class fine-tuning is as good (Tunstall et al. 2022 compare up to here).
MOST_ROWS_A_CLASS = 64

#: However few the rows: every batch compares each with all others, so little is left to learn after some dozens. From
#: eight questions a class (trec6, MiniLM, three draws) the head learned 0.767 after 20 steps, 0.784 after 40 and 0.790
#: after 80; 0.491 before.
FEWEST_STEPS = 40


class Contrastive(Strategy):
    """AdamW on all stages by the supervised contrastive loss of features; where it is judged, a new head on them."""

    name = "contrastive"
    regularized = False  #: they see logits, of which there are none while it trains
    weight = 1.0

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        # in the mean, as batches draw classes alike; a row by itself has no partner
        few = 0 < context.rows <= MOST_ROWS_A_CLASS * context.classes and max(context.class_rows) > 1
        if context.candidate.modality != "text" or not few:
            return []
        return tuning.parameters(context)

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        return [tuning.usual(context)]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        passes = context.candidate.recipe.passes(context.rows, fewest_steps=FEWEST_STEPS)
        return Work(passes=passes * float(settings["epochs_multiplier"]), method=self.name)

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.training.contrast import BalancedBatches, contrast
        from autotl.training.loop import train
        from autotl.training.model import Classifier

        settings, recipe = trial.settings, trial.frozen.candidate.recipe
        model = trial.model = Classifier(trial.load_backbone(), trial.starting_head()).to(trial.device)
        plan = replace(
            tuning.plan(trial),
            epochs=recipe.passes(len(trial.train), fewest_steps=FEWEST_STEPS) * settings.number("epochs_multiplier"),
            layer_decay=recipe.layer_decay,
            method=self.name,
            objective=contrast,
            batches=BalancedBatches,
        )
        for progress in train(model, trial, plan):
            if progress.permille == 1000:
                _fit_head(model, trial)
            elif trial.judged_on_the_way:
                with trial.clock.standing_still():  # no part of the training, whose schedule is by the clock
                    _fit_head(model, trial)
            yield progress


def _fit_head(model: Classifier, trial: Trial) -> None:
    """Puts a logistic head on what the features of the training rows are by now, as the linear probe is on theirs."""
    from autotl.features.frozen import pooled
    from autotl.features.heads import balanced, choose_and_fit

    labels = trial.targets[trial.train]
    features = pooled(model.backbone, trial.frozen.rows, trial.train, trial.frozen.precision, trial.device)
    weights = trial.weights_of(trial.train)
    groups, left = trial.groups_of(trial.train), trial.clock.remaining
    _, head = choose_and_fit(trial.task, features, labels, trial.seed, weights, groups, seconds=left)
    model.set_head(balanced(head, labels, trial.task.balance, weights))
