"""How wide intervals must be that hold a share of new rows: split conformal prediction (Lei et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


def half_widths(errors: np.ndarray, shares: Sequence[float], groups: np.ndarray | None) -> np.ndarray:
    """``[shares, targets] float64``, of how far answers ``[rows, targets]`` were off.

    groups ``[rows] int64``: rows of one count as one row, as new ones will be of other groups (Lee, Barber and Willett
    2023); None where each is by itself.
    """
    group = np.arange(len(errors)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count, order = int(group.max()) + 1, errors.argsort(0, kind="stable")
    held = (1 / ((count + 1) * np.bincount(group)))[group][order].cumsum(0)  # by each error, the largest last
    ranks = [np.minimum((held < share - 1e-9).sum(0), len(errors) - 1) for share in shares]
    # of so few rows the largest error holds a smaller share, and what is beyond it is a normal law's
    beyond = [max(_deviations(share) / _deviations(count / (count + 1)), 1.0) for share in shares]
    widths: np.ndarray = np.take_along_axis(np.sort(errors, 0), np.stack(ranks), 0) * np.array(beyond)[:, None]
    return widths


def _deviations(share: float) -> float:
    """How many standard deviations around the mean hold a share of what is normal."""
    return NormalDist().inv_cdf((1 + share) / 2)
