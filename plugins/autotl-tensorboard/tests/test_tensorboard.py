"""What TensorBoard would show of a run: read back from the files that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_runs import files_with_secrets
from run_folders import events

from autotl.testing import check_event_listener, check_plugin


def read(folder: Path) -> list[tuple[str, int, object]]:
    """(tag, step, value) of all files in a folder, in the order in which they were written."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns):
        for event in LegacyEventFileLoader(str(path)).Load():
            found += [(value.tag, event.step, value) for value in event.summary.value]
    return found


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(step, value.simple_value) for found, step, value in read(folder) if found == tag]


def settings(folder: Path) -> dict[str, object]:
    """Of a trial, as the page of hyperparameters has them."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    (given,) = [value for tag, _, value in read(folder) if tag == "_hparams_/session_start_info"]
    started = HParamsPluginData.FromString(given.metadata.plugin_data.content).session_start_info
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in started.hparams.items()}


def test_it_keeps_its_contracts(installed):
    check_plugin("tensorboard")
    check_event_listener("tensorboard")


@pytest.mark.slow
def test_each_trial_has_its_curve_and_settings_in_the_runs_folder(run):
    started = {event["trial"]: event for event in events(run, "trial_started")}
    assert sorted(started) == [0, 1, 2]
    for number, event in started.items():
        folder = run / "tensorboard" / f"trial-{number:04d}"
        told = [(e["permille"], e["score"]) for e in events(run, "progress") if e["trial"] == number]
        assert [step for step, _ in curve(folder, "score")] == [permille for permille, _ in told]
        assert [score for _, score in curve(folder, "score")] == pytest.approx([score for _, score in told])
        expected = {name: event[name] for name in ("backbone", "strategy", *event["units"])}
        found = settings(folder)
        assert found == {n: pytest.approx(v) if isinstance(v, float | int) else v for n, v in expected.items()}


@pytest.mark.slow
def test_the_answers_score_is_there_after_resuming_too(run):
    told = [event["score"] for event in events(run, "answer")]
    found = curve(run / "tensorboard", "answer/score")
    assert [score for _, score in found] == pytest.approx(told)
    assert [step for step, _ in found] == sorted(step for step, _ in found)


@pytest.mark.slow
def test_nothing_of_the_data_is_in_it(run):
    assert files_with_secrets(run / "tensorboard") == []
    assert "run.json" in files_with_secrets(run)  # where the classes are: they would be found
