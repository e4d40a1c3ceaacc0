"""Figures that are part of a page: drawn by matplotlib, coloured by the page's style sheet.

Colours are names here. In the SVG they become variables, which the style sheet sets by day, by night and for print.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Inches. On the page a figure is as wide as a telephone's screen or a column: its letters stay readable on both.
WIDTH = 5.8

INK, MUTED, GRID, ACCENT, PAPER = "#010101", "#010102", "#010103", "#010104", "#010105"
#: Of things to tell apart, with their marks for whoever sees no colours.
SERIES = tuple(zip((f"#0202{number:02x}" for number in range(1, 9)), "osD^vPX*", strict=True))

_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", ACCENT: "accent", PAPER: "paper"} | {
    colour: f"series-{number}" for number, (colour, _) in enumerate(SERIES, start=1)
}

_STYLE: Any = {
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.size": 10.0,
    "font.sans-serif": ["DejaVu Sans"],  # matplotlib brings it, so figures are laid out alike everywhere
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",  # letters stay letters: they can be searched, and are set in the page's font
    "text.color": INK,
    "text.parse_math": False,  # a label may hold dollars
    "xtick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.color": GRID,
    "ytick.labelcolor": MUTED,
}


@dataclass(frozen=True)
class Picture:
    """A figure of the page."""

    svg: Markup
    caption: str
    alt: str  #: what it shows, for whoever does not see it


@contextmanager
def drawing() -> Iterator[None]:
    """Within it figures look as they do in a report, whatever this machine's settings of matplotlib are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that its font lacks; the browser's has them
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(height: float) -> tuple[Figure, Axes]:
    """height: in inches."""
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots()


def picture(figure: Figure, name: str, *, caption: str, alt: str) -> Picture:
    """name: of the figure on its page, so that what it defines has names of its own."""
    matplotlib.rcParams["svg.hashsalt"] = f"autotl {name}"  # equal runs give equal files
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return Picture(Markup(_inlined(out.getvalue())), caption, alt)  # matplotlib escapes all texts


def marks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a mark for each name, in the order in which they come first; they repeat after eight."""
    return {name: SERIES[place % len(SERIES)] for place, name in enumerate(dict.fromkeys(names))}


def _inlined(svg: str) -> str:
    """Without what only a file of its own needs, and with the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", r'<svg \1 aria-hidden="true">', svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", svg)
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
