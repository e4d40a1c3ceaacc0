"""The figures of a search: what was tried when, what came of it, and what it took."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from autotl.budget import describe_seconds
from autotl.data.wording import counted
from autotl.events import HEAD_STRATEGY
from autotl.report.canvas import ACCENT, INK, MUTED, PAPER, WIDTH, Picture, marks, new_figure, picture
from autotl.report.leaderboard import Row
from autotl.report.record import Record
from autotl.report.words import short

#: Curves that can be told apart; of more trials the best are shown.
MOST_CURVES = 40

#: Points of trials in a figure: more make a page of megabytes. The best are shown.
MOST_TRIALS = 400

#: Settings that get a figure of their own, in two columns.
MOST_SETTINGS = 6

#: What is told by bars or lines of its own; more make no page.
MOST_BARS = 16

#: What lies below this part of all scores does not decide how far an axis reaches down: a training that went wrong
#: would press all others together.
_LOWEST = 0.1


def score_over_time(record: Record) -> Picture | None:
    """Every trial and head, and the score that was expected of the answer."""
    tracks = _tracks(record)
    if not tracks:
        return None
    figure, axes = new_figure(3.1)
    low = _floor([score for _, line in tracks for _, score in line])
    looks = marks(strategy for strategy, _ in tracks)
    for strategy, line in tracks:
        colour, mark = looks[strategy]
        at, scores = np.array(line).T
        axes.plot(at, np.maximum(scores, low), color=colour, linewidth=0.8, alpha=0.5)
        axes.plot(at[-1:], np.maximum(scores[-1:], low), mark, color=colour, markersize=5)
    answers = [(event.at, event.data["score"]) for event in record.of("answer")]
    if answers:
        at, scores = np.array([*answers, (record.run.seconds, answers[-1][1])]).T
        axes.step(at, scores, where="post", color=INK, linewidth=1.8)
    axes.set_xlim(left=0)
    axes.set_xlabel("time")
    axes.set_ylabel(record.run.task.metric)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: describe_seconds(at)))
    answer = Line2D([], [], color=INK, linewidth=1.8, label="answer, expected on new rows")
    _legend(figure, [answer, *_handles(looks)])
    best = f"; the answer reached {answers[-1][1]:.4f} after {describe_seconds(answers[-1][0])}" if answers else ""
    return picture(
        figure,
        "time",
        caption="Each thin line is a trial, its mark where it came to; the thick line is what is expected of the "
        "answer on new rows, less what choosing adds."
        + (" What scored less than the axis reaches lies on its lower edge." if low > -math.inf else "")
        + (f" Of the trials the best {MOST_TRIALS} are shown." if len(record.trials) > MOST_TRIALS else ""),
        alt=f"{record.run.task.metric} against time: {counted(len(tracks), 'model')} in "
        f"{describe_seconds(record.run.seconds)}{best}",
    )


def _tracks(record: Record) -> list[tuple[str, list[tuple[float, float]]]]:
    """The strategy of each trial and head, with when it was judged and how."""
    strategies = {int(row.name): row.strategy for row in record.board[:MOST_TRIALS] if row.name.isdecimal()}
    trials: dict[int, list[tuple[float, float]]] = {}
    heads = [(HEAD_STRATEGY, [(event.at, event.data["score"])]) for event in record.of("head")]
    for event in record.of("progress"):
        if event.data["trial"] in strategies:
            trials.setdefault(event.data["trial"], []).append((event.at, event.data["score"]))
    return heads + [(strategies[number], line) for number, line in trials.items()]


def screening(record: Record) -> Picture | None:
    """The screened score of each backbone beside what trials on it came to."""
    proxy = {event.data["backbone"]: event.data["score"] for event in record.of("screened")}
    if not proxy:
        return None
    order = sorted(proxy, key=lambda name: -proxy[name])[:MOST_BARS]
    scored = [(row.backbone, row.score) for row in record.trials if row.score is not None]
    reached = {name: [score for backbone, score in scored if backbone == name] for name in order}
    metric, proxy_metric = record.run.task.metric, record.run.task.ranks_by
    # what is negated has a unit of its own; others go to 1, as the head's score does
    tried = {} if metric.startswith("neg_") else reached
    figure, axes = new_figure(0.8 + 0.42 * len(order))
    for place, name in enumerate(order):
        _backbone(axes, place, name, proxy[name], tried.get(name, []))
    axes.set_ylim(len(order) - 0.5, -0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(metric if tried else proxy_metric)
    hollow = Line2D([], [], linestyle="", label="linear head (screening)", **_HOLLOW)
    full = Line2D([], [], linestyle="", marker="o", color=ACCENT, label="best trial")
    _legend(figure, [hollow, full] if tried else [hollow])
    said = [
        f"{name}: {proxy[name]:.3f}" + (f", best trial {max(reached[name]):.3f}" if reached[name] else ", not tried")
        for name in order
    ]
    return picture(
        figure,
        "screening",
        caption="What a linear head on each backbone's frozen features gets on the training rows, each predicted by a "
        "head that did not see it, and what trials came to."
        + ("" if metric == proxy_metric else f" The head's score is its {proxy_metric}, the trials' is {metric}."),
        alt="; ".join(said),
    )


#: The mark of what was not fine-tuned.
_HOLLOW: Any = {"marker": "o", "markerfacecolor": PAPER, "markeredgecolor": INK, "markersize": 6}


def _backbone(axes: Axes, place: int, name: str, proxy: float, scores: Sequence[float]) -> None:
    if scores:
        axes.plot([proxy, max(scores)], [place, place], color=MUTED, linewidth=0.8)
        axes.plot(scores, [place] * len(scores), "|", color=ACCENT, markersize=6)
        axes.plot([max(scores)], [place], "o", color=ACCENT, markersize=6)
    axes.plot([proxy], [place], **_HOLLOW)
    above = (0, place - 0.3)  # names are longer than a margin is wide
    axes.annotate(short(name, 50), above, xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK)


def learning_curves(record: Record) -> Picture | None:
    """Score against progress, of trials that were judged on their way; those of the answer stand out."""
    lines = [row for row in record.board if len(row.curve) > 1][:MOST_CURVES]
    if not lines:
        return None
    figure, axes = new_figure(2.9)
    low = _floor([score for row in lines for _, score in row.curve])
    looks = marks(row.strategy for row in lines)
    for row in lines:
        permille, scores = np.array(row.curve).T
        colour, mark = looks[row.strategy]
        width, alpha = (2.2, 1.0) if row.best else (1.0, 0.55)
        scores = np.maximum(scores, low)
        axes.plot(permille / 10, scores, color=colour, marker=mark, markersize=3.5, linewidth=width, alpha=alpha)
        axes.annotate(row.name, (permille[-1] / 10, scores[-1]), (3, -3), textcoords="offset points", fontsize=8)
    axes.set_xlabel("% of the trial")
    axes.set_ylabel(record.run.task.metric)
    _legend(figure, _handles(looks))
    return picture(
        figure,
        "curves",
        caption="Each trial at the points where it was judged; the number is the trial's. Thick: part of the answer.",
        alt="Learning curves of "
        + ", ".join(f"trial {row.name} ({row.curve[0][1]:.3f} to {row.curve[-1][1]:.3f})" for row in lines[:10]),
    )


def importances(shares: Mapping[str, float], trials: int) -> Picture | None:
    """How much each setting decided, by PED-ANOVA."""
    if not shares:
        return None
    shown = list(shares.items())[:MOST_BARS]
    return _bars(
        [(name, share) for name, share in shown],
        "importances",
        label="share",
        caption=f"How much each setting decides whether a trial is among the best quarter (PED-ANOVA, from {trials} "
        "finished trials); a hint where these are few.",
    )


def slices(record: Record, shares: Mapping[str, float]) -> Picture | None:
    """Score against each setting that varied; the most important first, then those with most values."""
    rows = [row for row in record.board[:MOST_TRIALS] if row.score is not None and row.settings]
    values: dict[str, set[float | str]] = {}
    for row in rows:
        for name, value in row.settings.items():
            values.setdefault(name, set()).add(value)
    varied = [name for name in values if len(values[name]) > 1]
    chosen = sorted(varied, key=lambda name: (-shares.get(name, 0.0), -len(values[name])))[:MOST_SETTINGS]
    if not chosen or len(rows) < 3:
        return None
    height = math.ceil(len(chosen) / 2)
    figure = Figure(figsize=(WIDTH, 0.5 + 1.7 * height))
    figure.subplots(height, 2, sharey=True)
    looks = marks(row.strategy for row in rows)
    low = _floor([row.score for row in rows if row.score is not None])
    for axes, name in zip(figure.axes, chosen, strict=False):
        _slice(axes, name, [row for row in rows if name in row.settings], looks, low)
    for axes in figure.axes[len(chosen) :]:
        axes.set_axis_off()
    figure.supylabel(record.run.task.metric, fontsize=9, color=MUTED)
    _legend(figure, _handles(looks))
    return picture(
        figure,
        "slices",
        caption="Score of each trial against the settings that varied most.",
        alt="Scores of " + counted(len(rows), "trial") + " against " + ", ".join(chosen),
    )


def _slice(axes: Axes, name: str, rows: Sequence[Row], looks: Mapping[str, tuple[str, str]], low: float) -> None:
    words = sorted({str(row.settings[name]) for row in rows if isinstance(row.settings[name], str)})
    for row in rows:
        value = row.settings[name]
        at = words.index(value) if isinstance(value, str) else float(value)
        colour, mark = looks[row.strategy]
        assert row.score is not None
        axes.plot([at], [max(row.score, low)], mark, color=colour, markersize=4.5, alpha=0.85)
    if words:
        axes.set_xticks(range(len(words)), [short(word, 12) for word in words])
        axes.set_xlim(-0.5, len(words) - 0.5)
    elif name.endswith("_multiplier"):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=8)
    axes.set_xlabel(short(name, 28), fontsize=9)


def where_the_time_went(spent: Mapping[str, float]) -> Picture | None:
    """Seconds by account, the most first."""
    accounts = sorted(((name, seconds) for name, seconds in spent.items() if seconds > 0), key=lambda part: -part[1])
    if not accounts:
        return None
    total = sum(seconds for _, seconds in accounts)
    return _bars(
        accounts[:MOST_BARS],
        "ledger",
        label="seconds",
        caption=f"All {describe_seconds(total)} that are accounted for.",
    )


def _bars(parts: Sequence[tuple[str, float]], name: str, *, label: str, caption: str) -> Picture:
    figure, axes = new_figure(0.7 + 0.27 * len(parts))
    values = [value for _, value in parts]
    bars = axes.barh([short(part, 26) for part, _ in parts], values, color=ACCENT, height=0.65)
    axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, fontsize=9, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)
    return picture(
        figure, name, caption=caption, alt=", ".join(f"{part}: {value:.3g} {label}" for part, value in parts)
    )


def _floor(scores: Sequence[float]) -> float:
    """From where down scores are drawn on the lower edge; minus infinity where none lies far below the others."""
    low, high = np.quantile(scores, _LOWEST), max(scores)
    bound = float(low - 0.5 * (high - low))
    return bound if min(scores) < bound else -math.inf


def _handles(looks: Mapping[str, tuple[str, str]]) -> list[Line2D]:
    return [
        Line2D([], [], linestyle="", marker=mark, color=colour, label=short(name))
        for name, (colour, mark) in looks.items()
    ]


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    figure.legend(handles=handles, loc="outside upper left", ncols=3, handletextpad=0.3, columnspacing=1.0)
