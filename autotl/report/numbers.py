"""Mistakes among numbers: how far answers are off, where, and on which rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from autotl.kinds.numbers import in_units
from autotl.predictor.bundle import BundleCard
from autotl.report.answers import Answers
from autotl.report.canvas import ACCENT, MUTED, Picture, new_figure, picture
from autotl.report.examples import MOST_WRONG, Wrong, shown
from autotl.report.findings import TableRows
from autotl.report.mistakes import Drawing, Listing, Mistakes
from autotl.report.words import short

#: Targets that are drawn.
MOST_DRAWN = 4

#: Points of a figure: more make a large page and no other picture.
MOST_POINTS = 600

#: Times the usual error from which on a row is worth a look: one in some thousand, were errors normal.
FAR = 5.0


def drawings(answers: Answers) -> Sequence[Drawing]:
    """The figures that there is something for."""
    several = len(answers.task.targets) > 1
    found = []
    for place, name in enumerate(answers.task.targets[:MOST_DRAWN]):
        of = f" of {short(name, 40)}" if several else ""
        found += [
            Drawing(f"answers-{place}", f"Answers{of}", lambda place=place: against_truth(answers, place)),  # type: ignore[misc]
            Drawing(f"residuals-{place}", f"Residuals{of}", lambda place=place: residuals(answers, place)),  # type: ignore[misc]
        ]
    return found


def mistakes(answers: Answers, rows: TableRows, card: BundleCard) -> Mistakes:
    """What else the report says."""
    task = answers.task
    decided = task.rules.decide(task, answers.targets, answers.answers)
    found = task.rules.breakdown(task, answers.targets, decided)
    errors = Listing(
        "Errors on the validation rows, in the units of the table",
        ("target",),
        found.columns,
        [(name, *(f"{value:.4g}" for value in line)) for name, line in zip(found.rows, found.values, strict=True)],
    )
    usual = np.median(np.abs(answers.answers - answers.targets), 0)
    far = (np.abs(answers.answers - answers.targets) > FAR * usual / 0.6745).any(1)
    losses = task.rules.losses(answers.targets, answers.answers)
    return Mistakes(
        listings=[errors],
        wrong=list(_most_wrong(answers, rows, losses)),
        suspects=[rows.names[int(answers.rows[i])] for i in np.argsort(-losses, kind="stable") if far[i]],
        why_suspect=f"The answer is off by more than {FAR:g} times what is usual.",
    )


def against_truth(answers: Answers, place: int) -> Picture:
    """What is answered against what is there."""
    truth, said = _in_units(answers, place)
    figure, axes = new_figure(3.0)
    ends = [float(min(truth.min(), said.min())), float(max(truth.max(), said.max()))]
    axes.plot(ends, ends, "--", color=MUTED, linewidth=1)
    axes.plot(truth, said, ".", color=ACCENT, alpha=0.6, markersize=5)
    name = answers.task.targets[place]
    axes.set_xlabel(short(name, 40))
    axes.set_ylabel("answer")
    return picture(
        figure,
        f"answers-{place}",
        caption="Answers to the validation rows against what the table says; on the dashed line they are right.",
        alt=f"Answers against {name}: {len(truth)} rows from {ends[0]:.4g} to {ends[1]:.4g}",
    )


def residuals(answers: Answers, place: int) -> Picture:
    """By how much answers are too large, against the answers."""
    truth, said = _in_units(answers, place)
    figure, axes = new_figure(3.0)
    axes.axhline(0, linestyle="--", color=MUTED, linewidth=1)
    axes.plot(said, said - truth, ".", color=ACCENT, alpha=0.6, markersize=5)
    axes.set_xlabel("answer")
    axes.set_ylabel("answer less truth")
    off = said - truth
    return picture(
        figure,
        f"residuals-{place}",
        caption="Residuals: a trend says that something is left to learn, a funnel that errors grow with the number.",
        alt=f"Residuals: mean {off.mean():.3g}, deviation {off.std():.3g}",
    )


def _in_units(answers: Answers, place: int) -> tuple[np.ndarray, np.ndarray]:
    """Of `MOST_POINTS` rows at even distances, as the first ones may be those with the smallest numbers."""
    task, rows = answers.task, len(answers.targets)
    kept = np.linspace(0, rows - 1, min(rows, MOST_POINTS)).astype(int)
    decided = task.rules.decide(task, answers.targets, answers.answers)
    truth, said = (in_units(task.scales, values)[kept, place] for values in (answers.targets, decided))
    return truth, said


def _most_wrong(answers: Answers, rows: TableRows, losses: np.ndarray) -> Iterator[Wrong]:
    task = answers.task
    decided = task.rules.decide(task, answers.targets, answers.answers)
    for place in np.argsort(-losses, kind="stable")[:MOST_WRONG].tolist():
        row = int(answers.rows[place])
        yield Wrong(
            example=shown(rows.names[row], rows.cells[row], task.modality),
            said=[
                ("is", task.rules.said(task, answers.targets[place]), ""),
                ("answered", task.rules.said(task, decided[place]), ""),
            ],
        )
