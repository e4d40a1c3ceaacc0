"""Few texts a class: ``python3 tasks.py few_shot --shared FOLDER``.

Contrastive tuning and plain fine-tuning beside the linear probe of the same encoder, on the same rows, tested on all
test rows. Every seed draws other training rows.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import torch
from contest import machine, show_accuracies
from material import HERE, Bench, Table, read_table, text_candidate
from strategies import sample

from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Value
from autotl.search.fitting import fit
from autotl.training.settings import Settings

#: What all others are compared with.
REFERENCE = "probe"


def first_recipes(bench: Bench) -> dict[str, Mapping[str, Value]]:
    """The settings that a search would try first, by strategy."""
    found: dict[str, Mapping[str, Value]] = {}
    for config in bench.space().portfolio():
        found.setdefault(config.strategy, config.settings)
    return found


def run(strategy: str, settings: Mapping[str, Value], bench: Bench, test: Table, seed: int) -> tuple[float, float]:
    """Test accuracy after all steps of the recipe, and the seconds that they took."""
    frozen = bench.look(FeatureStore(bench.cache))
    trial = bench.trial(frozen)
    trial.settings, trial.seed = Settings(settings), seed
    trial.probes.penalty_and_head(frozen)
    began = time.perf_counter()
    for _ in fit(trial, strategy):
        pass
    seconds = time.perf_counter() - began
    return bench.accuracy(trial, test), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/")
    parser.add_argument("--data", nargs="*", default=["trec6", "sst2"])
    parser.add_argument("--rows-a-class", nargs="*", type=int, default=[8])
    parser.add_argument("--seeds", type=int, default=10, help="draws of the training rows (default: 10)")
    parser.add_argument("--first-seed", type=int, default=0, help="where to begin counting (default: 0)")
    parser.add_argument("--strategies", nargs="*", default=[REFERENCE, "contrastive", "finetune"])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch (default: all cores)")
    parser.add_argument("--out", type=Path, default=HERE / "few_shot.json", help="where to write the accuracies")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as cache:  # one for all: what is known of a row or a speed is the same for each
        for name in options.data:
            folder = options.shared / "data" / name
            whole, test = (read_table(folder / f"{part}.csv", "text", "text", name) for part in ("train", "test"))
            for rows, seed in product(
                options.rows_a_class, range(options.first_seed, options.first_seed + options.seeds)
            ):
                bench = Bench(text_candidate(), sample(whole, rows, seed), cache=Path(cache))
                recipes = first_recipes(bench)
                for strategy in options.strategies:
                    accuracy, seconds = run(strategy, recipes[strategy], bench, test, seed)
                    found.setdefault(f"{name}, {rows} a class", {}).setdefault(strategy, []).append(accuracy)
                    line = f"{name:7s} {rows:3d} a class  seed {seed}  {accuracy:.4f}  {seconds:5.1f} s  {strategy}"
                    print(line, flush=True)
                told = {"machine": machine(), "accuracies": found}
                options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    show_accuracies(found, REFERENCE)


if __name__ == "__main__":
    main()
