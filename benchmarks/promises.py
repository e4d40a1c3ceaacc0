"""What is promised beside what then happens: ``python3 tasks.py promises --shared FOLDER``.

For each table and budget, what `autotl plan` says and then the search, each in a process of its own with an empty
cache: trials, memory, disk; the time that was used; and whether the reported interval holds the score of the test rows.
Two of the tables are hard on purpose: one's files are slow to read, the other is large.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from contest import apart, machine
from search import HERE, LATE, LEAST_LATE, Data

import autotl
from autotl.budget import parse_budget
from autotl.runs.run_file import read_run_file
from autotl.usage import folder_bytes

#: So far from what happens a forecast may be: trials and bytes, up or down.
TRIALS_WITHIN, BYTES_WITHIN = 1.5, 1.3

#: Of the budget, that is used where more training could help.
USED = 0.85

#: What the file system of the slow table waits for before it opens a file, as one at the other end of a network may.
SECONDS_A_FILE = 0.03

#: Any two sentences of a table in one cell, so many of them: more than the budget looks through.
LARGE_ROWS = 200_000

#: Python runs this first in each process; what opens a picture waits.
SLOW_FILES = f"""
import builtins, io, time

def slow(open_file):
    def opened(path, *arguments, **named):
        if str(path).lower().endswith((".jpg", ".jpeg", ".png")):
            time.sleep({SECONDS_A_FILE})
        return open_file(path, *arguments, **named)
    return opened

