"""What a bundle answers to the training rows: asked once, kept in the feature store for every later trial."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autotl.budget import Clock
from autotl.features.bag_of_words import family_of
from autotl.features.boundary import generator_of_view
from autotl.features.frozen import pooled
from autotl.kinds.mixing import Combination, activated, mixed
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import Member, find_bundle, read_card
from autotl.training.model import load_model

if TYPE_CHECKING:
    from autotl.features.store import Collection
    from autotl.training.trial import Trial

#: Of the time that a trial has, for asking at most: an ensemble of large networks would leave a short one nothing to
#: train in. What was asked stays known, so that the next trial comes further.
SHARE_OF_TRIAL = 0.25

#: Between two looks at the clock: a second or two of a large network on two cores, and enough to sort texts by length.
ROWS_AT_A_TIME = 256

#: Views that a row's answer is the mean of where students see augmented rows: the row as it is, and others.
#: MobileNetV2-0.35 on 2400 photographs, half a recipe by DIST, two seeds, right of 800 test rows: 0.739 and 0.720 by
#: the row as it is, 0.748 and 0.760 by the mean of four, 0.720 and 0.745 without a teacher. With one seed the very view
#: of each step had 0.744, and took twice as long.
VIEWS = 4


class Teacher:
    """A bundle, which may be a mixture of models."""

    def __init__(self, folder: Path) -> None:
        """folder: of a run or a bundle. Raises `BundleError` when there is none, or it is torn."""
        self._bundle = find_bundle(folder)
        self._card = read_card(self._bundle)

    def answers(self, trial: Trial, *, augment: float = 0.0) -> np.ndarray:
        """Probabilities ``[table rows, classes] float32`` for the training rows; other rows are zero.

        The models of a mixture are asked in turn, the largest share first, as far as the time reaches; a row that even
        the first was not asked about, or cannot read, has its label for an answer. augment: the strength with which the
        student's rows are augmented; the answer is the mean over `VIEWS` where there is time for more than the row as
        it is. Raises `PluginError` when the family of a model is not installed, and `BundleError` when its weights are
        torn.
        """
        clock = Clock(SHARE_OF_TRIAL * trial.clock.remaining)
        members: list[Member] = []
        known: list[np.ndarray] = []
        for member in self._card.members:
            answers = self._ask(member, trial, clock)
            if known and clock.remaining <= 0 and np.isnan(answers).any():
                break
            members.append(member)
            known.append(answers)
        views = [self._mixed(members, known, trial)]
        for view in range(1, VIEWS if augment else 1):
            known = [self._ask(member, trial, clock, augment=augment, view=view) for member in members]
            views.append(self._mixed(members, known, trial))
        labels = np.eye(trial.outputs, dtype=np.float32)[trial.targets[trial.train]]
        found = np.zeros((len(trial.targets), trial.outputs), np.float32)
        found[trial.train] = _mean(views, otherwise=labels)
        return found

    def _mixed(self, members: list[Member], known: list[np.ndarray], trial: Trial) -> np.ndarray:
        """The answer of these members ``[training rows, classes] float32``; NaN where one of them has none."""
        shares = np.array([member.share for member in members])
        temperatures = np.array([member.temperature for member in members])
        combination = Combination(shares / shares.sum(), temperatures, self._card.temperature)
        return mixed(np.stack(known), combination, trial.task.rules.activation)

    def _ask(self, member: Member, trial: Trial, clock: Clock, *, augment: float = 0.0, view: int = 0) -> np.ndarray:
        """What one model answers, ``[training rows, classes] float32``; NaN where it was not asked.

        view: 0 for rows as they are, the number of an augmented one otherwise.
        """
        frozen, train = trial.frozen, trial.train
        family = family_of(member.family)
        place = self._bundle / self._card.weights / member.folder
        strength = augment if view and family.augments else 0.0
        seen = f"augmented {strength}, view {view}" if strength else "exact"
        kept = frozen.store.collection(
            kind="answers",
            view=seen,
            weights=_digest(place),
            made_by=plugins().made_by(member.family),
            precision=str(frozen.precision),  # the student's, raced on inputs of the same kind on this machine
            found_by=frozen.found_by,
        )
        digests = frozen.rows.digests(train)
        found = np.full((len(train), trial.outputs), np.nan, np.float32)
        missing = train[_fill(found, kept, digests)]
        if len(missing) and clock.remaining > 0:
            model, encoder = load_model(family, place)
            frozen.precision.arrange(model.to(trial.device).backbone)
            rows = frozen.rows.read_by(encoder)
            for start in range(0, len(missing), ROWS_AT_A_TIME):
                if clock.remaining <= 0:
                    break
                readable = rows.readable(missing[start : start + ROWS_AT_A_TIME])
                asked = rows.digests(readable)
                features = pooled(
                    model.backbone, rows, readable, frozen.precision, trial.device, augment=strength,
                    generator=generator_of_view(seen, asked),
                )  # fmt: skip
                answers = activated(model.linear_head().logits(features), trial.task.rules.activation)
                kept.add(asked, [{"x": answer} for answer in answers])
            _fill(found, kept, digests)
        return found


def _mean(views: list[np.ndarray], *, otherwise: np.ndarray) -> np.ndarray:
    """Of what is known of each row, all ``[rows, classes] float32``; `otherwise` where every view is NaN."""
    each = np.stack(views)
    known = ~np.isnan(each)
    counts = known.sum(0)
    mean: np.ndarray = np.where(known, each, 0.0).sum(0) / np.maximum(counts, 1)
    return np.where(counts > 0, mean, otherwise)


def _fill(found: np.ndarray, kept: Collection, digests: list[bytes]) -> np.ndarray:
    """Puts answers that are kept in their places; returns the places ``[missing] int64`` of the others."""
    missing = []
    for place, digest in enumerate(digests):
        if (row := kept.get(digest)) is None:
            missing.append(place)
        else:
            found[place] = row["x"]
    return np.array(missing, np.int64)


@functools.cache
def _digest(folder: Path) -> str:
    """Of all files of a model; other weights in a bundle have another folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest.update(f"{path.relative_to(folder)} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()
