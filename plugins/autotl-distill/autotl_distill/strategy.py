"""Distillation: fine-tuning that also learns from a teacher's answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Choice, Parameter, Progress, Strategy, StrategyContext, Value, Work
from autotl.strategies.finetune import Finetune

if TYPE_CHECKING:
    from autotl.training.trial import Trial

#: From none to what is usual on small tasks.
TEMPERATURES = (1.0, 2.0, 4.0)

#: A teacher is sure of rows that it was trained on, and has more to say when it is softened: MobileNetV2-0.35 on 2400
#: photographs, one seed, half a recipe, right of 800 test rows: 0.730 alone, 0.728 with DIST at 1, 0.746 at 4.
USUAL_TEMPERATURE = 4.0


class Distill(Strategy):
    """Fine-tuning with one more term in the loss; applies where the search was given a teacher.

    Its first recipe is the published one of fine-tuning and differs in nothing but the teacher, so that the search
    tells, by that pair, what the teacher was worth.
    """

    name = "distill"
    regularized = True
    weight = 3.0  #: who gives a teacher wants to learn from it: its first recipe comes right after fine-tuning's

    def __init__(self) -> None:
        self._finetune = Finetune()

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        """Fine-tuning's, and two of its own; none without a teacher.

        Nor where a row has no one class: the losses compare shares of classes.

        With two classes every row's answers correlate entirely or not at all, so DIST has little to say there.
        """
        if not context.teacher or not context.classes:
            return []
        losses = ("dist", "kd") if context.classes > 2 else ("kd",)
        own = [Choice("distillation_loss", losses), Choice("distillation_temperature", TEMPERATURES, (1, 1, 2))]
        return [*self._finetune.parameters(context), *own]

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        """The published recipe with DIST (KD for two classes), then with KD."""
        published = self._finetune.portfolio(context)[0]
        losses = ("dist", "kd") if context.classes > 2 else ("kd",)
        own = {"distillation_temperature": USUAL_TEMPERATURE}
        return [{**published, **own, "distillation_loss": loss} for loss in losses]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return replace(self._finetune.work(context, settings), twin=self._finetune.name)

    def fit(self, trial: Trial) -> Iterator[Progress]:
        """Raises `BundleError` and `PluginError` when the teacher cannot be asked."""
        from autotl_distill.effect import Taught
        from autotl_distill.teacher import Teacher

        loss = trial.settings.word("distillation_loss")
        temperature = trial.settings.number("distillation_temperature")
        assert trial.teacher is not None  # `parameters` said that it applies
        augment = trial.settings.number("augment") if trial.frozen.family.augments else 0.0
        with trial.clock.standing_still():  # what the training takes, also the next time, is the rest
            answers = Teacher(trial.teacher).answers(trial, augment=augment)
        taught = Taught(answers, loss=loss, temperature=temperature, others=trial.effects)
        trial.effects = [taught, *trial.effects]
        yield from self._finetune.fit(trial)
