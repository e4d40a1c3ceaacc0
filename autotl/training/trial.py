"""Everything that a strategy gets to fit one trial, and where it leaves its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.features.frozen import FrozenBackbone
from autotl.features.heads import USUAL_PENALTY, LinearHead, choose_logistic_penalty, fit_logistic

if TYPE_CHECKING:
    from autotl.budget import Clock
    from autotl.plugins.contracts import Backbone
    from autotl.training.effect import Effect
    from autotl.training.model import Classifier
    from autotl.training.settings import Settings


class ProbeHeads:
    """The logistic head of each frozen backbone on the training rows, fitted when first asked for."""

    def __init__(self, labels: np.ndarray, train: np.ndarray, classes: int, seed: int) -> None:
        self._labels, self._train, self._classes, self._seed = labels, train, classes, seed
        self._heads: dict[str, tuple[float, LinearHead]] = {}

    def penalty_and_head(self, frozen: FrozenBackbone) -> tuple[float, LinearHead]:
        """The penalty that an inner holdout chose, and the head fitted with it."""
        key = frozen.candidate.key
        if key not in self._heads:
            train = frozen.rows.readable(self._train)
            features, labels = frozen.features(train), self._labels[train]
            penalty = choose_logistic_penalty(features, labels, self._classes, self._seed)
            self._heads[key] = penalty, fit_logistic(features, labels, self._classes, penalty)
        return self._heads[key]


@dataclass
class Trial:
    """One trial as its strategy sees it.

    `train` are the indices ``[rows] int64`` of readable training rows; `labels` ``[table rows] int64`` covers the
    whole table. `clock` ends when the trial must; its seconds are infinite when only trials are counted, and
    `fill_time` says that the trial may be longer than its settings say, to the end of its clock.
    `checkpoint` is the file from which the training can be continued, which it writes itself, and `late_checkpoint` the
    one from which its last third can be repeated.
    `seen` are those of `train` whose features are known, None for all.
    `effects` are the regularizers' that are on, and `slowed_by` names those of them that a step takes longer for.
    `balanced` says whether every class counts alike in the metric.
    `teacher` is a bundle to learn from, None where there is none.
    The strategy sets `model` before it first yields.
    """

    settings: Settings
    frozen: FrozenBackbone
    probes: ProbeHeads
    train: np.ndarray
    labels: np.ndarray
    classes: int
    seed: int
    clock: Clock
    fill_time: bool = False
    checkpoint: Path | None = None
    late_checkpoint: Path | None = None
    seen: np.ndarray | None = None
    effects: Sequence[Effect] = ()
    slowed_by: Sequence[str] = ()
    balanced: bool = False
    teacher: Path | None = None
    model: Classifier | None = field(default=None)

    def load_backbone(self, *, pretrained: bool = True) -> Backbone:
        """A backbone of its own to train, with the dropout that its regularizers want. Raises `ZooError`."""
        drop = max((effect.drop for effect in self.effects), default=0.0)
        return self.frozen.family.load(self.frozen.candidate, drop=drop, pretrained=pretrained)

    def starting_head(self) -> LinearHead:
        """The linear probe that a training starts from, of the rows whose features are known.

        In a budget that was too short for a look at all of them, looking first would leave no time to train.
        """
        if self.seen is None:
            return self.probes.penalty_and_head(self.frozen)[1]
        return fit_logistic(self.frozen.features(self.seen), self.labels[self.seen], self.classes, USUAL_PENALTY)

    @property
    def device(self) -> torch.device:
        return self.frozen.device
