"""A second search on the same data, in a new process, beside the first: seconds to the first bundle on disk."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import Result
from material import Table

#: Pairs of a first and a second search.
PAIRS = 3


def second_search(table: Table, models: Path) -> Result:
    """Each pair starts with an empty cache."""
    first, second = [], []
    for _ in range(PAIRS):
        with tempfile.TemporaryDirectory() as folder:
            first.append(_seconds_to_bundle(table, models, Path(folder), "first"))
            second.append(_seconds_to_bundle(table, models, Path(folder), "second"))
    medians = {"first search": statistics.median(first), "second search": statistics.median(second)}
    return Result(f"first bundle, {table.name}", "first search", medians, 1, "from process start; new processes")


def _seconds_to_bundle(table: Table, models: Path, folder: Path, name: str) -> float:
    """Of one search, which is ended as soon as its first bundle stands."""
    run = folder / name
    command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", table.path, "--models", models]
    environment = os.environ | {"AUTOTL_CACHE": str(folder / "cache")}
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--budget", "5m", "--quiet", "--out", run], env=environment)
    try:
        while not list(run.glob("best/bundle.json")):
            if process.poll() is not None:
                raise RuntimeError(f"the search ended with code {process.returncode} before it had a bundle")
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        _until_screened(run / "events.jsonl", process)
    finally:
        process.kill()
        process.wait()
    return seconds


def _until_screened(events: Path, process: subprocess.Popen[bytes]) -> None:
    """Until trials begin: what screening saw is in the store then."""
    while process.poll() is None:
        lines = events.read_text(encoding="utf-8").splitlines()[:-1]
        if any(json.loads(line).get("kind") == "trial_started" for line in lines):
            return
        time.sleep(0.05)
