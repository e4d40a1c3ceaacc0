"""MLflow for searches: a run for each search, with a nested run for each trial.

Written by MLflow's client, not by ``mlflow.log_…``: these act on a run that is active in the process, which is whatever
the program that searches has begun.
"""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import autotl
from autotl.errors import PluginError
from autotl.events import Event
from autotl.plugins.hookspecs import EventContext

if TYPE_CHECKING:
    from mlflow import MlflowClient

_records: dict[Path, Record] = {}  #: of searches at work, by their folders

#: What becomes of a trial, in MLflow's words. One that is paused may be taken up again.
_STATUS = {"complete": "FINISHED", "failed": "FAILED", "dropped": "KILLED", "cut": "KILLED", "paused": "SCHEDULED"}


@autotl.hookimpl
def autotl_event(context: EventContext, event: Event) -> None:
    if event.kind == "task":
        _records[context.folder] = Record(context.folder, event.data)
    elif record := _records.get(context.folder):
        record(event)
        if event.kind in {"finished", "failed"}:
            del _records[context.folder]


class Record:
    """One search in MLflow, where its own rules say: ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME`` or ``_ID``.

    Nothing of the data goes there: no cell, no name of a class or column, no message that may quote one.
    """

    def __init__(self, folder: Path, task: dict[str, Any]) -> None:
        """task: of the event. A search that was recorded before, and is resumed, goes on in its run.

        Raises `PluginError` where a server would be asked in a search that opens no connection.
        """
        from autotl.predictor.bundle import BUNDLE_FOLDER
        from autotl.runs.folder import REPORT_FILE
        from autotl.runs.run_file import read_run_file

        known = read_run_file(folder)
        self._client = _client(offline=known.request.offline)
        self._experiment = _experiment(self._client)
        self._trials: dict[int, str] = {}  #: MLflow's names of their runs
        self._at_work: set[int] = set()
        if run := self._find(f"tags.`autotl.run` = '{known.id}'"):
            self._run = run[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            nested = self._find(f"tags.`mlflow.parentRunId` = '{self._run}'")
            self._trials = {int(one.data.tags["autotl.trial"]): one.info.run_id for one in nested}
            return
        tags = {
            "autotl.run": known.id,
            "autotl.folder": str(folder),
            "autotl.bundle": str(folder / BUNDLE_FOLDER),
            "autotl.report": str(folder / REPORT_FILE),
        }
        self._run = self._client.create_run(self._experiment, run_name=folder.name, tags=tags).info.run_id
        asked = {"budget_seconds": known.request.budget_seconds, "trials": known.request.trials}
        self._log_settings(
            self._run,
            {name: value for name, value in asked.items() if value is not None}
            | {"seed": known.request.seed, "task": task["task"], "modality": task["modality"]}
            | {"metric": task["metric"], "classes": len(task["classes"])}
            | {f"{part} rows": count for part, count in task["rows"].items()}
            | {f"version of {name}": version for name, version in known.versions.items()},
        )

    def __call__(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "answer":
                self._log(self._run, {"score": data["score"], "latency_ms": 1000 * data["latency"]}, event.at)
                self._client.set_tag(self._run, "autotl.answer", data["models"])
            case "tested":
                self._log(self._run, {"test_score": data["score"]}, event.at)
            case "trial_started" | "trial_continued" if run := self._trials.get(data["trial"]):
                self._at_work.add(data["trial"])
                self._client.update_run(run, status="RUNNING")
            case "trial_started":
                self._begin(data["trial"], data)
            case "progress" if run := self._trials.get(data["trial"]):
                self._log(run, {k: v for k, v in data.items() if k not in {"trial", "permille"}}, data["permille"])
            case "trial_ended" if run := self._trials.get(data["trial"]):
                self._end(data["trial"], data["state"])
                self._log(run, {"seconds": data["seconds"]}, 1000)
                if data["reason_kind"]:
                    self._client.set_tag(run, "autotl.failure", data["reason_kind"])
            case "finished" | "failed":
                for number in list(self._at_work):
                    self._end(number, "cut")
                self._client.set_terminated(self._run, "FINISHED" if event.kind == "finished" else "FAILED")

    def _begin(self, number: int, data: dict[str, Any]) -> None:
        self._at_work.add(number)
        tags = {"mlflow.parentRunId": self._run, "autotl.trial": str(number)}
        run = self._client.create_run(self._experiment, run_name=f"trial {number}", tags=tags).info.run_id
        self._trials[number] = run
        self._log_settings(run, {name: data[name] for name in ("backbone", "strategy", *data["units"])})

    def _end(self, number: int, state: str) -> None:
        run, status = self._trials[number], _STATUS.get(state, "KILLED")
        self._client.set_tag(run, "autotl.state", state)
        if status == "SCHEDULED":
            self._client.update_run(run, status=status)
        else:
            self._client.set_terminated(run, status)
            self._at_work.discard(number)

    def _find(self, what: str) -> list[Any]:
        return list(self._client.search_runs([self._experiment], filter_string=what, max_results=10_000))

    def _log_settings(self, run: str, settings: dict[str, Any]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(run, params=[Param(name, str(value)) for name, value in settings.items()])

    def _log(self, run: str, figures: dict[str, Any], step: float) -> None:
        for name, value in figures.items():
            if isinstance(value, int | float) and math.isfinite(value):
                self._client.log_metric(run, name, value, step=round(step))


def _client(*, offline: bool) -> MlflowClient:
    # what MLflow reports home of its use is a connection that nobody asked AutoTL for
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # which is for events, or for nothing
    import mlflow

    where = mlflow.get_tracking_uri()
    if offline and not _is_here(where):
        server = urlsplit(where).hostname
        raise PluginError(f"this search opens no connection (--offline), and MLflow's place is {server}")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # tells how a database is made
    return mlflow.MlflowClient()


def _is_here(where: str) -> bool:
    """Whether a tracking URI is a place on this machine."""
    parts = urlsplit(where)
    if parts.scheme in {"", "file", "sqlite"}:
        return not where.startswith("databricks")
    return parts.hostname in {"localhost", "127.0.0.1", "::1"}


def _experiment(client: MlflowClient) -> str:
    """The experiment that ``mlflow.start_run`` would take, made where it does not exist."""
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))
