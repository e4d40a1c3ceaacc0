"""Runs beside each other: what each came to, and when it was as good as the others ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotl.report.record import Record


@dataclass(frozen=True)
class Compared:
    """One run among others."""

    run: str
    data_fingerprint: str
    split: str  #: "same" as the first run's, "other", or "unknown" before it was drawn
    state: str
    metric: str
    budget: float | None  #: seconds; None where trials were counted
    seconds: float  #: used
    trials: int  #: that came to an end, were put down, or were cut
    score: float | None  #: expected on new rows; None where there is no model yet
    interval: tuple[float, float] | None  #: 95 %
    chosen: str
    latency: float | None  #: seconds a row
    #: Seconds until it was as good as each run that has a score on the same data; None where it never was.
    reached: dict[str, float | None]


@dataclass(frozen=True)
class Comparison:
    """Runs in the order in which they were named, and what keeps them from being compared."""

    runs: tuple[Compared, ...]
    warnings: tuple[str, ...]


def compare(records: Sequence[Record]) -> Comparison:
    """records: two or more."""
    first = records[0]
    names = _names(records)
    runs = tuple(
        Compared(
            run=name,
            data_fingerprint=record.run.data_fingerprint,
            split=_split(record, first),
            state=record.run.state,
            metric=record.run.task.metric,
            budget=record.run.request.budget_seconds,
            seconds=record.run.seconds,
            trials=sum(row.state in {"complete", "dropped", "cut", "paused"} for row in record.trials),
            score=record.card.score if record.card else None,
            interval=record.card.interval if record.card else None,
            chosen=record.card.describe() if record.card else "",
            latency=record.card.latency if record.card else None,
            reached={
                other: seconds_to_reach(record, rival.card.score)
                for other, rival in zip(names, records, strict=True)
                if rival is not record and rival.card and _comparable(record, rival)
            },
        )
        for name, record in zip(names, records, strict=True)
    )
    return Comparison(runs, tuple(_warnings(runs)))


def seconds_to_reach(record: Record, score: float) -> float | None:
    """When the answer of a run was first expected to be as good; None where that never was."""
    return next((event.at for event in record.of("answer") if event.data["score"] >= score), None)


def _comparable(one: Record, other: Record) -> bool:
    ours, theirs = ((run.data_fingerprint, run.task.metric, run.task.costs) for run in (one.run, other.run))
    return ours == theirs


def _names(records: Sequence[Record]) -> list[str]:
    """Short, where that tells them apart."""
    short = [record.name for record in records]
    return short if len(set(short)) == len(short) else [str(record.folder) for record in records]


def _split(record: Record, first: Record) -> str:
    if not (record.split and first.split):
        return "unknown"
    return "same" if record.split == first.split else "other"


def _warnings(runs: Sequence[Compared]) -> list[str]:
    first, *others = runs
    found = []
    for run in others:
        if run.data_fingerprint != first.data_fingerprint:
            found.append(f"{run.run} searched other data than {first.run}: their scores cannot be compared")
        elif run.metric != first.metric:
            found.append(f"{run.run} is scored by {run.metric}, {first.run} by {first.metric}")
        elif run.split == "other":
            found.append(
                f"{run.run} validated on other rows than {first.run}: a difference within the intervals says nothing"
            )
    found += [f"{run.run} has not ended by itself" for run in runs if run.state != "finished"]
    return found
