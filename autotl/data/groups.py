"""Groups of rows that belong together: numbering them, and joining what one grouping or another connects."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Groups = npt.NDArray[np.int64]


#: Of the rows beside the largest group that a person told, what is alike may tie so many to it. A split needs others.
MOST_TIED = 0.5


class Components:
    """Which of `count` things are connected, while connections are added one by one."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def join(self, one: int, other: int) -> None:
        """Connects two, and with them all that either is connected to."""
        first, second = sorted((self._root(one), self._root(other)))
        self._parents[second] = first

    def joined(self, one: int, other: int) -> bool:
        return self._root(one) == self._root(other)

    def groups(self) -> Groups:
        """``[count] int64``: equal where connected, numbered in the order of their first members."""
        return number_groups(self._root(one) for one in range(len(self._parents)))

    def _root(self, one: int) -> int:
        parents = self._parents
        while parents[one] != one:
            parents[one] = parents[parents[one]]  # half the way for whoever asks next
            one = parents[one]
        return one


def number_groups(keys: Iterable[Hashable]) -> Groups:
    """``[keys] int64``: equal for equal keys, numbered from 0 in the order in which they come first."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def members_of(groups: Groups) -> list[Groups]:
    """The rows of each group, ``[members] int64``, in the order of the groups' numbers."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order])) + 1
    return np.split(order, starts)


def groups_among(groups: Groups | None, rows: Groups) -> Groups | None:
    """Those of these rows ``[n] int64``; None where each of them is by itself."""
    if groups is None or len(np.unique(groups[rows])) == len(rows):
        return None
    return groups[rows]


def several(groups: Groups | None) -> Groups | None:
    """None where there is one group alone: nothing varies from group to group then, so rows have to do."""
    return None if groups is None or (groups == groups[0]).all() else groups


def tied(told: Groups, alike: Groups) -> Groups:
    """`merge_groups` of groups that a person told with rows that are alike, or the former alone.

    One content that is everywhere, such as "no findings" in reports of all hospitals, would make one group of them.
    """
    merged, told = merge_groups(told, alike), number_groups(told.tolist())
    largest = int(np.bincount(told).max(initial=0))
    return told if np.bincount(merged).max(initial=0) - largest > MOST_TIED * (len(told) - largest) else merged


def holds(groups: Groups, alike: Groups) -> bool:
    """Whether all rows of each number in `alike` are in one of the groups."""
    return len(np.unique(np.stack([groups, alike]), axis=1).T) == len(np.unique(alike))


def merge_groups(first: Groups, second: Groups) -> Groups:
    """The finest grouping that keeps together what either one does: rows are in one group iff connected.

    first, second: ``[rows] int64``, any numbers. Returns ``[rows] int64``, numbered by first appearance.
    """
    names, nodes = np.unique(first, return_inverse=True)
    components = Components(len(names))
    order = np.argsort(second, kind="stable")
    linked = np.diff(second[order]) == 0
    before, after = nodes[order[:-1]][linked], nodes[order[1:]][linked]
    for one, other in zip(before.tolist(), after.tolist(), strict=True):
        components.join(one, other)
    return number_groups(components.groups()[nodes].tolist())
