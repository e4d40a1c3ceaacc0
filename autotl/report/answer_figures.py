"""The figures of an answer: which classes it takes for which, and whether it is as sure as it is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autotl.data.wording import counted
from autotl.report.answers import Answers
from autotl.report.canvas import ACCENT, INK, MUTED, Picture, new_figure, picture
from autotl.report.words import short

#: More classes make no figure; what is confused most is listed in any case.
MOST_CLASSES = 20

#: Classes whose counts can be read inside the squares.
_WITH_COUNTS = 12

#: That stand beside each other below a figure; longer names are turned.
_LETTERS = 60


def confusion(answers: Answers, classes: Sequence[str]) -> Picture | None:
    """Rows by their label and by what the answer takes them for."""
    if len(classes) > MOST_CLASSES:
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


def calibration(answers: Answers) -> Picture:
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
