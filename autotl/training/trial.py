"""Everything that a strategy gets to fit one trial, and where it leaves its model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.features.frozen import FrozenBackbone
from autotl.features.heads import LinearHead, choose_and_fit, choose_penalty, fit_head, fitting_clock
from autotl.plugins.contracts import FEW_ROWS_A_CLASS

if TYPE_CHECKING:
    from autotl.budget import Clock
    from autotl.data.task import Task
    from autotl.plugins.contracts import Backbone
    from autotl.training.effect import Effect
    from autotl.training.model import Classifier
    from autotl.training.settings import Settings


#: Where rows are few, a training starts at a head that is barely one, of so strong a penalty: the probe of few rows has
#: no loss left on them, so features that start at it stay what they are. Test accuracy on trec6 with 64 rows a class,
#: two draws: 0.85 from the probe, 0.92 from such a head (benchmarks/NOTES.md has the others).
BARELY = 10.0

#: Of more classes such a head has too far to go in few steps. Docstrings by package, 20 a class, MiniLM, 300 steps, one
#: seed, right of 25 new ones a class, from the probe and from such a head: 20 classes 0.790 and 0.738 (the probe itself
#: 0.766), 100 classes 0.676 and 0.479 (0.657); 40 classes 0.663 from such a head (the probe itself 0.711).
MOST_CLASSES = 10


class ProbeHeads:
    """The linear heads of each frozen backbone on the training rows, fitted when first asked for."""

    def __init__(
        self,
        task: Task,
        targets: np.ndarray,
        train: np.ndarray,
        seed: int,
        weights: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> None:
        self._task, self._targets, self._train, self._seed = task, targets, train, seed
        self._weights, self._groups = weights, groups
        self._heads: dict[tuple[str, bool], tuple[float, LinearHead]] = {}

    def penalty_and_head(self, frozen: FrozenBackbone, seconds: float = math.inf) -> tuple[float, LinearHead]:
        """The penalty that inner holdouts chose, and the head on the backbone's features fitted with it.

        seconds: as `choose_and_fit` takes them, where it has to be fitted.
        """
        return self._fitted(frozen, seconds, layered=False)

    def layered(self, frozen: FrozenBackbone, seconds: float = math.inf) -> tuple[float, LinearHead]:
        """The same of the head on `FrozenBackbone.layered`: the better model, but no start for a training."""
        return self._fitted(frozen, seconds, layered=frozen.layered.width > frozen.backbone.width)

    def _fitted(self, frozen: FrozenBackbone, seconds: float, *, layered: bool) -> tuple[float, LinearHead]:
        key = frozen.candidate.key, layered
        if key not in self._heads:
            train = frozen.rows.readable(self._train)
            features, targets = frozen.layers(train) if layered else frozen.features(train), self._targets[train]
            weights, groups = (None if of is None else of[train] for of in (self._weights, self._groups))
            self._heads[key] = choose_and_fit(
                self._task, features, targets, self._seed, weights, groups, seconds=seconds
            )
        return self._heads[key]


@dataclass
class Trial:
    """One trial as its strategy sees it.

    `train` are the indices ``[rows] int64`` of readable training rows; `targets` ``[table rows, …]``
    covers the whole table: codes of classes, or numbers, as the kind of the `task` has them.
    `clock` ends when the trial must; its seconds are infinite when only trials are counted, and `fill_time` says that
    the trial may be longer than its settings say, to the end of its clock. `judged_on_the_way`: whether its model is
    looked at before.
    `checkpoint` is the file from which the training can be continued, which it writes itself, and `late_checkpoint` the
    one from which its last third can be repeated.
    `seen` are those of `train` whose features are known, None for all; they are `known` in either case.
    `effects` are the regularizers' that are on, and `slowed_by` names those of them that a step takes longer for.
    `teacher` is a bundle to learn from, None where there is none.
    `weights` ``[table rows] float32`` says what a row counts in training, None where all count alike.
    `groups` ``[table rows] int64`` says which rows stay together wherever rows are divided, None where none do.
    The strategy sets `model` before it first yields.
    """

    settings: Settings
    frozen: FrozenBackbone
    probes: ProbeHeads
    train: np.ndarray
    targets: np.ndarray
    task: Task
    seed: int
    clock: Clock
    fill_time: bool = False
    share: float = 1.0  #: of the passes that its settings say, that there is time for
    made: float = 1.0  #: of the same, that the training which ended last has made
    judged_on_the_way: bool = True
    checkpoint: Path | None = None
    late_checkpoint: Path | None = None
    seen: np.ndarray | None = None
    effects: Sequence[Effect] = ()
    slowed_by: Sequence[str] = ()
    teacher: Path | None = None
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    trainings: int = 0  #: that its strategy has begun
    model: Classifier | None = field(default=None)

    @property
    def outputs(self) -> int:
        """Numbers that the model answers with: one for each class, label or target."""
        return len(self.task.outputs)

    def weights_of(self, rows: np.ndarray) -> np.ndarray | None:
        """What these rows of the table count, ``[rows] float32``; None where all count alike."""
        return None if self.weights is None else self.weights[rows]

    def groups_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Of these rows of the table, ``[rows] int64``; None where each is by itself."""
        return None if self.groups is None else self.groups[rows]

    def load_backbone(self, *, pretrained: bool = True) -> Backbone:
        """A backbone of its own to train, with the dropout that its regularizers want. Raises `ZooError`."""
        drop = max((effect.drop for effect in self.effects), default=0.0)
        return self.frozen.family.load(self.frozen.candidate, drop=drop, pretrained=pretrained)

    @property
    def known(self) -> np.ndarray:
        """Those of `train` whose features are known, or are to be: ``[rows] int64``."""
        return self.train if self.seen is None else self.seen

    def layered_head(self, penalty_multiplier: float = 1.0) -> LinearHead:
        """The linear probe on `FrozenBackbone.layered`, of the rows that are `known`.

        A look at the others would take what is not forecast of a closed form. penalty_multiplier: by how much the
        penalty is larger than the best.
        """
        rows, left = self.known, self.clock.remaining
        if self.seen is None and penalty_multiplier == 1.0:
            return self.probes.layered(self.frozen, left)[1]
        features, targets, weights = self.frozen.layers(rows), self.targets[rows], self.weights_of(rows)
        if self.seen is None:
            penalty, _ = self.probes.layered(self.frozen, left)
        else:
            groups, clock = self.groups_of(rows), fitting_clock(left)
            penalty = choose_penalty(self.task, features, targets, self.seed, weights, groups, clock=clock)
        return fit_head(self.task, features, targets, penalty * penalty_multiplier, weights, clock=fitting_clock(left))

    def starting_head(self) -> LinearHead:
        """The linear probe that a training starts from, of the rows whose features are known; weak where rows are few
        of each of few classes.

        In a budget that was too short for a look at all of them, looking first would leave no time to train.
        """
        rows_a_class = len(self.train) / self.outputs
        few = self.task.rules.exclusive and rows_a_class <= FEW_ROWS_A_CLASS and self.outputs <= MOST_CLASSES
        if self.seen is None and not few:
            return self.probes.penalty_and_head(self.frozen, self.clock.remaining)[1]
        rows, left = self.known, self.clock.remaining
        features, targets, weights = self.frozen.features(rows), self.targets[rows], self.weights_of(rows)
        groups = self.groups_of(rows)
        if few:
            return fit_head(self.task, features, targets, BARELY, weights, clock=fitting_clock(left))
        return choose_and_fit(self.task, features, targets, self.seed, weights, groups, seconds=left)[1]

    @property
    def device(self) -> torch.device:
        return self.frozen.device
