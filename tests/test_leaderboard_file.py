"""The leaderboard's file: it follows the run, costs next to nothing, and is whole at the end."""

from __future__ import annotations

import csv

from autotl.events import Event
from autotl.search.disk import Disk
from autotl.search.leaderboard_file import LeaderboardFile


def one_trial(number):
    started = {"trial": number, "backbone": "tiny/one", "strategy": "finetune", "units": {}, "planned_seconds": 1.0}
    yield Event(number, "trial_started", started)
    ended = {"trial": number, "state": "complete", "score": 0.5, "seconds": 1.0, "reason": "", "reason_kind": ""}
    yield Event(number + 0.5, "trial_ended", ended)


def written(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        return [row["trial"] for row in csv.DictReader(file)]


def test_it_has_the_first_trial_at_once_and_all_of_them_at_the_end(tmp_path):
    file = LeaderboardFile(tmp_path, Disk(tmp_path), [*one_trial(0)])  # an earlier process's
    for event in one_trial(1):
        file(event)
    assert written(tmp_path) == ["0", "1"]
    times = []
    for number in range(2, 200):
        for event in one_trial(number):
            file(event)
        times.append((tmp_path / "leaderboard.csv").stat().st_mtime_ns)
    assert len(set(times)) < 20  # of 198
    file.write()
    assert len(written(tmp_path)) == 200
    assert len(file.events) == 400
