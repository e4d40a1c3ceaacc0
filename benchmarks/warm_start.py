"""A second search on the same data, in a new process, beside the first: seconds to its first bundle and first trial."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contest import Result, apart
from material import Table

#: Pairs of a first and a second search.
PAIRS = 3


def second_search(table: Table, models: Path) -> list[Result]:
    """Each pair starts with an empty cache. A bag of words needs none, so of texts the first bundle says little."""
    found = []
    for _ in range(PAIRS):
        with tempfile.TemporaryDirectory() as folder:
            found.append([_seconds(table, models, Path(folder), name) for name in ("first", "second")])
    results = []
    for number, what in enumerate(("bundle", "trial")):
        first, second = (statistics.median(pair[search][number] for pair in found) for search in (0, 1))
        medians = {"first search": first, "second search": second}
        note = "from process start; new processes"
        results.append(Result(f"first {what}, {table.name}", "first search", medians, 1, note))
    return results


def _seconds(table: Table, models: Path, folder: Path, name: str) -> tuple[float, float]:
    """Until the first bundle stands, and until trials begin, where the search is ended: what it saw is stored then."""
    run = folder / name
    command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", table.path, "--models", models]
    environment = apart(folder / "cache")
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--budget", "5m", "--quiet", "--out", run], env=environment)
    bundle = 0.0
    try:
        while not _trials_began(run / "events.jsonl"):
            if process.poll() is not None:
                raise RuntimeError(f"the search ended with code {process.returncode} before its first trial")
            if not bundle and (run / "best" / "bundle.json").exists():
                bundle = time.perf_counter() - began
            time.sleep(0.02)
        return bundle, time.perf_counter() - began
    finally:
        process.kill()
        process.wait()


def _trials_began(events: Path) -> bool:
    return events.exists() and '"kind": "trial_started"' in events.read_text(encoding="utf-8")
