"""One trial of a run: what was set, what became of it, and what it took."""

from __future__ import annotations

from dataclasses import dataclass

from autotl.data.wording import listed
from autotl.errors import RunError
from autotl.failures import REMEDIES
from autotl.report.leaderboard import Row
from autotl.report.record import Record
from autotl.report.words import STATES, command
from autotl.runs.folder import TRIALS_FOLDER


@dataclass(frozen=True)
class Point:
    """A judgement on the way."""

    percent: float  #: of the trial
    at: float  #: seconds of the run
    score: float


@dataclass(frozen=True)
class TrialStory:
    """All that is known of a trial."""

    trial: int
    backbone: str
    strategy: str
    settings: dict[str, float | str]
    state: str
    fate: str  #: the same as a sentence
    score: float | None
    curve: tuple[Point, ...]
    seconds: float  #: of training
    planned_seconds: float  #: as forecast before it began
    latency: float | None  #: seconds a row, of its backbone alone
    share: float  #: of the answer
    weights: str  #: folder in the run's; empty where they are not kept
    again: str  #: how to get the same model, in a sentence


def trial_story(record: Record, number: int) -> TrialStory:
    """Raises `RunError` where there is no such trial."""
    row = next((row for row in record.trials if row.name == str(number)), None)
    if row is None:
        trials = listed([trial.name for trial in record.trials])
        there = f"its trials are {trials}" if trials else "it has none"
        raise RunError(f"{record.folder} has no trial {number}; {there}")
    points = [event for event in record.of("progress") if event.data["trial"] == number]
    started = [event.data for event in record.of("trial_started") if event.data["trial"] == number]
    folders = sorted(path for path in (record.folder / TRIALS_FOLDER / f"{number:04d}").glob("*/") if path.is_dir())
    weights = str(folders[0].relative_to(record.folder)) if folders else ""
    return TrialStory(
        trial=number,
        backbone=row.backbone,
        strategy=row.strategy,
        settings={name: row.settings[name] for name in row.settings},
        state=row.state,
        fate=_fate(record, row),
        score=row.score,
        curve=tuple(Point(e.data["permille"] / 10, e.at, e.data["score"]) for e in points),
        seconds=row.seconds,
        planned_seconds=started[-1]["planned_seconds"],
        latency=record.latency.get(row.backbone),
        share=row.share,
        weights=weights,
        again=_again(record, row, weights),
    )


def _fate(record: Record, row: Row) -> str:
    fate = f"trial {row.name} {STATES[row.state]}"
    if row.state == "failed":
        kind = [e.data for e in record.of("trial_ended") if str(e.data["trial"]) == row.name][-1]["reason_kind"]
        return f"{fate}: {row.reason} ({kind}: {REMEDIES.get(kind, 'see worker.log')})"
    if not row.best:
        return fate
    return f"{fate}, and is the answer" if row.share == 1.0 else f"{fate}, and makes {row.share:.0%} of the answer"


def _again(record: Record, row: Row, weights: str) -> str:
    ways = []
    if row.share == 1.0:
        ways.append(f"autotl.load({str(record.folder)!r}) is this model")
    elif weights:
        ways.append(f"its weights are in {record.folder / weights}")
    if record.run.request.budget_seconds is None:
        ways.append(f"'{command(record.run.request, trials=int(row.name) + 1)}' trains it again as its last trial")
    else:
        alone = {"backbones": (row.backbone,), "portfolio": "FILE"}
        again = command(record.run.request.model_copy(update=alone), trials=2)
        ways.append(f"--portfolio FILE writes its settings down; with '{again}' they are trained again as trial 1")
    return "; ".join(ways)
