"""Mistakes among classes: which are taken for which, whether the answer is as sure as it is right, and which rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from autotl.data.wording import counted
from autotl.predictor import metrics
from autotl.predictor.bundle import BundleCard
from autotl.report.answers import Answers
from autotl.report.canvas import ACCENT, INK, MUTED, Picture, new_figure, picture
from autotl.report.examples import MOST_WRONG, Wrong, shown
from autotl.report.findings import TableRows
from autotl.report.mistakes import Drawing, Listing, Mistakes, share
from autotl.report.words import short

if TYPE_CHECKING:
    import numpy.typing as npt

#: From here on an answer is so sure that a row which contradicts it is worth a look.
SURE = 0.9

#: Bins of a reliability diagram: with 500 rows the fullest hold enough to say something.
BINS = 10

#: Classes and pairs of classes that are listed, the worst first.
MOST_CLASSES, MOST_PAIRS = 20, 10

#: More classes make no figure; what is confused most is listed in any case.
MOST_DRAWN = 20

#: Classes whose counts can be read inside the squares.
_WITH_COUNTS = 12

#: That stand beside each other below a figure; longer names are turned.
_LETTERS = 60


def drawings(answers: Answers) -> Sequence[Drawing]:
    """The figures that there is something for."""
    found, classes = _of(answers), answers.task.classes
    return [
        Drawing("confusion", "Confusion", lambda: confusion(found, classes)),
        Drawing("calibration", "Calibration", lambda: calibration(found)),
    ]


def mistakes(answers: Answers, rows: TableRows, card: BundleCard) -> Mistakes:
    """What else the report says."""
    found, classes = _of(answers), answers.task.classes
    suspects = found.suspects()
    return Mistakes(
        listings=[
            Listing(
                "Confused most often", ("label", "taken for"), ("rows",), list(_confused(found, classes))[:MOST_PAIRS]
            ),
            Listing(
                "Classes, the worst first: how many of its rows are found, and how much of what is taken for it is it",
                ("class",), ("rows", "recall", "precision"), list(_by_class(found, classes))[:MOST_CLASSES],
            ),
        ],
        wrong=list(_most_wrong(answers, found, rows, set(suspects))),
        suspects=[rows.names[int(answers.rows[place])] for place in suspects],
        why_suspect="The answer is sure of another class, as sure as it usually is of rows labelled so.",
    )  # fmt: skip


def _of(answers: Answers) -> ClassAnswers:
    taken = answers.task.rules.decide(answers.task, answers.targets, answers.answers)
    return ClassAnswers(answers.targets, answers.answers, taken)


def _most_wrong(answers: Answers, found: ClassAnswers, rows: TableRows, suspects: set[int]) -> Iterator[Wrong]:
    """The validation rows whose label was given least."""
    classes = answers.task.classes
    for place in found.most_wrong(MOST_WRONG):
        row, taken = int(answers.rows[place]), int(found.taken[place])
        label, given = classes[int(found.labels[place])], float(found.of_label[place])
        yield Wrong(
            example=shown(rows.names[row], rows.cells[row], answers.task.modality),
            said=[
                ("label", label, f"{100 * given:.1f} %"),
                ("taken for", classes[taken], f"{100 * float(found.probabilities[place, taken]):.1f} %"),
            ],
            suspect=place in suspects,
        )


def _by_class(answers: ClassAnswers, classes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Name, validation rows, the share of them that is found, and the share of what is taken for it that is it."""
    right = answers.labels[answers.labels == answers.taken]
    rows, taken, hits = (np.bincount(of, minlength=len(classes)) for of in (answers.labels, answers.taken, right))
    present = np.flatnonzero(rows)
    for i in present[np.argsort(hits[present] / rows[present], kind="stable")].tolist():
        yield classes[i], str(rows[i]), share(hits[i], rows[i]), share(hits[i], taken[i])


