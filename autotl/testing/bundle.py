"""A bundle that nobody trained, for what takes finished answers: heads of random numbers on backbones as published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.data.task import InputColumn, Task
from autotl.features.heads import LinearHead
from autotl.plugins.contracts import TEXTUAL, Candidate, InputEncoder, Modality, ModelFamily
from autotl.predictor.bundle import BundleCard, Member, commit
from autotl.training.model import Classifier, save_model

if TYPE_CHECKING:
    from autotl.predictor.predictor import Predictor

CLASSES = ("first", "second", "third")


def make_bundle(
    family: ModelFamily,
    candidates: Sequence[Candidate],
    cells: Sequence[Any],
    folder: Path,
    *,
    views: bool = False,
    layered: bool = False,
    classes: Sequence[str] = CLASSES,
) -> Predictor:
    """The bundle in the new folder `folder`: a member for each candidate of an installed family.

    cells: of the input's kind; encoders settle by them, and heads are scaled to them so that answers are neither sure
    nor all alike. views: whether the first candidate answers to each other view of the cells too. layered: whether
    heads see several layers.
    """
    from autotl.features.layers import upper_layers
    from autotl.predictor.predictor import Predictor

    sources: dict[str, tuple[Path, Candidate]] = {}
    for number, candidate in enumerate(candidates):
        plain, encoder = family.load(candidate), family.encoder(candidate, cells)
        rows = [row for row in encoder.encode(cells) if isinstance(row, np.ndarray)]
        backbone = upper_layers(plain, encoder.batch(rows[:1])) if layered else plain
        model = Classifier(backbone, _head(backbone, encoder, rows, len(classes), seed=number))
        for view, seen in enumerate([encoder, *(encoder.views() if views and number == 0 else [])]):
            place = folder / "made" / f"{number}-{view}"
            save_model(model, family, seen, place)
            sources[place.name] = place, candidate
    task = Task(
        targets=("label",),
        kind="multiclass",
        classes=tuple(classes),
        inputs=tuple(InputColumn(name=name, modality=family.modality) for name in _columns(family.modality, cells[0])),
        metric="accuracy",
    )
    commit(folder / "best", {name: place for name, (place, _) in sources.items()}, _card(task, sources))
    return Predictor(folder)


def _columns(modality: Modality, cell: Any) -> tuple[str, ...]:
    """``image``, ``text``; ``text1`` and so on where a cell has several."""
    if isinstance(cell, str):
        return (modality,)
    kind = "text" if modality in TEXTUAL else "image"
    return tuple(f"{kind}{number}" for number in range(1, len(cell) + 1))


def _head(backbone: Any, encoder: InputEncoder, rows: Sequence[np.ndarray], classes: int, *, seed: int) -> LinearHead:
    """Its logits have a deviation of 1 over the rows, and a mean of 0."""
    import torch

    with torch.no_grad():
        features = backbone.pool(backbone(encoder.batch(rows))).numpy()
    weight = np.random.default_rng(seed).standard_normal((backbone.width, classes)).astype(np.float32)
    logits = features @ weight
    weight /= np.maximum(logits.std(0), 1e-3)
    return LinearHead(weight, -(features @ weight).mean(0))


def _card(task: Task, sources: dict[str, tuple[Path, Candidate]]) -> BundleCard:
    shares = np.arange(len(sources), 0, -1) / np.arange(1, len(sources) + 1).sum()
    members = tuple(
        Member(
            folder=name,
            family=candidate.family,
            backbone=candidate.key,
            licence=candidate.licence,
            strategy="none",
            settings={},
            trial=str(number),
            share=float(share),
            temperature=1.2 + 0.3 * number,
        )
        for number, ((name, (_, candidate)), share) in enumerate(zip(sources.items(), shares, strict=True))
    )
    return BundleCard(
        weights="weights",
        task=task,
        members=members,
        temperature=0.9 if len(members) > 1 else 1.0,
        score=0.5,
        optimism=0.0,
        standard_error=0.1,
        interval=(0.3, 0.7),
        chosen_among=len(members),
        validation_rows=10,
        training_rows=10,
        versions={},
        created="2026-01-01T00:00:00Z",
    )
