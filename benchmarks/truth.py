"""What each backbone is worth on a data set: test accuracy after fine-tuning, which screening has no part in."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from material import Bench, Table, candidates, read_table

from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Candidate, Modality
from autotl.search.fitting import fit
from autotl.training.settings import Settings

FAMILIES: dict[Modality, str] = {"image": "timm", "text": "transformers"}


@dataclass(frozen=True)
class Truth:
    """Test accuracy of each backbone by its key, measured on `rows` rows."""

    accuracy: Mapping[str, float]
    rows: int

    @property
    def best(self) -> str:
        return max(self.accuracy, key=self.accuracy.__getitem__)

    @property
    def as_good(self) -> set[str]:
        """The best, and those within a standard error of its accuracy."""
        most = self.accuracy[self.best]
        noise = math.sqrt(most * (1 - most) / self.rows)
        return {key for key, accuracy in self.accuracy.items() if accuracy >= most - noise}


def measure(folder: Path, modality: Modality, backbones: Path, *, rows: int, length: float, known: Path) -> Truth:
    """Fine-tunes each of `backbones` on so many rows of the data set in `folder`, and tests it on the test rows.

    length: of the fine-tuning, in lengths of the recipe. known: accuracies of earlier runs, to which new ones are
    added; what is in there is not measured again.
    """
    train, test = (read_table(folder / f"{part}.csv", modality, modality, folder.name) for part in ("train", "test"))
    chosen = np.random.default_rng(0).permutation(len(train.cells))[:rows]
    train = replace(train, cells=[train.cells[row] for row in chosen], labels=train.labels[chosen])
    kept: dict[str, float] = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    found = {}
    for candidate in candidates(FAMILIES[modality], backbones):
        name = f"{folder.name}, {candidate.key}, {rows} rows, {length:g} of the recipe"
        if name not in kept:
            kept[name] = tuned_accuracy(candidate, train, test, length=length)
            known.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            print(f"{name}: {kept[name]:.4f}", flush=True)
        found[candidate.key] = kept[name]
    return Truth(found, len(test.cells))


def tuned_accuracy(candidate: Candidate, train: Table, test: Table, *, length: float) -> float:
    """On `test`, after the published recipe with all layers trained on all rows of `train`."""
    with tempfile.TemporaryDirectory() as cache:
        bench = Bench(candidate, train, cache=Path(cache))
        frozen = bench.look(FeatureStore(bench.cache))
        trial = bench.trial(frozen)
        space = bench.space()
        (published, *_) = space.portfolio()
        trial.settings = Settings({**published.settings, "epochs_multiplier": length})
        for _ in fit(trial, published.strategy):
            pass
        return bench.accuracy(trial, test)
