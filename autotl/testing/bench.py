"""A frozen backbone before a small table: what the kit has strategies and regularizers try their hands on."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autotl.budget import Clock
from autotl.data.task import InputColumn, Task
from autotl.features.frozen import FrozenBackbone
from autotl.features.rows import EncodedRows
from autotl.features.speed import SettledSpeeds
from autotl.features.store import FeatureStore
from autotl.kinds.kind import Scale
from autotl.plugins.contracts import Candidate, ModelFamily, StrategyContext, Value, ZooContext
from autotl.testing.tiny import TinyFamily
from autotl.training.effect import Effect
from autotl.training.settings import Settings
from autotl.training.trial import ProbeHeads, Trial

#: Rows of each class on the kit's benches: of unlike size, so that it shows what is done about that.
CLASS_ROWS = (48, 24, 8)

#: Passes that the kit's contexts say the budget affords.
PASSES = 30.0


class Bench:
    """A backbone of a family, a table whose rows all train, and trials on it."""

    def __init__(
        self,
        family: ModelFamily,
        candidate: Candidate,
        cells: Sequence[Any],
        labels: Sequence[int] | np.ndarray,
        *,
        task: Task | None = None,
        store: FeatureStore | None = None,
        teacher: Path | None = None,
    ) -> None:
        """cells: what the family reads, some dozens of them; labels: the class of each, from 0 on.

        task: of another kind, whose targets `labels` are then, as `autotl.kinds.kind` has them. store: where states and
        features are kept, in memory by default. teacher: a bundle for strategies that learn from one.
        """
        self.family, self.teacher = family, teacher
        self.task = task or Task(
            targets=("label",),
            kind="multiclass",
            classes=tuple(f"class {code}" for code in range(int(np.max(labels)) + 1)),
            inputs=(InputColumn(name="input", modality=family.modality),),
            metric="accuracy",
        )
        self.targets = np.array(labels, self.task.rules.dtype)
        store = FeatureStore(None) if store is None else store
        rows = EncodedRows(family.encoder(candidate, cells), cells, modality=candidate.modality, store=store)
        device = torch.device("cpu")
        self.frozen = FrozenBackbone(candidate, family, rows, device=device, speeds=SettledSpeeds(device), store=store)
        self.train = rows.readable(np.arange(len(cells)))

    @property
    def context(self) -> StrategyContext:
        """What a search would say of it: a budget of some passes, the usual metric, nothing in doubt, no teacher."""
        rules = self.task.rules
        counts = rules.counts(self.task, self.targets[self.train])
        return StrategyContext(
            self.frozen.candidate,
            rows=len(self.train),
            class_rows=tuple(counts.values()) if rules.exclusive else (),
            squared=rules.squared,
            metric=self.task.metric,
            augments=self.family.augments,
            passes=PASSES,
        )

    def prolonged(self, epochs: float) -> Bench:
        """The same with a recipe of so many passes."""
        other = copy.copy(self)
        other.frozen = copy.copy(self.frozen)
        candidate = self.frozen.candidate
        recipe = dataclasses.replace(candidate.recipe, epochs=epochs)
        other.frozen.candidate = dataclasses.replace(candidate, recipe=recipe)
        return other

    def trial(
        self, settings: Mapping[str, Value], *, seconds: float | None = None, effects: Sequence[Effect] = (),
        checkpoint: Path | None = None,
    ) -> Trial:  # fmt: skip
        """seconds: how long it may be; None for no limit. checkpoint: where it can be taken up again."""
        return Trial(
            settings=Settings(settings),
            frozen=self.frozen,
            probes=ProbeHeads(self.task, self.targets, self.train, 0),
            train=self.train,
            targets=self.targets,
            task=self.task,
            seed=0,
            clock=Clock() if seconds is None else Clock(seconds),
            effects=effects,
            checkpoint=checkpoint,
            teacher=self.teacher,
        )


def text_bench() -> Bench:
    """80 texts of up to twelve words; most hold a word of their class."""
    return _on_the_kits_family(TinyFamily("text"), *_texts())


def number_bench() -> Bench:
    """The texts of `text_bench`, with a number each that their words tell a part of; a few are far off."""
    texts, labels = _texts()
    numbers = labels + 0.3 * np.random.default_rng(0).standard_normal(len(labels))
    numbers[::16] += 6.0
    task = Task(
        targets=("number",),
        kind="regression",
        scales=(Scale(mean=float(numbers.mean()), deviation=float(numbers.std())),),
        inputs=(InputColumn(name="input", modality="text"),),
        metric="r2",
    )
    targets = ((numbers - numbers.mean()) / numbers.std())[:, None]
    return _on_the_kits_family(TinyFamily("text"), texts, targets, task)


def _texts() -> tuple[list[str], list[int]]:
    """Texts, and the class of each."""
    random = np.random.default_rng(0)
    labels = [label for label, rows in enumerate(CLASS_ROWS) for _ in range(rows)]
    texts = []
    for label in labels:
        words = [f"word{number}" for number in random.integers(0, 40, random.integers(4, 12))]
        texts.append(" ".join([f"class{label}" if random.random() < 0.8 else "none", *words]))
    return texts, labels


def image_bench() -> Bench:
    """80 noisy pictures of 16 by 16 pixels, each with more of the colour of its class."""
    labels = [label for label, rows in enumerate(CLASS_ROWS) for _ in range(rows)]
    return _on_the_kits_family(TinyFamily("image"), [f"{label}/{n}" for n, label in enumerate(labels)], labels)


def _on_the_kits_family(
    family: TinyFamily, cells: Sequence[str], labels: Sequence[int] | np.ndarray, task: Task | None = None
) -> Bench:
    (candidate,) = family.candidates(ZooContext())
    return Bench(family, candidate, cells, labels, task=task)


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small are slowed down by a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
