"""From the logs of past runs to a short list of configurations to try first.

A configuration is a strategy and its settings; backbones are not part of it, since others have others. Its **regret**
on a task is what it lost to the best configuration there, and the list is chosen greedily so that on every task one of
its first few loses little (Wistuba et al. 2015, Feurer et al. 2022).

**How regrets are made comparable.** A trial is compared with the best trial of the same backbone on the same task, so
that settings are not blamed for their backbone. The difference is divided by what searching was worth on that task: the
lead of its best trial over the best head on frozen features, which is there without any trial. So 0 is the best that
was found, and 1 means that all there was to gain was lost; more than that is cut to 1. Raw differences would let tasks
with wide spreads decide alone, and ranks would make much of differences that are noise; where the lead is below a
standard error of the score, that is the unit. Each task counts once, however many trials it had.

**Where a configuration was not tried** on a task its regret is a mean over the task's trials of the same strategy,
weighted by nearness in the unit space of the sampler, with the task's mean regret as one more neighbour.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from autotl.data.wording import counted
from autotl.errors import RunError
from autotl.plugins.contracts import Value
from autotl.search.portfolio_file import Entry, Portfolio, Sources
from autotl.search.run_log import TrialLine, read_run_logs

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Portfolio", "RegretTable", "build", "choose", "regret_table"]

#: Two points drawn by chance are 0.41 apart a dimension (root mean square); a neighbour is nearer than half of that.
BANDWIDTH = 0.2

#: One of the 500 validation rows that there are: no difference of scores below it means anything.
LEAST_LEAD = 0.002


@dataclass(frozen=True)
class Configuration:
    """A strategy and its settings."""

    strategy: str
    settings: Mapping[str, Value]


@dataclass(frozen=True)
class RegretTable:
    """What each configuration lost on each task, as far as it is known or can be estimated."""

    configurations: Sequence[Configuration]
    regrets: npt.NDArray[np.float64]  #: ``[configurations, tasks]``, 0 to 1
    trials: int  #: that it rests on
    runs: int


def build(folder: str | Path, size: int = 8) -> Portfolio:
    """The portfolio of all runs in `folder` and below it, of at most `size` configurations.

    Raises `RunError` when there is no log, or too little in it to compare anything.
    """
    logs = read_run_logs(Path(folder))
    try:
        portfolio = choose(logs.trials, size)
    except RunError as error:
        skipped = f" ({counted(logs.skipped, 'line')} of another format passed over)" if logs.skipped else ""
        raise RunError(f"{folder}: {error}{skipped}") from error
    return portfolio.model_copy(update={"sources": portfolio.sources.model_copy(update={"skipped": logs.skipped})})


def choose(trials: Iterable[TrialLine], size: int = 8) -> Portfolio:
    """Adds, one by one, the configuration that lowers the mean over tasks of the least regret most.

    Ends at `size` or when nothing lowers it. The order of `trials` does not matter, and a smaller size gives the
    beginning of a larger one. Raises `RunError` when no two trials can be compared, or `size` is no size.
    """
    if size < 1:
        raise RunError(f"a portfolio of {size} configurations: give a number from 1")
    table = regret_table(trials)
    tasks = table.regrets.shape[1]
    least = np.full(tasks, np.inf)
    entries: list[Entry] = []
    while len(entries) < size:
        means = np.minimum(table.regrets, least).mean(axis=1)
        place = int(means.argmin())
        if entries and means[place] > least.mean() - 1e-9:  # equal but for rounding
            break
        least = np.minimum(table.regrets[place], least)
        found = table.configurations[place]
        mean = round(float(least.mean()), 6)
        entries.append(Entry(strategy=found.strategy, settings=dict(found.settings), mean_regret=mean))
    sources = Sources(runs=table.runs, tasks=tasks, trials=table.trials)
    return Portfolio(sources=sources, entries=tuple(entries))


def regret_table(trials: Iterable[TrialLine]) -> RegretTable:
    """Candidates are configurations that ran to their end somewhere: others were given up for a reason.

    Raises `RunError` when no two trials can be compared.
    """
    tasks = [compared for lines in _by_task(trials) if (compared := _compared(lines))]
    lines = [line for task in tasks for line, _ in task]
    if not lines:
        raise RunError("no two trials of one backbone on one task can be compared; let some searches run longer")
    points = _points([line.units for line in lines])
    places: dict[str, list[int]] = defaultdict(list)
    for place, line in enumerate(lines):
        places[_identity(line)].append(place)
    candidates = {
        identity: found
        for identity, found in sorted(places.items())
        if any(lines[place].state == "complete" for place in found)
    }
    firsts = [lines[found[0]] for found in candidates.values()]
    where = np.stack([points[found].mean(axis=0) for found in candidates.values()])  # units depend a little on the task
    strategies = np.array([line.strategy for line in firsts])
    columns, start = [], 0
    for task in tasks:
        there = points[start : start + len(task)]
        start += len(task)
        nearness = _nearness(where, there) * (strategies[:, None] == np.array([line.strategy for line, _ in task]))
        columns.append(_column(list(candidates), task, nearness))
    return RegretTable(
        configurations=[Configuration(line.strategy, line.settings) for line in firsts],
        regrets=np.stack(columns, axis=1),
        trials=len(lines),
        runs=len({line.run for line in lines}),
    )


def _by_task(trials: Iterable[TrialLine]) -> list[list[TrialLine]]:
    """Trials on the same data under the same terms, in an order that is always the same.

    A run stays with the terms that it began with, also when it was resumed with more time.
    """
    runs: dict[str, list[TrialLine]] = defaultdict(list)
    for line in sorted(trials, key=lambda line: (line.run, line.trial)):
        runs[line.run].append(line)
    tasks: dict[str, list[TrialLine]] = defaultdict(list)
    for lines in runs.values():
        tasks[lines[0].task.model_dump_json()] += lines
    return [tasks[terms] for terms in sorted(tasks)]


def _compared(lines: Sequence[TrialLine]) -> list[tuple[TrialLine, float]]:
    """The trials of one task that another one of the same backbone can be compared with, and their regrets.

    One that failed lost all there was to gain. One that left no score is passed over.
    """
    best: dict[str, float] = {}
    for line in lines:
        if line.state == "complete" and line.score is not None:
            best[line.backbone.key] = max(line.score, best.get(line.backbone.key, line.score))
    if not best:
        return []
    lead = max(best.values()) - max(line.floor for line in lines)
    unit = max(lead, fmean(line.noise for line in lines), LEAST_LEAD)
    finished = [_scores(line) for line in lines if line.state == "complete"]
    regrets = []
    for line in lines:
        score = _final_score(line, finished)
        if line.backbone.key in best and (line.state == "failed" or score is not None):
            lost = 1.0 if line.state == "failed" or score is None else (best[line.backbone.key] - score) / unit
            regrets.append((line, min(max(lost, 0.0), 1.0)))
    tried = Counter(line.backbone.key for line, _ in regrets)
    return [(line, regret) for line, regret in regrets if tried[line.backbone.key] > 1]


def _final_score(line: TrialLine, finished: Sequence[Mapping[int, float]]) -> float | None:
    """A trial's score at its end; what finished ones gained in the mean from where it ended is expected of it too."""
    if line.state == "complete" or not line.curve:
        return line.score
    permille, _, score = line.curve[-1]
    gains = [scores[1000] - scores[permille] for scores in finished if permille in scores and 1000 in scores]
    return score + (fmean(gains) if gains else 0.0)


