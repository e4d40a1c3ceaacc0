"""Whether a training from stored states is the training through the frozen stages."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autotl.features.heads import LinearHead
from autotl.features.store import FeatureStore, stored_collections
from autotl.plugins.contracts import Candidate, ModelFamily
from autotl.testing.bench import Bench
from autotl.testing.promises import expect
from autotl.training.loop import Plan, train
from autotl.training.model import Classifier

#: Two roundings of the same sums; what a state forgot on its way through the store is larger by far.
TOLERANCE = 1e-4


def check_stored_states(
    family: ModelFamily, candidate: Candidate, cells: Sequence[Any], *, stages: int, steps: int = 20
) -> None:
    """Training above `stages` frozen stages gives the same weights from stored states as through these stages.

    cells: eight or more readable ones, of different lengths where they are texts. Without augmentation, in fp32.
    Raises `BrokenPromise` naming the weight that differs by more than `TOLERANCE`.
    """
    thing = f"{candidate.key}, {stages} stages frozen"
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        stored = _trained(family, candidate, cells, stages, steps, store)
        store.flush()
        kinds = {kept.about["kind"] for kept in stored_collections(Path(folder))}
        expect("states" in kinds, thing, "the output of frozen stages can be stored", f"{', '.join(sorted(kinds))}")
        passed = _trained(family, candidate, cells, stages, steps, FeatureStore(None))
    for name, weight in passed.state_dict().items():
        difference = float((weight.float() - stored.state_dict()[name].float()).abs().max()) if weight.numel() else 0.0
        expect(
            difference <= TOLERANCE, thing, "trains from stored states as through its stages",
            f"{name} differs by {difference:.2g}",
        )  # fmt: skip


def _trained(
    family: ModelFamily, candidate: Candidate, cells: Sequence[Any], stages: int, steps: int, store: FeatureStore
) -> Classifier:
    """A model after so many steps in fp32; a store without a disk has no room for states."""
    bench = Bench(family, candidate, cells, [number % 2 for number in range(len(cells))], store=store)
    trial = bench.trial({})
    size = len(bench.train) // 2
    plan = Plan(
        epochs=steps * size / len(bench.train),
        batch_size=size,
        learning_rate=1e-3,
        layer_decay=1.0,
        weight_decay=0.01,
        schedule="constant-cooldown",
        frozen_stages=stages,
        augment=0.0,
    )
    backbone = family.load(candidate)
    random = np.random.default_rng(0)
    head = LinearHead(0.1 * random.standard_normal((backbone.width, 2)).astype(np.float32), np.zeros(2, np.float32))
    model = Classifier(backbone, head)
    for _ in train(model, trial, plan):
        pass
    return model
