"""A linear head on features that stay as they are: seconds of work, and hard to beat on little data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from autotl.plugins.contracts import Parameter, Progress, Real, Strategy, StrategyContext, Value, Work

if TYPE_CHECKING:
    from autotl.training.trial import Trial


class Probe(Strategy):
    """The linear head with the least loss on what the upper layers of the frozen backbone say: logistic regression, or
    ridge for numbers.

    Its penalty is a multiple of the one that inner holdouts choose.
    """

    name = "probe"
    regularized = False
    weight = 1.0

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        return [Real("penalty_multiplier", 0.1, 10.0, log=True, usual=1.0)]

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        return [{"penalty_multiplier": 1.0}]

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        return Work(passes=0.0)  # the features are there

    def fit(self, trial: Trial) -> Iterator[Progress]:
        from autotl.features.heads import balanced
        from autotl.training.model import Classifier

        multiplier = trial.settings.number("penalty_multiplier")
        rows, head = trial.known, trial.layered_head(multiplier)
        head = balanced(head, trial.targets[rows], trial.task.balance, trial.weights_of(rows))
        trial.model = Classifier(trial.frozen.layered, head).to(trial.device)
        yield Progress(1000)
