"""TensorBoard for searches: the curve and settings of every trial, and the answer's score, in the run's own folder.

Written by TensorBoard's own writer, which whoever looks has anyway. It needs no TensorFlow and is imported in 0.1 s;
tensorboardX takes 0.9 s, as it loads torch where that is installed, and the process that hears events has no torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import autotl
from autotl.events import Event
from autotl.plugins.hookspecs import EventContext

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

#: In the run's folder; ``tensorboard --logdir runs`` finds it there.
FOLDER = "tensorboard"

#: The search itself, among the numbers of trials.
_SEARCH = -1

_records: dict[Path, Record] = {}  #: of searches at work, by their folders


@autotl.hookimpl
def autotl_event(context: EventContext, event: Event) -> None:
    if event.kind == "task":
        _records[context.folder] = Record(context.folder / FOLDER)
    elif record := _records.get(context.folder):
        record(event)
        if event.kind in {"finished", "failed"}:
            del _records[context.folder]


class Record:
    """Files of TensorBoard for one search; a search that is resumed adds files beside those that there are.

    The search itself is one of TensorBoard's runs, whose steps are seconds, and so is each trial, whose steps are
    permille of its length.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, EventFileWriter] = {}  #: of what is at work, by the trial's number

    def __call__(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "answer":
                figures = {"answer/score": data["score"], "answer/latency_ms": 1000 * data["latency"]}
                self._add(_SEARCH, figures, event.at)
            case "tested":
                self._add(_SEARCH, {"answer/test_score": data["score"]}, event.at)
            case "trial_started":
                self._begin(data["trial"], {name: data[name] for name in ("backbone", "strategy", *data["units"])})
            case "progress":
                figures = {name: value for name, value in data.items() if name not in {"trial", "permille"}}
                self._add(data["trial"], figures, data["permille"])
            case "trial_ended":
                self._end(data["trial"])
            case "finished" | "failed":
                for number in list(self._writers):
                    self._end(number)

    def _begin(self, trial: int, settings: dict[str, Any]) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        self._write(trial, hparams_pb(settings, trial_id=_name(trial)), 0)

    def _add(self, trial: int, figures: Mapping[str, Any], step: float) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=figure)
            for name, figure in figures.items()
            if isinstance(figure, int | float) and math.isfinite(figure)
        ]
        self._write(trial, Summary(value=values), step)

    def _write(self, trial: int, summary: Summary, step: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Entry
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if trial not in self._writers:
            self._writers[trial] = EventFileWriter(str(self._folder / _name(trial)))
        self._writers[trial].add_event(Entry(wall_time=time.time(), step=round(step), summary=summary))
        self._writers[trial].flush()  # people look while it is at work

    def _end(self, trial: int) -> None:
        if writer := self._writers.pop(trial, None):
            writer.close()


def _name(trial: int) -> str:
    return "." if trial == _SEARCH else f"trial-{trial:04d}"
