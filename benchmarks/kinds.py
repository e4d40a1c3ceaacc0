"""Numbers, labels and pairs of texts: ``python3 tasks.py kinds [--shared FOLDER]``.

A whole search of each beside the best head on frozen features of a backbone, both on all test rows; for
pairs of sentences also beside the cosine of the frozen encoder. In the end, how many new rows 90 % intervals hold, over
random splits of the dials.
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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from contest import apart, machine
from material import HERE, text_candidate

import autotl
from autotl.data.inspection import inspect_table, read_inputs
from autotl.data.roles import Overrides
from autotl.data.tables import read_table
from autotl.data.task import Task, encode_targets
from autotl.features.frozen import FrozenBackbone
from autotl.features.heads import choose_penalty, fit_head, ridge_leave_one_out
from autotl.features.rows import EncodedRows
from autotl.features.speed import SettledSpeeds
from autotl.features.store import FeatureStore
from autotl.kinds.labels import thresholds
from autotl.kinds.mixing import activated
from autotl.plugins.contracts import Candidate, ZooContext
from autotl.plugins.manager import plugins
from autotl.predictor import metrics
from autotl.predictor.predictor import Predictions

EXAMPLES = HERE.parent / "examples"


@dataclass(frozen=True)
class Case:
    """A table, and what is asked of it."""

    name: str
    folder: Path  #: of train.csv and test.csv
    models: Path
    metric: str  #: that is told
    text: tuple[str, ...] = ()


def cases(shared: Path | None, folder: Path) -> list[Case]:
    """Those that there is something for; examples are made in `folder`."""
    encoder = Path(text_candidate().location)
    for example in ("dials/make_images.py", "topics/make_table.py"):
        subprocess.run([sys.executable, EXAMPLES / example], cwd=folder, check=True)
    found = [Case("topics, any of 20 labels", folder / "topics", encoder, "macro_f1")]
    if shared:
        pairs = shared / "data" / "sts-pairs"
        found += [
            Case("dials, a number from a picture", folder / "dials", shared / "zoo", "r2"),
            Case("sts, a number from a pair of sentences", pairs, encoder, "spearman"),
            Case("sts, a number from both as one text", pairs, encoder, "spearman", ("sentence1", "sentence2")),
        ]
    return found


def search(case: Case, budget: str, seed: int, out: Path) -> dict[str, float]:
    """What a search came to on the test rows, and what it had said."""
    asked = ["--text", *case.text] if case.text else []
    command = [
        sys.executable, "-m", "autotl.cli.main", "search", "--data", case.folder / "train.csv", "--models", case.models,
        "--budget", budget, "--seed", str(seed), "--out", out, "--quiet", *asked,
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as cache:
        subprocess.run(command, env=apart(Path(cache)), check=True)
    model = autotl.load(out)
    found = model.evaluate(case.folder / "test.csv")
    answers = {"test": found.scores[case.metric], f"test {found.metric}": found.score, "said": model.card.score}
    if not model.task.classes:
        table = read_table(case.folder / "test.csv")
        targets, _ = encode_targets(table, model.task)
        truth = model.told(Predictions(targets, {}))
        around = model.predict_interval(case.folder / "test.csv", 0.9)[:, 0]
        answers["held by 90 % intervals"] = float(((around[:, 0] <= truth) & (truth <= around[:, 1])).mean())
    return answers


def beside(case: Case, seed: int) -> dict[str, float]:
    """A head on frozen features, and for pairs the cosine."""
    inspection = inspect_table(case.folder / "train.csv", Overrides(text=case.text or None))
    task, test = inspection.task, read_table(case.folder / "test.csv")
    inputs = read_inputs(inspection.table, task)
    cells = [inputs[row] for row in inspection.kept] + read_inputs(test, task)
    (targets, _), rows = encode_targets(test, task), len(inspection.kept)
    every = {}
    for family in plugins().families_for(task.modality):
        for candidate in family.candidates(ZooContext((case.models,))):
            if candidate.source == "folder":
                every[candidate.key] = features(candidate, cells, task)
    best = max(every, key=lambda key: ridge_leave_one_out(task, every[key][:rows], inspection.targets).score)
    train, new = every[best][:rows], every[best][rows:]
    found = {f"a head on {best}": head_score(task, train, inspection.targets, new, targets, case.metric, seed)}
    if task.modality == "text_pair":
        towers = next(values for key, values in every.items() if "towers" in key)
        half = towers.shape[1] // 4  # u, v, |u - v| and u * v
        one, other = towers[rows:, :half], towers[rows:, half : 2 * half]
        cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
        found["cosine"] = metrics.score(task, targets, cosine[:, None], metric=case.metric)
    return found


def features(candidate: Candidate, cells: list[object], task: Task) -> np.ndarray:
    """``[rows, width] float32`` of a frozen backbone."""
    family, store, device = plugins().family(candidate.family), FeatureStore(None), torch.device("cpu")
    sample = [cells[row] for row in np.random.default_rng(0).permutation(len(cells))[:256]]
    rows = EncodedRows(family.encoder(candidate, sample), cells, modality=task.modality, store=store)
    readable = rows.readable(np.arange(len(cells)))
    frozen = FrozenBackbone(candidate, family, rows, device=device, speeds=SettledSpeeds(device), store=store)
    frozen.calibrate(readable[:64])
    return frozen.features(readable)


def head_score(
    task: Task, train: np.ndarray, targets: np.ndarray, new: np.ndarray, truth: np.ndarray, metric: str, seed: int
) -> float:
    """Of a head with its penalty chosen on a fifth of the rows; where it decides by thresholds, these too."""
    penalty = choose_penalty(task, train, targets, seed)
    answers = activated(fit_head(task, train, targets, penalty).logits(new), task.rules.activation)
    decided = None
    if not task.rules.exclusive and task.classes:
        order = np.random.default_rng(seed).permutation(len(train))
        inner, outer = order[len(order) // 5 :], order[: len(order) // 5]
        head = fit_head(task, train[inner], targets[inner], penalty)
        decided = answers >= thresholds(targets[outer], activated(head.logits(train[outer]), task.rules.activation))
    return metrics.score(task, truth, answers, metric=metric, decided=decided)


def split_anew(folder: Path, seed: int, out: Path, *, test: int = 150) -> Path:
    """`out` with all rows of a folder, as many of them as `test` says, drawn at random, to test on."""
    shutil.copytree(folder, out)
    rows = pd.concat([pd.read_csv(folder / name) for name in ("train.csv", "test.csv")], ignore_index=True)
    order = np.random.default_rng(seed).permutation(len(rows))
    rows.iloc[order[:test]].to_csv(out / "test.csv", index=False)
    rows.iloc[order[test:]].to_csv(out / "train.csv", index=False)
    return out


def over_splits(case: Case, budget: str, splits: int, folder: Path) -> list[float]:
    """The share of new rows that 90 % intervals hold, for each of as many random splits, searched in `folder`."""
    print(f"\nintervals: new rows of {case.folder.name} that 90 % intervals hold, {budget} for each split", flush=True)
    held = []
    for seed in range(splits):
        parted = replace(case, folder=split_anew(case.folder, seed, folder / f"split-{seed}"))
        run = search(parted, budget, seed, folder / f"split-run-{seed}")
        held.append(run["held by 90 % intervals"])
        print(f"  {held[-1]:.3f}, {case.metric} {run['test']:.3f}", flush=True)
    print(f"  in the mean {statistics.mean(held):.3f}", flush=True)
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, help="folder with data/ and zoo/; without it, only what can be made")
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--splits", type=int, default=10, help="searches of random splits of the dials")
    parser.add_argument("--split-budget", default="30s", help="of each of these")
    parser.add_argument("--only", nargs="*", help="words that names of cases begin with")
    parser.add_argument("--out", type=Path, default=HERE / "kinds.json", help="where to write the figures")
    options = parser.parse_args()
    figures: dict[str, object] = {"machine": machine(), "budget": options.budget}

    def wanted(name: str) -> bool:
        return not options.only or name.startswith(tuple(options.only))

    with tempfile.TemporaryDirectory() as folder:
        found = cases(options.shared and options.shared.resolve(), Path(folder))
        for case in found:
            if not wanted(case.name):
                continue
            print(f"\n{case.name}: {case.metric} on the test rows", flush=True)
            others = beside(case, 0)
            runs = [
                search(case, options.budget, seed, Path(folder) / f"{case.name[:4]}-{len(case.text)}-{seed}")
                for seed in range(options.seeds)
            ]
            figures[case.name] = {"others": others, "searches": runs}
            for name, score in others.items():
                print(f"  {name:44s} {score:.3f}", flush=True)
            for name in runs[0]:
                values = [run.get(name, math.nan) for run in runs]
                print(f"  {'search, ' + name:44s} {', '.join(f'{value:.3f}' for value in values)}", flush=True)
        dials = next((case for case in found if case.folder.name == "dials"), None)
        if dials and wanted("intervals"):
            figures["intervals"] = over_splits(dials, options.split_budget, options.splits, Path(folder))
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
