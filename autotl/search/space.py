"""The space of trials: from Optuna's suggestions to a complete description of one trial, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

import optuna

from autotl.errors import PluginError
from autotl.plugins.contracts import Candidate, Choice, Parameter, Strategy, StrategyContext, Value, Work
from autotl.search.priors import unit_of, value_at


@dataclass(frozen=True)
class TrialConfig:
    """Enough to run a trial again anywhere."""

    backbone: str
    strategy: str
    settings: Mapping[str, Value]

    @property
    def flat(self) -> dict[str, Value]:
        """As the log and the leaderboard have it."""
        return {"backbone": self.backbone, "strategy": self.strategy, **self.settings}


class Space:
    """Backbone, then strategy, then what that strategy lets the search choose.

    Parameters keep the name that their strategy gives them, so that strategies which share a name share what the
    sampler learns about it. Optuna is asked for numbers from 0 to 1, which `priors` turns into values.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        strategies: Sequence[Strategy],
        *,
        rows: int,
        classes: int,
        augments: Mapping[str, bool],
        passes: Mapping[str, float],
        doubtful: bool,
    ) -> None:
        """candidates: best first. augments and passes: by candidate key. rows and classes: of the training part.

        doubtful: whether it has to be measured that pretrained weights help.
        """
        self.candidates = {candidate.key: candidate for candidate in candidates}
        self._strategies = {strategy.name: strategy for strategy in strategies}
        self._contexts = {
            key: StrategyContext(candidate, rows, classes, augments[key], passes[key], doubtful)
            for key, candidate in self.candidates.items()
        }

    def suggest(self, trial: optuna.Trial) -> TrialConfig:
        """One trial's configuration from an Optuna trial."""
        backbone = trial.suggest_categorical("backbone", list(self.candidates))
        # all of them: Optuna's choices must not change, but another budget or a resume changes which apply
        strategy = trial.suggest_categorical("strategy", list(self._strategies))
        applying = self._applying(backbone)
        if strategy not in applying:
            strategy = applying[trial.number % len(applying)]
        trial.set_user_attr("strategy", strategy)
        parameters = self._strategies[strategy].parameters(self._contexts[backbone])
        return TrialConfig(backbone, strategy, {p.name: _suggest(trial, p) for p in parameters})

    def units(self, config: TrialConfig) -> dict[str, Value]:
        """A configuration as Optuna knows it, to be enqueued."""
        parameters = {p.name: p for p in self._strategies[config.strategy].parameters(self._contexts[config.backbone])}
        settings = {
            name: value if _is_named(parameters[name]) else unit_of(parameters[name], value)
            for name, value in config.settings.items()
        }
        return {"backbone": config.backbone, "strategy": config.strategy, **settings}

    def work(self, config: TrialConfig) -> Work:
        """What the trial will compute."""
        return self._strategies[config.strategy].work(self._contexts[config.backbone], config.settings)

    def portfolio(self, learned: Sequence[TrialConfig] = ()) -> Iterator[TrialConfig]:
        """What is tried before the sampler is free: the best backbone's published recipe first.

        Then each strategy's settings in turn; after one of each for the best backbone, one for each other that by its
        prior may be as good when it is tuned, and those that are behind by prior too come last. What past runs say of
        the best backbone (`learned`) stands in the place of all but its first.
        """
        first, *rest = self.candidates.values()
        best, first_round = list(self._recipes(first.key)), len(self._applying(first.key))
        rivals, behind = (
            zip_longest(*(list(self._recipes(c.key)) for c in rest if (c.prior < first.prior) == is_behind))
            for is_behind in (False, True)
        )
        if learned:
            best = best[:1]
            best += [config for place, config in enumerate(learned) if config not in (*best, *learned[:place])]
            first_round = len(best)
        yield from best[:first_round]
        yield from (config for config in next(rivals, ()) if config)
        yield from best[first_round:]
        yield from (config for turn in (*rivals, *behind) for config in turn if config)

    def fitted(self, backbone: str, strategy: str, settings: Mapping[str, Value]) -> TrialConfig | None:
        """Settings that were chosen elsewhere, made to fit a backbone here; None where the strategy cannot be used.

        What is no parameter here is left out. A parameter that they lack, or with a value that it cannot have here,
        gets the published recipe's.
        """
        if strategy not in self._applying(backbone):
            return None
        context, known = self._contexts[backbone], self._strategies[strategy]
        published = next(iter(known.portfolio(context)), {})
        values: dict[str, Value] = {}
        for parameter in known.parameters(context):
            name = parameter.name
            source = settings if name in settings and _holds(parameter, settings[name]) else published
            if name not in source:
                return None
            values[name] = source[name]
        return TrialConfig(backbone, strategy, values)

    def _recipes(self, backbone: str) -> Iterator[TrialConfig]:
        context = self._contexts[backbone]
        per_strategy = [
            [TrialConfig(backbone, name, self._checked(name, context, settings)) for settings in settings_in_order]
            for name, strategy in self._strategies.items()
            if strategy.parameters(context) and (settings_in_order := strategy.portfolio(context))
        ]
        for round_ in zip_longest(*per_strategy):
            yield from (config for config in round_ if config)

    def _checked(self, name: str, context: StrategyContext, settings: Mapping[str, Value]) -> Mapping[str, Value]:
        parameters = {parameter.name: parameter for parameter in self._strategies[name].parameters(context)}
        wrong = set(settings) ^ set(parameters)
        wrong |= {key for key, value in settings.items() if key in parameters and not _holds(parameters[key], value)}
        if wrong:
            names = ", ".join(sorted(wrong))
            raise PluginError(f"strategy {name!r}: its portfolio does not fit its parameters ({names})")
        return settings

    def _applying(self, backbone: str) -> list[str]:
        context = self._contexts[backbone]
        return [name for name, strategy in self._strategies.items() if strategy.parameters(context)]


def _holds(parameter: Parameter, value: Value) -> bool:
    if isinstance(parameter, Choice):
        return value in parameter.options
    return not isinstance(value, str) and parameter.low <= value <= parameter.high


def _is_named(parameter: Parameter) -> bool:
    """Whether its options are words, which stand in no order."""
    return isinstance(parameter, Choice) and isinstance(parameter.options[0], str)


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Value:
    if isinstance(parameter, Choice) and _is_named(parameter):
        return cast("Value", trial.suggest_categorical(parameter.name, list(parameter.options)))
    return value_at(parameter, trial.suggest_float(parameter.name, 0.0, 1.0))
