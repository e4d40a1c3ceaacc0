"""Bundles of networks that nobody trained, for tests of what comes after a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autotl.data.task import InputColumn, Task
from autotl.features.heads import LinearHead
from autotl.plugins.contracts import Candidate, ModelFamily
from autotl.predictor.bundle import BundleCard, Member, commit
from autotl.training.model import Classifier, save_model


def make_bundle(folder: Path, family: ModelFamily, candidate: Candidate, sample=(), classes=("a", "b", "c")) -> Path:
    """A bundle in `folder` whose head is drawn by chance."""
    backbone, random = family.load(candidate), np.random.default_rng(0)
    weight = random.normal(size=(backbone.width, len(classes))).astype(np.float32)
    model = Classifier(backbone, LinearHead(weight, np.zeros(len(classes), np.float32)))
    save_model(model, family, family.encoder(candidate, list(sample)), folder / "model")
    member = Member(
        folder="0001", family=family.name, backbone=candidate.key, licence="none", strategy="probe", settings={},
        trial="head",
    )  # fmt: skip
    column = InputColumn(name=family.modality, modality=family.modality)
    card = BundleCard(
        weights="0001", members=(member,), score=0.5, optimism=0.0, standard_error=0.1, interval=(0.4, 0.6),
        chosen_among=1, validation_rows=5, training_rows=9, versions={}, created="",
        task=Task(target="label", kind="multiclass", classes=classes, inputs=(column,), metric="accuracy"),
    )  # fmt: skip
    commit(folder / "best", {"0001": folder / "model"}, card)
    return folder / "best"