def _scores(line: TrialLine) -> dict[int, float]:
    return {permille: score for permille, _, score in line.curve}


def _identity(line: TrialLine) -> str:
    """Equal for equal configurations."""
    return json.dumps([line.strategy, line.settings], sort_keys=True)


def _column(
    identities: Sequence[str], task: Sequence[tuple[TrialLine, float]], nearness: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """``[configurations]``: the regrets on one task, as observed, or by nearness ``[configurations, trials]``."""
    regrets = np.array([regret for _, regret in task])
    column: npt.NDArray[np.float64] = (nearness @ regrets + regrets.mean()) / (nearness.sum(axis=1) + 1)
    observed: dict[str, list[float]] = defaultdict(list)
    for line, regret in task:
        observed[_identity(line)].append(regret)
    for row, identity in enumerate(identities):
        if identity in observed:
            column[row] = fmean(observed[identity])
    return column


def _points(units: Sequence[Mapping[str, Value]]) -> npt.NDArray[np.float64]:
    """``[trials, parameters]``; NaN where a trial has no such parameter, and a whole number for each word."""
    words = sorted({value for one in units for value in one.values() if isinstance(value, str)})
    codes = {word: 2.0 * place for place, word in enumerate(words)}  # further apart than any two numbers from 0 to 1
    names = sorted({name for one in units for name in one})
    values = [[one.get(name, np.nan) for name in names] for one in units]
    return np.array([[codes[v] if isinstance(v, str) else v for v in row] for row in values], np.float64)


def _nearness(here: npt.NDArray[np.float64], there: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``[len(here), len(there)]``, from 1 for the same point to 0, by the parameters that both have.

    Different words are as far apart as 0 and 1. Points that share no parameter are not near.
    """
    apart = np.minimum(np.abs(here[:, None] - there[None]), 1.0) ** 2
    shared = (~np.isnan(apart)).sum(axis=2)
    distance = np.nansum(apart, axis=2) / np.maximum(shared, 1)
    return np.where(shared > 0, np.exp(-distance / (2 * BANDWIDTH**2)), 0.0)
