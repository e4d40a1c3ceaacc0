"""Every strategy and regularizer beside plain fine-tuning: ``python3 tasks.py strategies --shared FOLDER``.

Each trains the same network on the same rows for the same seconds, and is tested on all test rows. Strategies have
their own first recipe; a regularizer is added to fine-tuning's. `--rows-a-class` keeps so many training rows of each
class, drawn by the seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from contest import machine, show_accuracies
from material import HERE, Bench, Table, candidates, read_table, text_candidate
from screening import DATA

from autotl.budget import Clock
from autotl.features.heads import LinearHead
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Candidate, Modality, Value
from autotl.plugins.manager import plugins
from autotl.search.fitting import fit
from autotl.training.settings import Settings
from autotl.training.trial import Trial

#: What all others are compared with.
REFERENCE = "finetune"

#: All is trained, the head starts at zero instead of the linear probe, and nothing regularizes.
PLAIN = "finetune from a new head, unregularized"


@dataclass(frozen=True)
class Method:
    """A strategy with its settings."""

    name: str
    strategy: str
    settings: Mapping[str, Value]


class NewHead(Trial):
    """As fine-tuning is without a probe before it."""

    def starting_head(self) -> LinearHead:
        width = self.frozen.backbone.width
        return LinearHead.zeros(width, self.outputs)


def methods(bench: Bench, seconds: float) -> list[Method]:
    """All that apply, with the recipes that a search would try first in so much time; the reference first."""
    space, found = bench.space(bench.passes(seconds)), dict[str, Method]()
    for config in space.portfolio():
        if config.strategy not in found:
            found[config.strategy] = Method(config.strategy, config.strategy, config.settings)
    usual = found[REFERENCE].settings
    regularizers = [regularizer for regularizer in plugins().regularizers if regularizer.name in usual]
    off = {regularizer.name: 0.0 for regularizer in regularizers}
    context = space.context(bench.candidate.key)
    for regularizer in regularizers:
        strengths = regularizer.strengths(context)
        assert strengths is not None
        strength = next(option for option in strengths.options if option)
        if usual[regularizer.name]:
            found[f"without {regularizer.name}"] = Method(
                f"without {regularizer.name}", REFERENCE, {**usual, regularizer.name: 0.0}
            )
        else:
            name = f"{regularizer.name} {strength:g}"
            found[name] = Method(name, REFERENCE, {**usual, regularizer.name: strength})
    found[PLAIN] = Method(PLAIN, REFERENCE, {**usual, **off, "frozen_fraction": 0.0})
    return list(found.values())


def run(method: Method, bench: Bench, test: Table, seed: int, seconds: float) -> float:
    """Test accuracy after so many seconds of training, rows decoded and the probe fitted before them."""
    store = FeatureStore(bench.cache)
    frozen = bench.look(store)
    trial = bench.trial(frozen)
    if method.name == PLAIN:
        trial = NewHead(**vars(trial))
    trial.settings, trial.seed = Settings(method.settings), seed
    trial.probes.penalty_and_head(frozen)
    trial.clock, trial.fill_time = Clock(seconds), True
    for _ in fit(trial, method.strategy):
        pass
    return bench.accuracy(trial, test)


def sample(table: Table, rows_a_class: int | None, seed: int) -> Table:
    """So many rows of each class, in random order; all of them without a number."""
    order = np.random.default_rng(seed).permutation(len(table.cells))
    if rows_a_class is not None:
        of_class = [order[table.labels[order] == label][:rows_a_class] for label in np.unique(table.labels)]
        order = np.random.default_rng(seed).permutation(np.concatenate(of_class))
    return replace(table, cells=[table.cells[row] for row in order], labels=table.labels[order])


def backbone(shared: Path, modality: Modality) -> Candidate:
    """The larger of the zoo's networks, or all-MiniLM-L6-v2."""
    if modality == "text":
        return text_candidate()
    return max(candidates("timm", shared / "zoo"), key=lambda candidate: candidate.parameters)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data/ and zoo/")
    parser.add_argument("--data", nargs="*", default=["flowers", "hymenoptera", "trec6", "sst2", "sms-spam"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0, help="where to begin counting (default: 0)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each training")
    parser.add_argument("--rows-a-class", type=int, help="of the training rows (default: all)")
    parser.add_argument("--methods", nargs="*", help="names as the table has them (default: all that apply)")
    parser.add_argument("--out", type=Path, default=HERE / "strategies.json", help="where to write the accuracies")
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for name in options.data:
        modality = DATA[name]
        folder = options.shared / "data" / name
        whole, test = (read_table(folder / f"{part}.csv", modality, modality, name) for part in ("train", "test"))
        with tempfile.TemporaryDirectory() as cache:  # one for all: what is known of speeds is the same for each
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                table = sample(whole, options.rows_a_class, seed)
                bench = Bench(backbone(options.shared, modality), table, cache=Path(cache))
                for method in methods(bench, options.seconds):
                    if options.methods and method.name not in options.methods:
                        continue
                    if seed == options.first_seed:  # nobody counts it: precisions are raced in it
                        run(method, bench, test, seed, options.seconds)
                    accuracy = run(method, bench, test, seed, options.seconds)
                    found.setdefault(name, {}).setdefault(method.name, []).append(accuracy)
                    print(f"{name:12s} seed {seed}  {accuracy:.4f}  {method.name}", flush=True)
                    told = {"machine": machine(), "seconds": options.seconds, "accuracies": found}
                    told["rows a class"] = options.rows_a_class
                    options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    show_accuracies(found, REFERENCE)


if __name__ == "__main__":
    main()
