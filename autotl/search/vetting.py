"""What plugins bring is asked once what it would answer here, so that a fault costs itself and not the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from autotl.errors import PluginError
from autotl.plugins.contracts import RESERVED_NAMES, Candidate, Regularizer, Strategy, StrategyContext, Value
from autotl.plugins.manager import plugins
from autotl.search.space import Space


@dataclass(frozen=True)
class Vetted:
    """Those that answer as they promised, and a sentence for each other."""

    strategies: list[Strategy]
    regularizers: list[Regularizer]
    complaints: list[str]


def vetted(
    strategies: Sequence[Strategy],
    regularizers: Sequence[Regularizer],
    candidates: Sequence[Candidate],
    contexts: Mapping[str, StrategyContext],
) -> Vetted:
    """contexts: by candidate key."""
    found = Vetted([], [], [])
    theirs = _names_of_parameters(strategies, contexts)
    for regularizer in regularizers:
        try:
            if regularizer.name in RESERVED_NAMES | theirs:
                raise PluginError("a parameter of a strategy, or something in the log, has this name already")
            for context in contexts.values():
                _try_regularizer(regularizer, context)
            found.regularizers.append(regularizer)
        except Exception as error:  # a foreign plugin may fail in any way
            found.complaints.append(_complaint("regularizer", regularizer.name, error))
    known: dict[str, Sequence[Value] | None] = {}
    learns = False
    for strategy in strategies:
        try:
            for taught in (False, True):  # a teacher may come later
                told = {key: replace(context, teacher=context.teacher or taught) for key, context in contexts.items()}
                space = Space(candidates, [strategy], found.regularizers, told)
                for config in space.portfolio():
                    space.units(config)
                    space.work(config)
                words = space.words(strategy.name)
                _refuse_names(words, known)
            known |= words
            learns = learns or any(_learns(strategy, context) for context in contexts.values())
            found.strategies.append(strategy)
        except Exception as error:
            found.complaints.append(_complaint("strategy", strategy.name, error))
    if any(context.teacher for context in contexts.values()) and not learns:
        found.complaints.append("no strategy that is installed learns from a teacher ('autotl plugins' lists them)")
    return found


def _names_of_parameters(strategies: Sequence[Strategy], contexts: Mapping[str, StrategyContext]) -> set[str]:
    """Of all strategies that answer; a regularizer's strength of that name would be taken for them."""
    found: set[str] = set()
    for strategy in strategies:
        with suppress(Exception):  # its own turn comes
            found |= {parameter.name for context in contexts.values() for parameter in strategy.parameters(context)}
    return found


def _learns(strategy: Strategy, context: StrategyContext) -> bool:
    """Whether it has something of a teacher."""
    taught, alone = (len(strategy.parameters(replace(context, teacher=teacher))) for teacher in (True, False))
    return taught > alone


def _refuse_names(words: Mapping[str, Sequence[Value] | None], known: Mapping[str, Sequence[Value] | None]) -> None:
    """Raises `PluginError` for a parameter that would be taken for something else, by Optuna or in the log."""
    if taken := sorted(RESERVED_NAMES & words.keys()):
        raise PluginError(f"no parameter can be called {taken[0]!r}: the log of a run has that name for another thing")
    for name, options in words.items():
        if known.get(name, options) != options:
            raise PluginError(
                f"{name!r} offers other options than those of another strategy, and Optuna has one list for a name: "
                "give it a name of its own"
            )


def _try_regularizer(regularizer: Regularizer, context: StrategyContext) -> None:
    strengths = regularizer.strengths(context)
    if strengths is None:
        return
    if strengths.name != regularizer.name:
        raise PluginError(f"its strengths are called {strengths.name!r}, and it is called {regularizer.name!r}")
    usual = regularizer.usual(context)
    if 0.0 not in strengths.options or usual not in strengths.options:
        raise PluginError(f"its strengths {strengths.options} lack 0 or its usual one, {usual}")


def _complaint(kind: str, name: str, error: BaseException) -> str:
    error = error.__cause__ or error  # what a plugin raised, and not what is made of it
    return f"{kind} {name!r} of {plugins().origin(name, kind)} is left out: {type(error).__name__}: {error}"
