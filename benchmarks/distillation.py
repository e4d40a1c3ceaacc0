"""Students with and without a teacher: ``python3 tasks.py distillation --shared FOLDER``.

The teacher is what a search makes of the larger network, as people run it. Then the smaller one is fine-tuned twice by
the published recipe, with the same seed and in the same time: alone, and learning from the teacher, whose answers are
part of that time. Images: MobileNetV2-1.0 to 0.35 on flowers; texts: MiniLM to its own first three layers on trec6.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from contest import apart, machine
from decoys import text_backbones
from material import HERE, Bench, Table, candidates, read_table, text_candidate
from screening import DATA

from autotl.budget import Clock, parse_budget
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Candidate, Value
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import BundleCard, find_bundle, read_card
from autotl.predictor.predictor import Predictor
from autotl.runs.folder import RUN_FILE
from autotl.runs.run_file import read_run_file
from autotl.search.fitting import fit
from autotl.training.settings import Settings

#: Layers that the student of texts has.
LAYERS = 3


@dataclass(frozen=True)
class Case:
    """One student with one seed; accuracies are of test rows."""

    data: str
    seed: int
    method: str  #: such as "dist at 4"
    teacher: float
    alone: float
    taught: float
    times_faster: float  #: than the teacher, for a row by itself


def networks(name: str, shared: Path, folder: Path) -> tuple[Candidate, Candidate]:
    """Teacher and student."""
    if DATA[name] == "image":
        small, large = sorted(candidates("timm", shared / "zoo"), key=lambda candidate: candidate.parameters)
        return large, small
    text_backbones(folder)
    (student,) = candidates("transformers", folder / f"minilm-first-{LAYERS}")
    return text_candidate(), student


def teach(table: Table, candidate: Candidate, seed: int, budget: str, run: Path) -> Path:
    """A run of this network on the table, found or made."""
    finished = (run / RUN_FILE).is_file() and (known := read_run_file(run)).state == "finished"
    if not finished or known.request.budget_seconds != parse_budget(budget):
        shutil.rmtree(run, ignore_errors=True)
        command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", table.path, "--seed", seed]
        command += ["--models", candidate.location, "--budget", budget, "--quiet", "--out", run]
        command += ["--metric", "accuracy"]
        environment = apart(run.with_name(f"{run.name}-cache"))
        subprocess.run([str(part) for part in command], env=environment, check=True)
    return run


def recipes(bench: Bench, seconds: float | None, length: float) -> dict[str, tuple[str, Mapping[str, Value]]]:
    """Strategy and settings by what they are called: fine-tuning alone first, then with each of the losses."""
    space = bench.space(math.inf if seconds is None else bench.passes(seconds))
    context = replace(space.context(bench.candidate.key), teacher=True)
    usual = {
        regularizer.name: regularizer.usual(context)
        for regularizer in plugins().regularizers
        if regularizer.strengths(context)
    }
    published = {**usual, **plugins().strategy("finetune").portfolio(context)[0], "epochs_multiplier": length}
    found: dict[str, tuple[str, Mapping[str, Value]]] = {"alone": ("finetune", published)}
    for settings in plugins().strategy("distill").portfolio(context):
        loss, temperature = settings["distillation_loss"], settings["distillation_temperature"]
        found[f"{loss} at {temperature:g}"] = "distill", {**usual, **settings, "epochs_multiplier": length}
    return found


def train(
    bench: Bench, strategy: str, settings: Mapping[str, Value], teacher: Path, seed: int, seconds: float | None,
    test: Table,
) -> tuple[float, float]:  # fmt: skip
    """Test accuracy, and the seconds of one row by itself; rows are decoded and the probe is fitted before."""
    frozen = bench.look(FeatureStore(bench.cache))
    trial = bench.trial(frozen)
    trial.settings, trial.seed, trial.teacher = Settings(settings), seed, teacher
    trial.probes.penalty_and_head(frozen)
    trial.clock, trial.fill_time = Clock(seconds or math.inf), seconds is not None
    for _ in fit(trial, strategy):
        pass
    return bench.accuracy(trial, test), frozen.latency(test.cells[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/ and zoo/")
    parser.add_argument("--data", nargs="*", default=["flowers", "trec6"], choices=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="where to begin counting (default: 0)")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each student's training (default: 120)")
    parser.add_argument(
        "--length", type=float, help="steps in place of seconds, in lengths of the recipe: for a machine that is busy"
    )
    parser.add_argument("--teacher-budget", default="5m", help="of the search that makes a teacher (default: 5m)")
    parser.add_argument("--teachers", type=Path, help="folder of teachers' runs, to be found there the next time")
    parser.add_argument("--out", type=Path, default=HERE / "distillation.json", help="where to write the cases")
    options = parser.parse_args()
    seconds = None if options.length else options.seconds
    cases: list[Case] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.data:
            folder, modality = options.shared / "data" / name, DATA[name]
            table, test = (read_table(folder / f"{part}.csv", modality, modality, name) for part in ("train", "test"))
            large, small = networks(name, options.shared, Path(temporary) / f"{name}-networks")
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                place = (options.teachers or Path(temporary)) / f"{name}-{seed}"
                teacher = teach(table, large, seed, options.teacher_budget, place)
                bench = Bench(small, table, cache=Path(temporary) / f"{name}-students")
                if seed == options.first_seed:  # nobody counts it: precisions are raced in it
                    compare(bench, teacher, test, seed, seconds, options.length or 1.0)
                new = compare(bench, teacher, test, seed, seconds, options.length or 1.0)
                print("\n".join(map(described, new)), flush=True)
                cases += new
                told = {"machine": machine(), "seconds": seconds, "length": options.length}
                told["cases"] = [asdict(case) for case in cases]
                options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    conclude(cases)


def compare(bench: Bench, teacher: Path, test: Table, seed: int, seconds: float | None, length: float) -> list[Case]:
    """One student alone, and with each way to learn from the teacher."""
    card: BundleCard = read_card(find_bundle(teacher))
    best = Predictor(teacher).evaluate(test.path)
    accuracy = best.scores["accuracy"]
    alone, cases = math.nan, []
    for method, (strategy, settings) in recipes(bench, seconds, length).items():
        reached, latency = train(bench, strategy, settings, teacher, seed, seconds, test)
        if strategy == "finetune":
            alone = reached
            continue
        cases.append(Case(bench.table.name, seed, method, accuracy, alone, reached, card.latency / latency))
    return cases


def described(case: Case) -> str:
    return (
        f"{case.data:8s} seed {case.seed}  teacher {case.teacher:.4f}  alone {case.alone:.4f}  {case.method} "
        f"{case.taught:.4f} ({100 * (case.taught - case.alone):+.1f})  {case.times_faster:.1f} times as fast"
    )


def conclude(cases: list[Case]) -> None:
    """Means over seeds, and the standard error of what the teacher adds, in points."""
    print("| | teacher | alone | with it | added | times as fast |\n|---|---|---|---|---|---|")
    for data, method in dict.fromkeys((case.data, case.method) for case in cases):
        own = [case for case in cases if (case.data, case.method) == (data, method)]
        added = [100 * (case.taught - case.alone) for case in own]
        error = statistics.stdev(added) / math.sqrt(len(added)) if len(added) > 1 else math.nan
        means = (statistics.mean(getattr(case, part) for case in own) for part in ("teacher", "alone", "taught"))
        faster = statistics.mean(case.times_faster for case in own)
        print(
            f"| {data}, {method} |"
            + "|".join(f" {mean:.4f} " for mean in means)
            + f"| {statistics.mean(added):+.1f} ± {error:.1f} | {faster:.1f} |"
        )


if __name__ == "__main__":
    main()
