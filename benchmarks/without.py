"""AutoTL with one of its parts switched off: ``python without.py PART search --data ...``.

The product has no such switches; here the part is taken out of the running program, so that `search.py` can show what
each is worth.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autotl.cli.main import main
from autotl.data.task import Task
from autotl.predictor.combination import Decision, decide
from autotl.search import ranking, screening, shelf, trials
from autotl.search.space import Space, TrialConfig


def _screening() -> None:
    """Every backbone goes on; Optuna has to find out which is good."""
    ranking.SURVIVORS = screening.SURVIVORS = 1_000_000


def _portfolio() -> None:
    """The sampler is free after trial 0, the published recipe."""
    whole = Space.portfolio

    def only_the_first(self: Space, learned: Sequence[TrialConfig] = ()) -> Iterator[TrialConfig]:
        yield next(whole(self, learned))

    Space.portfolio = only_the_first  # type: ignore[method-assign]


def _rungs() -> None:
    """Every trial runs to its end."""
    trials.rungs_for = lambda full_trials: ()


def _combination() -> None:
    """The best single model is the answer."""

    def alone(
        task: Task,
        targets: np.ndarray,
        each: np.ndarray,
        best: int,
        usable: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> Decision:
        decision = decide(task, targets, each[best : best + 1], 0, usable[best : best + 1], groups)
        shares, temperatures = np.zeros(len(each)), np.ones(len(each))
        shares[best], temperatures[best] = 1.0, decision.combination.temperatures[0]
        return replace(decision, combination=replace(decision.combination, shares=shares, temperatures=temperatures))

    shelf.decide = alone


PARTS: dict[str, Callable[[], Any]] = {
    "screening": _screening,
    "portfolio": _portfolio,
    "rungs": _rungs,
    "combination": _combination,
}

if __name__ == "__main__":
    PARTS[sys.argv.pop(1)]()
    sys.exit(main())