builtins.open = io.open = slow(io.open)
"""


@dataclass(frozen=True)
class Case:
    """What a plan said of one search, and what became of it."""

    data: str
    budget: float
    seed: int
    planned: dict[str, float]  #: trials, memory, disk
    happened: dict[str, float]
    seconds: float  #: from process start to its end
    reported: tuple[float, float, float]  #: score and 95 % interval
    score: float | None  #: of the test rows; None where these are not like the others

    def factor(self, what: str) -> float:
        """How far the plan was off, up or down."""
        said, came = max(self.planned[what], 0.5), max(self.happened[what], 0.5)  # which are counts of at least one
        return max(said / came, came / said)

    @property
    def late(self) -> bool:
        return self.seconds - self.budget > max(LATE * self.budget, LEAST_LATE)

    @property
    def held(self) -> bool:
        return self.score is not None and self.reported[1] <= self.score <= self.reported[2]


def run(data: Data, budget: float, seed: int, environment: dict[str, str]) -> Case:
    """The two commands as the README has them, but for caches of their own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def call(command: str, *arguments: object) -> tuple[float, str]:
            words = ["-m", "autotl.cli.main", command, "--data", data.folder / "train.csv", "--models", data.models]
            began = time.monotonic()
            answer = subprocess.run(
                [sys.executable, *map(str, [*words, "--seed", seed, *arguments])],
                env=apart(folder / command) | environment, check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            return time.monotonic() - began, answer.stdout

        (outlook,) = json.loads(call("plan", "--what-if", f"{budget:.0f}s", "--json")[1])
        seconds, _ = call("search", "--budget", f"{budget:.0f}s", "--out", folder / "run", "--quiet")
        events = [json.loads(line) for line in (folder / "run" / "events.jsonl").read_text("utf-8").splitlines()]
        happened = {
            "trials": sum(event["kind"] == "trial_started" for event in events),
            "memory": read_run_file(folder / "run").memory,
            "disk": folder_bytes(folder / "run") + folder_bytes(folder / "search"),
        }
        planned = {name: outlook[name] for name in ("trials", "memory")}
        planned["disk"] = outlook["run_folder"] + outlook["cache"]
        predictor = autotl.load(folder / "run")
        test, found = data.folder / "test.csv", (predictor.card.score, *predictor.card.interval)
        score = predictor.evaluate(test).score if test.is_file() else None
        return Case(data.name, budget, seed, planned, happened, seconds, found, score)


def large(data: Data, folder: Path) -> Data:
    """A table of texts that nobody reads to the end in this time; labels are those of the first of two sentences.

    Each of them is there many times, so that what is learned by heart scores well: there are no test rows.
    """
    with (data.folder / "train.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    pairs = ((f"{text} {other}", label) for (other, _), (text, label) in product(rows, rows))
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *(pair for pair, _ in zip(pairs, range(LARGE_ROWS), strict=False))])
    return replace(data, name=f"{data.name}, large", folder=folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/ and zoo/")
    parser.add_argument("--data", nargs="*", default=["flowers", "hymenoptera", "trec6", "sms-spam"])
    parser.add_argument("--slow", nargs="*", default=["flowers"], help="tables of pictures, to be read slowly, too")
    parser.add_argument("--large", nargs="*", default=["sst2"], help="tables of texts, to be made large")
    parser.add_argument("--budgets", nargs="*", default=["1m", "2m"], help="such as 20s 5m 20m")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--out", type=Path, default=HERE / "promises.json", help="where to write the cases")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(SLOW_FILES, encoding="utf-8")
        plain: dict[str, str] = {}
        slow = {"PYTHONPATH": os.pathsep.join(filter(None, [name, os.environ.get("PYTHONPATH")]))}
        tables = [(Data.of(options.shared, data), plain) for data in options.data]
        for data in options.slow:
            tables.append((replace(Data.of(options.shared, data), name=f"{data}, slow"), slow))
        for data in options.large:
            (place := folder / data).mkdir()
            tables.append((large(Data.of(options.shared, data), place), plain))
        cases = []
        for (data, environment), budget, seed in product(tables, map(parse_budget, options.budgets), options.seeds):
            cases.append(case := run(data, budget, seed, environment))
            print(_line(case), flush=True)
            _write(cases, options.out)
    _sum_up(cases)


def _line(case: Case) -> str:
    pairs = [
        f"{name} {case.planned[name] / unit:.0f} / {case.happened[name] / unit:.0f} (x{case.factor(name):.2f})"
        for name, unit in (("trials", 1), ("memory", 1e6), ("disk", 1e6))
    ]
    score, low, high = case.reported
    told = f"reported {score:.4f} ({low:.4f} to {high:.4f})"
    if case.score is not None:
        told += f", test {case.score:.4f}{'' if case.held else ', OUTSIDE'}"
    spent = f"{case.seconds / case.budget:.1%} used{', LATE' if case.late else ''}"
    return f"{case.data:16s} {case.budget:5.0f} s, seed {case.seed}, {spent}: {', '.join(pairs)}; {told}"


def _write(cases: Sequence[Case], path: Path) -> None:
    found: list[dict[str, Any]] = [asdict(case) for case in cases]
    path.write_text(json.dumps({"machine": machine(), "cases": found}, indent=1) + "\n", encoding="utf-8")


def _sum_up(cases: Sequence[Case]) -> None:
    for name, within in (("trials", TRIALS_WITHIN), ("memory", BYTES_WITHIN), ("disk", BYTES_WITHIN)):
        factors = [case.factor(name) for case in cases]
        near = sum(factor <= within for factor in factors)
        print(
            f"plan and search: {name} within a factor of {within} in {near} of {len(cases)}, "
            f"{statistics.median(factors):.2f} in the median, {max(factors):.2f} at most"
        )
    over, least = max(case.seconds - case.budget for case in cases), min(case.seconds / case.budget for case in cases)
    print(
        f"late {sum(case.late for case in cases)} of {len(cases)}, at most {over:.1f} s over; "
        f"{least:.1%} of the budget used at least, {USED:.0%} or more in "
        f"{sum(case.seconds >= USED * case.budget for case in cases)}"
    )
    if apart_from_it := [case.reported[0] - case.score for case in cases if case.score is not None]:
        print(
            f"the interval held the test score in {sum(case.held for case in cases)} of {len(apart_from_it)}; "
            f"{100 * statistics.mean(apart_from_it):+.1f} points too high in the mean"
        )


if __name__ == "__main__":
    main()
