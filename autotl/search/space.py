"""The space of trials: from Optuna's suggestions to a complete description of one trial, and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import cast

import optuna
from optuna.trial import FrozenTrial

from autotl.errors import PluginError, TrialError
from autotl.plugins.contracts import Candidate, Choice, Parameter, Regularizer, Strategy, StrategyContext, Value, Work
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

    def was_that_of(self, trial: FrozenTrial) -> bool:
        """Whether a trial had these settings, as far as it has the same ones.

        By value: the number that Optuna knows a strategy by moves when another one begins to apply, or ceases to.
        """
        known = trial.user_attrs
        had = known.get("settings", {})
        return (known.get("backbone"), known.get("strategy")) == (self.backbone, self.strategy) and all(
            _is_equal(had[name], value) for name, value in self.settings.items() if name in had
        )


class Space:
    """Backbone, then strategy, then what that strategy lets the search choose.

    Parameters keep the name that their strategy gives them, so that strategies which share a name share what the
    sampler learns about it. Optuna is asked for numbers from 0 to 1, which `priors` turns into values.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        strategies: Sequence[Strategy],
        regularizers: Sequence[Regularizer],
        contexts: Mapping[str, StrategyContext],
    ) -> None:
        """candidates: best first. contexts: by candidate key."""
        self.candidates = {candidate.key: candidate for candidate in candidates}
        self._strategies = {strategy.name: strategy for strategy in strategies}
        self._regularizers = {regularizer.name: regularizer for regularizer in regularizers}
        self._contexts = contexts
        self._left_out: set[tuple[str, str]] = set()  #: backbone, strategy
        self._without: Collection[str] = ()  #: backbones that have no turn now
        self._before: dict[str, Sequence[str]] = {}

    def keep_options(self, name: str, options: Sequence[str]) -> None:
        """What a parameter had to choose from in an earlier process: for Optuna it has the same as long as it lives.

        What was drawn and is gone by now has something in its place.
        """
        self._before[name] = options

    def knows(self, config: TrialConfig) -> bool:
        """Whether backbone and strategy are here; what an earlier process tried may have been removed since."""
        return config.backbone in self._contexts and config.strategy in self._strategies

    def still_fits(self, config: TrialConfig) -> bool:
        """Whether what an earlier process tried can be fitted again: a strategy may have been upgraded since."""
        try:
            return self.knows(config) and bool(self.work(config))
        except TrialError:
            return False

    def leave_out_changed(self, past: Mapping[str, bool]) -> list[str]:
        """Leaves out strategies with a parameter that was of words and is numbers now, or the other way round.

        past: whether a parameter had words, by name: Optuna keeps that for ever. Returns the strategies.
        """
        changed = []
        for strategy in self._strategies:
            words = self.words(strategy)
            if any(past.get(name, options is not None) != (options is not None) for name, options in words.items()):
                changed += [strategy] if self.leave_out(strategy=strategy) else []
        return changed

    def leave_out(self, *, strategy: str | None = None, backbone: str | None = None) -> bool:
        """Never suggests a strategy, a backbone, or the one on the other from now on.

        Returns whether that changes anything; it does not where nothing would be left.
        """
        among = {(key, name) for key in self.candidates for name in self._applying(key)}
        out = {pair for pair in among if pair[0] == (backbone or pair[0]) and pair[1] == (strategy or pair[1])}
        if not out or out == among:
            return False
        self._left_out |= out
        return True

    def do_without(self, backbones: Collection[str]) -> bool:
        """Never suggests these, until it is told anew. Returns whether anything is left that it may."""
        self._without = backbones
        return any(map(self._applying, self.candidates))

    def offers(self, config: TrialConfig) -> bool:
        """Whether a configuration may be tried, by what was left out since it was made."""
        return config.backbone not in self._without and (config.backbone, config.strategy) not in self._left_out

    def context(self, backbone: str) -> StrategyContext:
        """What strategies and regularizers know of a backbone here."""
        return self._contexts[backbone]

    def suggest(self, trial: optuna.Trial) -> TrialConfig:
        """One trial's configuration from an Optuna trial; one that is taken up again keeps what it had.

        Whatever has been installed or left out since, or is decided otherwise with another budget.
        """
        if "settings" in (known := trial.user_attrs):
            return TrialConfig(known["backbone"], known["strategy"], known["settings"])
        applying = [key for key in self.candidates if self._applying(key)]
        backbone = self._choose(trial, "backbone", list(self.candidates), applying)
        drawn = value_at(self._which, trial.suggest_float(self._which.name, 0.0, 1.0))
        strategy, among = list(self._strategies)[int(drawn)], self._applying(backbone)
        if strategy not in among:  # such as one that has been tried often enough: the likeliest has its turns
            strategy = max(among, key=lambda name: self._strategies[name].weight)
        parameters = self._parameters(strategy, backbone)
        settings = {parameter.name: self._suggest(trial, parameter) for parameter in parameters.values()}
        trial.set_user_attr("backbone", backbone)
        trial.set_user_attr("strategy", strategy)
        # last, as they say that all is there; for whoever looks at the study with Optuna's own tools too, where numbers
        # are those from 0 to 1
        trial.set_user_attr("settings", settings)
        return TrialConfig(backbone, strategy, settings)

    def _suggest(self, trial: optuna.Trial, parameter: Parameter) -> Value:
        if isinstance(parameter, Choice) and _is_named(parameter):
            options = cast("Sequence[str]", parameter.options)
            return self._choose(trial, parameter.name, options, options)
        return value_at(parameter, trial.suggest_float(parameter.name, 0.0, 1.0))

    def _choose(self, trial: optuna.Trial, name: str, options: Sequence[str], applying: Sequence[str]) -> str:
        """One of the options that apply."""
        drawn = trial.suggest_categorical(name, self._before.get(name, options))
        return _instead(drawn, applying, trial.number)

    @property
    def _which(self) -> Choice:
        """The strategy as a number: Optuna's choices have no weights, and must not change when a plugin comes.

        One that applies to no backbone has no part of it, as what falls there would teach the sampler about another.
        """
        contexts = [self._contexts[key] for key in self.candidates]
        return Choice(
            "strategy",
            tuple(float(place) for place in range(len(self._strategies))),
            tuple(
                strategy.weight if any(strategy.parameters(context) for context in contexts) else 0.0
                for strategy in self._strategies.values()
            ),
        )

    def _parameters(self, strategy: str, backbone: str) -> dict[str, Parameter]:
        """What the search may choose: the strategy's own, and the strengths of the regularizers that it heeds."""
        known, context = self._strategies[strategy], self._contexts[backbone]
        found: dict[str, Parameter] = {parameter.name: parameter for parameter in known.parameters(context)}
        if found and known.regularized:
            context = replace(context, pretrained=known.pretrained)
            for name, regularizer in self._regularizers.items():
                if strengths := regularizer.strengths(context):
                    found.setdefault(name, strengths)
        return found

    def begins_pretrained(self, config: TrialConfig) -> bool:
        """Whether a trial begins at published weights."""
        return self._strategies[config.strategy].pretrained

    def words(self, strategy: str) -> dict[str, Sequence[Value] | None]:
        """The options of each parameter of a strategy that are words, by its name; None for numbers.

        Raises `PluginError` where one has other words for another backbone.
        """
        found: dict[str, Sequence[Value] | None] = {}
        for backbone in self.candidates:
            for name, parameter in self._parameters(strategy, backbone).items():
                options = parameter.options if isinstance(parameter, Choice) and _is_named(parameter) else None
                if found.setdefault(name, options) != options:
                    raise PluginError(f"{name!r} has other words for another backbone, and the sampler has one list")
        return found

    def units(self, config: TrialConfig) -> dict[str, Value]:
        """A configuration as Optuna knows it, to be enqueued; without what is no parameter by now, or was no option."""
        parameters = self._parameters(config.strategy, config.backbone)
        settings = {
            name: value if _is_named(parameters[name]) else unit_of(parameters[name], value)
            for name, value in config.settings.items()
            if name in parameters
        }
        which = unit_of(self._which, float(list(self._strategies).index(config.strategy)))
        units = {"backbone": config.backbone, "strategy": which, **settings}
        return {name: unit for name, unit in units.items() if unit in self._before.get(name, [unit])}

    def work(self, config: TrialConfig) -> Work:
        """What the trial will compute. Raises `TrialError` where the strategy does not say."""
        try:
            work = self._strategies[config.strategy].work(self._contexts[config.backbone], config.settings)
        except Exception as error:  # a foreign plugin may fail in any way, by settings that nobody has tried yet
            text = f"strategy {config.strategy!r} does not say what it would do ({type(error).__name__}: {error})"
            raise TrialError(text, kind="plugin") from error
        at_work = [known for name, known in self._regularizers.items() if config.settings.get(name)]
        return replace(work, step_cost=work.step_cost * math.prod(known.step_cost for known in at_work))

    def portfolio(self, learned: Sequence[TrialConfig] = ()) -> Iterator[TrialConfig]:
        """What is tried before the sampler is free: the best backbone's published recipe first.

        Then what learns from a teacher, where there is one; one for each other backbone that by its prior is better
        when it is tuned, such as a cross-encoder beside the two towers whose head is ahead; then the strategies'
        settings, the likeliest first. After one of each strategy that is as likely as fine-tuning comes one for each
        other backbone that may be as good, and last one for each of those that are behind by prior too. What past runs
        say of the best backbone (`learned`) stands in the place of all but its first, and goes before others'.
        """
        first, *rest = self.candidates.values()
        best = list(self._recipes(first.key))
        published, own = best[:1], best[1:]
        alone = replace(self._contexts[first.key], teacher=False)
        taught = [config for config in own if not self._strategies[config.strategy].parameters(alone)]
        known = {config.strategy for config in published}
        alike = sum(self._strategies[name].weight >= 1.0 for name in self._applying(first.key) if name not in known)
        if learned:  # whoever gives a teacher wants it
            ours = [*published, *taught]
            own = taught + [config for config in learned if config not in ours]
            alike = len(own)
        rivals = [self._recipes(c.key) for c in rest if c.prior >= first.prior]
        turn, *later = [[config for config in turn if config] for turn in zip_longest(*rivals)] or [[]]
        stronger = [config for config in turn if self.candidates[config.backbone].prior > first.prior]
        behind = [config for c in rest if c.prior < first.prior for config in islice(self._recipes(c.key), 1)]
        early = (own[:alike], stronger) if learned else (stronger, own[:alike])
        tried = []
        for config in chain(published, taught[:1], *early, turn, own[alike:], *later, behind):
            if config not in tried:
                tried.append(config)
                yield config

    def lessons(self) -> list[TrialConfig]:
        """What could be tried on the best backbone if there was a teacher, and cannot without one."""
        first, *_ = self.candidates
        taught = Space(
            list(self.candidates.values()),
            list(self._strategies.values()),
            list(self._regularizers.values()),
            {key: replace(context, teacher=True) for key, context in self._contexts.items()},
        )
        return [config for config in taught._recipes(first) if config.strategy not in self._applying(first)]

    def beside(self, other: Candidate) -> Space:
        """The same for another backbone of the same kind alone."""
        context = replace(next(iter(self._contexts.values())), candidate=other, stages=0)
        return Space([other], list(self._strategies.values()), list(self._regularizers.values()), {other.key: context})

    def teach(self) -> None:
        """From now on there is a teacher."""
        self._contexts = {key: replace(context, teacher=True) for key, context in self._contexts.items()}

    def adapted(self, backbone: str, strategy: str, settings: Mapping[str, Value]) -> TrialConfig | None:
        """Settings that were chosen elsewhere, made to fit a backbone here; None where the strategy cannot be used.

        What is no parameter here is left out. A parameter that they lack, or with a value that it cannot have here,
        gets the published recipe's.
        """
        if strategy not in self._applying(backbone):
            return None
        published = next(iter(self._settings(strategy, backbone)), {})
        values: dict[str, Value] = {}
        for name, parameter in self._parameters(strategy, backbone).items():
            source = settings if name in settings and parameter.holds(settings[name]) else published
            if name not in source:
                return None
            values[name] = source[name]
        return TrialConfig(backbone, strategy, values)

    def _recipes(self, backbone: str) -> Iterator[TrialConfig]:
        """The settings of all strategies, the likeliest first: a strategy of half the weight waits twice as long.

        Before them all comes the first strategy's first, whatever weight a plugin gives to its own.
        """
        waiting = [
            ((place + 1) / self._strategies[name].weight, TrialConfig(backbone, name, settings))
            for name in self._applying(backbone)
            for place, settings in enumerate(self._settings(name, backbone))
        ]
        yield from (config for _, config in waiting[:1])
        yield from (config for _, config in sorted(waiting[1:], key=lambda entry: entry[0]))

    def _settings(self, strategy: str, backbone: str) -> list[Mapping[str, Value]]:
        """A strategy's portfolio, complete with the usual strengths of regularizers that it leaves open.

        Raises `PluginError` where it does not fit what the strategy says of its parameters.
        """
        context, parameters = self._contexts[backbone], self._parameters(strategy, backbone)
        usual = {name: known.usual(context) for name, known in self._regularizers.items() if name in parameters}
        found: list[Mapping[str, Value]] = []
        for settings in self._strategies[strategy].portfolio(context):
            complete = {**usual, **settings}
            wrong = set(complete) ^ set(parameters)
            wrong |= {
                name for name, value in complete.items() if name in parameters and not parameters[name].holds(value)
            }
            if wrong:
                names = ", ".join(sorted(wrong))
                raise PluginError(f"strategy {strategy!r}: its portfolio does not fit its parameters ({names})")
            found.append(complete)
        return found

    def _applying(self, backbone: str) -> list[str]:
        context = self._contexts[backbone]
        return [
            name
            for name, strategy in self._strategies.items()
            if backbone not in self._without and (backbone, name) not in self._left_out and strategy.parameters(context)
        ]


def _instead(drawn: str, options: Sequence[str], number: int) -> str:
    """What was drawn, where it is among the options, and one of these in turn where it is not."""
    return drawn if drawn in options else options[number % len(options)]


def _is_equal(value: Value, other: Value) -> bool:
    """Whether two values are one, of which one may have been a number from 0 to 1 on its way."""
    if isinstance(value, str) or isinstance(other, str):
        return value == other
    return math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-9)


def _is_named(parameter: Parameter) -> bool:
    """Whether its options are words, which stand in no order."""
    return isinstance(parameter, Choice) and isinstance(parameter.options[0], str)
