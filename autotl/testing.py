"""Checks that a plugin keeps its contract, for the plugin's own tests."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autotl.budget import Clock
from autotl.features.frozen import FrozenBackbone
from autotl.features.heads import LinearHead
from autotl.features.rows import EncodedRows
from autotl.features.speed import Precision, Speed, SpeedBook
from autotl.features.store import FeatureStore, stored_collections
from autotl.plugins.contracts import Candidate, ModelFamily
from autotl.training.loop import Plan, train
from autotl.training.model import Classifier
from autotl.training.settings import Settings
from autotl.training.trial import ProbeHeads, Trial

#: Two roundings of the same sums; what a state forgot on its way through the store is larger by far.
TOLERANCE = 1e-4


class _OnlyExact(SpeedBook):
    """Says of every pass that fp32 is best."""

    def race(self, key: str, options: Sequence[Precision], step: Any, *, rows: int) -> Speed:
        seconds = step(options[0]) / rows
        return Speed(options[0], seconds, seconds)


def check_stored_states(
    family: ModelFamily, candidate: Candidate, cells: Sequence[Any], *, stages: int, steps: int = 20
) -> None:
    """Training above `stages` frozen stages gives the same weights from stored states as through these stages.

    cells: eight or more readable ones, of different lengths where they are texts. Without augmentation, in fp32.
    Raises `AssertionError` naming the weight that differs by more than `TOLERANCE`.
    """
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        stored = _trained(family, candidate, cells, stages, steps, store)
        store.flush()
        kinds = {kept.about["kind"] for kept in stored_collections(Path(folder))}
        assert "states" in kinds, f"{candidate.key}: nothing was stored"
        passed = _trained(family, candidate, cells, stages, steps, FeatureStore(None))
    for name, weight in passed.state_dict().items():
        difference = float((weight.float() - stored.state_dict()[name].float()).abs().max()) if weight.numel() else 0.0
        assert difference <= TOLERANCE, f"{candidate.key}, {stages} stages frozen: {name} differs by {difference:.2g}"


def _trained(
    family: ModelFamily, candidate: Candidate, cells: Sequence[Any], stages: int, steps: int, store: FeatureStore
) -> Classifier:
    """A model after so many steps in fp32; a store without a disk has no room for states."""
    rows = EncodedRows(family.encoder(candidate, cells), cells, modality=candidate.modality, store=store)
    speeds = _OnlyExact(Path())
    frozen = FrozenBackbone(candidate, family, rows, device=torch.device("cpu"), speeds=speeds, store=store)
    train_rows = rows.readable(np.arange(len(cells)))
    labels = np.arange(len(cells)) % 2
    trial = Trial(
        settings=Settings({}),
        frozen=frozen,
        probes=ProbeHeads(labels, train_rows, 2, 0),
        train=train_rows,
        labels=labels,
        classes=2,
        seed=0,
        clock=Clock(),
    )
    size = len(train_rows) // 2
    plan = Plan(
        epochs=steps * size / len(train_rows),
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
