"""What a report shows beside what a run's folder says: whoever knows the table and the study hands it over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class SetAside:
    """A row that was left out."""

    name: str  #: such as "flowers.csv: row 41"
    reason: str
    cell: Any  #: its input; empty where it has none


@dataclass(frozen=True)
class TableRows:
    """The rows that a run uses, in the order in which its split counts them, and those that it leaves out."""

    names: Sequence[str]  #: such as "flowers.csv: row 41"
    cells: Sequence[Any]  #: texts, paths of images, or tuples of either
    targets: np.ndarray  #: ``[rows, …]``, as the kind of the task has them
    groups: npt.NDArray[np.int64]  #: ``[rows]``: equal for rows that repeat each other
    set_aside: Sequence[SetAside] = ()


@dataclass(frozen=True)
class Findings:
    """All of it may be missing: then the report goes without, and says why."""

    rows: TableRows | None = None
    why_no_rows: str = ""
    importances: Mapping[str, float] = field(default_factory=dict)  #: shares by setting, the largest first
    finished_trials: int = 0  #: that the importances come from
    why_no_importances: str = ""


class TooLong(Exception):
    """The time that a report may take was over before it was written; nothing was."""
