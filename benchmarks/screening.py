"""Screening among decoys: ``python3 tasks.py decoys --shared FOLDER``.

Does the truly best of eight backbones come through? A search is started as people start it, and ended once it has
chosen. Which is truly best is measured apart from that, by fine-tuning (`truth.py`); those within a standard error of
the best are best too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from contest import apart, machine
from decoys import image_backbones, text_backbones
from material import HERE
from truth import Truth, measure

from autotl.events import read_events
from autotl.plugins.contracts import Modality
from autotl.search.ranking import SURVIVORS

DATA: dict[str, Modality] = {
    "flowers": "image",
    "hymenoptera": "image",
    "trec6": "text",
    "sst2": "text",
    "sms-spam": "text",
    "hotel-reviews-zh": "text",
}


@dataclass(frozen=True)
class Case:
    """What screening made of one data set with one seed."""

    data: str
    seed: int
    survivors: Sequence[str]  #: best first
    screened: Mapping[str, float]  #: accuracy of a head on frozen features, of those that were looked at
    seconds: float  #: from process start to the choice

    def hit(self, truth: Truth) -> bool:
        return not truth.as_good.isdisjoint(self.survivors)


def screen(table: Path, backbones: Path, seed: int, budget: str) -> Case:
    """A search in a process of its own with nothing in its cache, ended as soon as it has chosen."""
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "run"
        command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", table, "--models", backbones]
        command += ["--budget", budget, "--seed", seed, "--quiet", "--out", run]
        environment = apart(Path(name) / "cache") | {"HF_HUB_CACHE": f"{name}/hub"}  # no backbone but the eight
        began = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], env=environment, start_new_session=True)
        try:
            while not (survivors := _survivors(run)):
                if process.poll() is not None:
                    raise RuntimeError(f"the search on {table} ended with code {process.returncode} before it chose")
                time.sleep(0.05)
            seconds = time.monotonic() - began
        finally:
            with suppress(ProcessLookupError):  # its worker too, which would finish a trial before it noticed
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        events = read_events(run / "events.jsonl")
    screened = {event.data["backbone"]: event.data["score"] for event in events if event.kind == "screened"}
    return Case(table.parent.name, seed, survivors, screened, seconds)


def _survivors(run: Path) -> list[str]:
    """None before screening is over."""
    path = run / "run.json"
    found: list[str] = json.loads(path.read_text(encoding="utf-8"))["survivors"] if path.is_file() else []
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/ and zoo/")
    parser.add_argument("--data", nargs="*", default=list(DATA), choices=DATA)
    parser.add_argument("--seeds", type=int, default=2, help="searches on each data set (default: 2)")
    parser.add_argument("--budget", default="5m", help="of each search, of which screening gets a fifth (default: 5m)")
    parser.add_argument("--rows", type=int, default=1000, help="that backbones are fine-tuned on (default: 1000)")
    parser.add_argument("--length", type=float, default=1.0, help="of that, in lengths of the recipe (default: 1)")
    parser.add_argument("--known", type=Path, default=HERE / "truth.json", help="accuracies that need no measuring")
    parser.add_argument("--out", type=Path, default=HERE / "screening.json", help="where to write the cases")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    truths: dict[str, Truth] = {}
    cases: list[Case] = []
    with tempfile.TemporaryDirectory() as name:
        backbones: dict[Modality, Path] = {"image": Path(name) / "image", "text": Path(name) / "text"}
        image_backbones(options.shared / "zoo", backbones["image"])
        text_backbones(backbones["text"])
        for data in options.data:
            folder, place = options.shared / "data" / data, backbones[DATA[data]]
            found = [screen(folder / "train.csv", place, seed, options.budget) for seed in range(options.seeds)]
            truths[data] = measure(
                folder, DATA[data], place, rows=options.rows, length=options.length, known=options.known
            )
            cases += found
            for case in found:
                print(_line(case, truths[data]), flush=True)
            _write(cases, truths, options.out)
    _conclude(cases, truths)


def _line(case: Case, truth: Truth) -> str:
    """The best, with all that are as good, beside the survivors; both without the family, which is the same for all."""
    best = ", ".join(_short(key) for key in sorted(truth.as_good, key=lambda key: -truth.accuracy[key]))
    looked = f"{len(case.screened)} of {len(truth.accuracy)} seen in {case.seconds:.0f} s"
    survivors = ", ".join(map(_short, case.survivors))
    return (
        f"{case.data:17s} seed {case.seed}  {'hit ' if case.hit(truth) else 'MISS'}  {looked}  "
        f"survivors: {survivors}  best ({truth.accuracy[truth.best]:.3f}): {best}"
    )


def _short(key: str) -> str:
    return key.partition("/")[2]


def _conclude(cases: Sequence[Case], truths: Mapping[str, Truth]) -> None:
    """Hits, and what makes them cheap: ties, a fourth place, luck."""
    hits = sum(case.hit(truths[case.data]) for case in cases)
    alone = sum(truths[case.data].best in case.survivors for case in cases)
    more = sum(len(case.survivors) > SURVIVORS for case in cases)
    luck = statistics.mean(_luck(truths[case.data]) for case in cases)
    print(
        f"a best backbone came through in {hits} of {len(cases)} (within a standard error of the best is best too), "
        f"the one of highest test accuracy in {alone}; {SURVIVORS} drawn by lot would hit {luck:.0%}; "
        f"{more} times more than {SURVIVORS} came through"
    )


def _luck(truth: Truth) -> float:
    """Chance that `SURVIVORS` drawn by lot have a best one among them."""
    count, others = len(truth.accuracy), len(truth.accuracy) - len(truth.as_good)
    return 1 - math.comb(others, SURVIVORS) / math.comb(count, SURVIVORS)


def _write(cases: Sequence[Case], truths: Mapping[str, Truth], path: Path) -> None:
    found = {
        "machine": machine(),
        "truths": {data: asdict(truth) | {"as good": sorted(truth.as_good)} for data, truth in truths.items()},
        "cases": [asdict(case) | {"hit": case.hit(truths[case.data])} for case in cases],
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
