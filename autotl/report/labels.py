"""Mistakes among labels: which are missed, which are given wrongly, and on which rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from autotl.data.wording import counted
from autotl.predictor.bundle import BundleCard
from autotl.report.answers import Answers
from autotl.report.canvas import ACCENT, INK, Picture, new_figure, picture
from autotl.report.examples import MOST_WRONG, Wrong, shown
from autotl.report.findings import TableRows
from autotl.report.mistakes import Drawing, Listing, Mistakes, share
from autotl.report.words import short

#: Labels that are drawn, and that are listed, the worst first.
MOST_DRAWN, MOST_LISTED = 30, 40


def drawings(answers: Answers) -> Sequence[Drawing]:
    """The figures that there is something for."""
    return [Drawing("labels", "Each label", lambda: each_label(answers))]


def mistakes(answers: Answers, rows: TableRows, card: BundleCard) -> Mistakes:
    """What else the report says."""
    listing = Listing(
        "Labels, the worst first, above thresholds that were chosen by these rows",
        ("label",),
        ("rows", "threshold", "precision", "recall", "f1"),
        list(_by_label(answers))[:MOST_LISTED],
    )
    return Mistakes(listings=[listing], wrong=list(_most_wrong(answers, rows)))


def each_label(answers: Answers) -> Picture | None:
    """Average precision of each label, beside that of a guess."""
    names, rules = answers.task.classes, answers.task.rules
    if len(names) > MOST_DRAWN:
        return None
    truth = answers.targets > 0.5
    kept = [i for i in range(len(names)) if truth[:, i].any()]
    precision = {i: rules.ranking(answers.targets[:, [i]], answers.answers[:, [i]]) for i in kept}
    order = sorted(kept, key=lambda i: -precision[i])
    figure, axes = new_figure(0.8 + 0.3 * len(order))
    places = range(len(order))
    axes.barh(places, [precision[i] for i in order], color=ACCENT, alpha=0.6, height=0.6, label="average precision")
    guesses = [rules.guess(answers.targets[:, [i]]) for i in order]
    axes.plot(guesses, places, "|", color=INK, markersize=12, markeredgewidth=2, label="a guess")
    axes.set_yticks(places, [short(names[i], 24) for i in order])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    figure.legend(loc="outside upper left", ncols=2)
    return picture(
        figure,
        "labels",
        caption="Average precision of each label on the validation rows: the mean share of right ones among the rows "
        "that are at least as likely to have it.",
        alt="; ".join(f"{names[i]}: {precision[i]:.2f}, in {share(truth[:, i].sum(), len(truth))}" for i in order),
    )


def _decided(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds ``[labels]``, and what is given ``[validation, labels] bool``."""
    bars = np.array(answers.calibration["thresholds"][0])
    return bars, answers.task.rules.decisions(answers.task, answers.answers, answers.calibration)


def _by_label(answers: Answers) -> Iterator[tuple[str, ...]]:
    bars, given = _decided(answers)
    truth, names = answers.targets > 0.5, answers.task.classes
    hits, rows, said = (truth & given).sum(0), truth.sum(0), given.sum(0)
    f1 = 2 * hits / np.maximum(rows + said, 1)
    for i in np.argsort(f1, kind="stable").tolist():
        yield (
            names[i], str(rows[i]), f"{bars[i]:.2f}", share(hits[i], said[i]), share(hits[i], rows[i]),
            share(2 * hits[i], rows[i] + said[i]),
        )  # fmt: skip


def _most_wrong(answers: Answers, rows: TableRows) -> Iterator[Wrong]:
    """Rows whose labels are not those that are given, the largest loss first."""
    task = answers.task
    _, given = _decided(answers)
    losses = task.rules.losses(answers.targets, answers.answers)
    wrong = (given != (answers.targets > 0.5)).any(1)
    for place in [i for i in np.argsort(-losses, kind="stable").tolist() if wrong[i]][:MOST_WRONG]:
        row = int(answers.rows[place])
        off = np.flatnonzero(given[place] != (answers.targets[place] > 0.5))
        sure = ", ".join(f"{task.classes[i]} {100 * answers.answers[place, i]:.0f} %" for i in off[:3])
        yield Wrong(
            example=shown(rows.names[row], rows.cells[row], task.modality),
            said=[
                ("labels", task.rules.said(task, answers.targets[place]), ""),
                ("given", task.rules.said(task, given[place]), f"{counted(len(off), 'difference')}: {sure}"),
            ],
        )