def _confused(answers: ClassAnswers, classes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Label, what it is taken for, and how often; the most frequent first."""
    wrong = answers.labels != answers.taken
    places, counts = np.unique(answers.labels[wrong] * len(classes) + answers.taken[wrong], return_counts=True)
    for nth in np.argsort(-counts, kind="stable").tolist():
        true, taken = divmod(int(places[nth]), len(classes))
        yield classes[true], classes[taken], str(counts[nth])


@dataclass(frozen=True)
class Bin:
    """Rows that the answer was about equally sure of."""

    rows: int
    confidence: float  #: mean of what the favourite was given
    right: float  #: share
    low: float  #: Wilson's 95 % interval of that share
    high: float


@dataclass(frozen=True)
class ClassAnswers:
    """Probabilities of classes on the validation rows, and what they tell of the answer and of the rows."""

    labels: npt.NDArray[np.int64]  #: ``[validation]``
    probabilities: npt.NDArray[np.float32]  #: ``[validation, classes]``
    taken: npt.NDArray[np.int64]  #: ``[validation]``: what each is taken for

    @cached_property
    def favourites(self) -> npt.NDArray[np.int64]:
        """``[validation]``: what is most probable."""
        favourites: npt.NDArray[np.int64] = self.probabilities.argmax(1)
        return favourites

    @cached_property
    def of_label(self) -> npt.NDArray[np.float32]:
        """``[validation]``: what the row's own label was given."""
        given: npt.NDArray[np.float32] = self.probabilities[np.arange(len(self.labels)), self.labels]
        return given

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """``[true, predicted]``"""
        counts = np.zeros((self.probabilities.shape[1],) * 2, np.int64)
        np.add.at(counts, (self.labels, self.taken), 1)
        return counts

    def most_wrong(self, most: int) -> list[int]:
        """Places of rows that are taken for another class, the least likely label first."""
        order = np.argsort(self.of_label, kind="stable")
        return [int(place) for place in order if self.taken[place] != self.labels[place]][:most]

    def suspects(self) -> list[int]:
        """Places of rows whose label may be an error, the likeliest first: confident learning, with a bar besides.

        That is: the answer is as sure of another class as it usually is of rows labelled so (Northcutt et al. 2021).
        A weak model is never very sure, and by that alone it would suspect a part of all that it gets wrong.
        """
        classes = self.probabilities.shape[1]
        usual = [self.of_label[self.labels == label] for label in range(classes)]
        bars = np.array([max(float(given.mean()), SURE) if len(given) else SURE for given in usual])
        wrong = (self.favourites != self.labels) & (self.probabilities.max(1) >= bars[self.favourites])
        return [int(place) for place in np.argsort(self.of_label, kind="stable") if wrong[place]]

    def reliability(self) -> list[Bin]:
        """Bins that hold rows, the least sure first."""
        sure, right = self.probabilities.max(1), self.favourites == self.labels
        numbers = np.minimum((sure * BINS).astype(int), BINS - 1)
        found = []
        for number in range(BINS):
            if count := int((here := numbers == number).sum()):
                hits = int(right[here].sum())
                found.append(Bin(count, float(sure[here].mean()), hits / count, *metrics.wilson(hits, count)))
        return found

    def calibration_error(self) -> float:
        """Mean distance of confidence and share, rows counting alike."""
        return sum(part.rows * abs(part.confidence - part.right) for part in self.reliability()) / len(self.labels)


def confusion(answers: ClassAnswers, classes: Sequence[str]) -> Picture | None:
    """Rows by their label and by what the answer takes them for."""
    if len(classes) > MOST_DRAWN:
        return None
    counts, names = answers.confusion, [short(name, 14) for name in classes]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = new_figure(1.6 + min(0.42 * len(classes), 4.2))
    places = range(len(classes))
    for true in places:
        for taken in places:
            if counts[true, taken]:
                square = (taken - 0.5, taken + 0.5), true - 0.5, true + 0.5
                axes.fill_between(*square, color=ACCENT, alpha=0.12 + 0.75 * float(shares[true, taken]), linewidth=0)
            if len(classes) <= _WITH_COUNTS and counts[true, taken]:
                axes.text(taken, true, str(counts[true, taken]), ha="center", va="center", color=INK, fontsize=9)
    axes.set_xlim(-0.5, len(classes) - 0.5)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_xticks(places, names)
    if max(map(len, names)) * len(classes) > _LETTERS:
        for label in axes.get_xticklabels():
            label.set(rotation=45, ha="right")
    axes.set_yticks(places, names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("label")
    axes.grid(visible=False)
    right = int(np.trace(counts))
    return picture(
        figure,
        "confusion",
        caption="Validation rows by their label and by what they are taken for; the stronger the colour, the larger "
        "the share of the label's rows.",
        alt=f"Confusion matrix of {counted(len(classes), 'class', 'classes')}: {right} of {counts.sum()} rows are "
        "taken for what they are",
    )


def calibration(answers: ClassAnswers) -> Picture:
    """A reliability diagram."""
    bins, error = answers.reliability(), answers.calibration_error()
    figure, axes = new_figure(3.0)
    sure, right = [part.confidence for part in bins], [part.right for part in bins]
    shares = [part.rows / len(answers.labels) for part in bins]
    axes.bar(sure, shares, width=0.05, color=MUTED, alpha=0.3, linewidth=0, label="share of the rows")
    axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, label="as sure as it is right")
    reach = np.abs(np.array([[part.right - part.low for part in bins], [part.high - part.right for part in bins]]))
    axes.errorbar(sure, right, yerr=reach, fmt="o-", color=ACCENT, capsize=2, markersize=5, label="rows that are right")
    axes.set_xlim(min(0.95 * min(sure), 0.5), 1.01)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("how sure the answer is")
    axes.set_ylabel("share that is right")
    figure.legend(loc="outside upper left", ncols=3, handletextpad=0.4, columnspacing=1.0)
    return picture(
        figure,
        "calibration",
        caption=f"Below the dashed line the answer is surer than it should be. Expected calibration error "
        f"{error:.3f}, on the rows that its temperatures were chosen by.",
        alt="Reliability: "
        + "; ".join(f"sure of {part.confidence:.2f}: {part.right:.2f} right ({part.rows} rows)" for part in bins),
    )
