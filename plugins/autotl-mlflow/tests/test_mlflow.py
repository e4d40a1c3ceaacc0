"""What MLflow has of a run: read back by its own client."""

from __future__ import annotations

import json
import shutil

import pytest
from recorded_runs import files_with_secrets
from run_folders import events

import autotl
from autotl.events import Event
from autotl.plugins.hookspecs import EventContext
from autotl.plugins.manager import plugins
from autotl.testing import check_event_listener, check_plugin

pytestmark = pytest.mark.slow  # the first of them makes the database, some seconds


def the_run(client):
    (found,) = client.search_runs(["0"], filter_string="tags.`autotl.folder` LIKE '%'")
    return found


def nested(client):
    parent = the_run(client).info.run_id
    found = client.search_runs(["0"], filter_string=f"tags.`mlflow.parentRunId` = '{parent}'")
    return {int(run.data.tags["autotl.trial"]): run for run in found}


def test_it_keeps_its_contracts(installed, database, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(database, tmp_path)}")  # made already
    check_plugin("mlflow")
    check_event_listener("mlflow")


def test_a_search_and_its_resumption_are_one_run(client, run):
    found = the_run(client)
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    tags = found.data.tags
    assert (tags["autotl.bundle"], tags["autotl.report"]) == (str(run / "best"), str(run / "report.html"))
    assert found.data.params["metric"] == "accuracy"
    assert found.data.params["training rows"] == str(events(run, "task")[0]["rows"]["training"])
    assert found.data.metrics["score"] == events(run, "finished")[-1]["score"]
    told = [event["score"] for event in events(run, "answer")]
    assert [metric.value for metric in client.get_metric_history(found.info.run_id, "score")] == told


def test_each_trial_is_a_nested_run_with_its_settings_and_curve(client, run):
    runs = nested(client)
    started = {event["trial"]: event for event in events(run, "trial_started")}
    assert sorted(runs) == sorted(started) == [0, 1, 2]
    for number, event in started.items():
        found = runs[number]
        assert found.data.params == {name: str(event[name]) for name in ("backbone", "strategy", *event["units"])}
        told = [(e["permille"], e["score"]) for e in events(run, "progress") if e["trial"] == number]
        curve = client.get_metric_history(found.info.run_id, "score")
        assert [(metric.step, metric.value) for metric in curve] == told
        (state,) = {e["state"] for e in events(run, "trial_ended") if e["trial"] == number}
        assert (state, found.data.tags["autotl.state"], found.info.status) == ("complete", "complete", "FINISHED")


def test_nothing_of_the_data_is_in_it(run, database):
    assert files_with_secrets(database.parent / "mlruns") == []
    assert not any(name.startswith("mlflow.db") for name in files_with_secrets(database.parent))


def test_a_search_that_opens_no_connection_asks_no_server(installed, run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://192.0.2.1:5000")  # of nobody, by RFC 5737
    hear = plugins().listeners["mlflow"]
    context = EventContext(autotl.__version__, run)
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["request"]["offline"]
    with pytest.raises(autotl.AutoTLError, match=r"opens no connection \(--offline\), .* is 192\.0\.2\.1"):
        hear(context=context, event=Event(0.0, "task", events(run, "task")[0]))
