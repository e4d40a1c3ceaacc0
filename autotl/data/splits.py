"""Setting rows aside for validation: stratified, repeatable, and never splitting a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.data.groups import members_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Indices = npt.NDArray[np.int64]
    Labels = Indices | npt.NDArray[np.bool_]

#: The standard error of an accuracy of 0.85 on 500 rows is 1.6 points, enough to tell good models from poor ones.
_WANTED = 500
#: Small tables need their rows for learning; in larger ones a tenth costs little and tells near equals apart.
_LEAST, _MOST = 0.10, 0.25
#: Every model that is judged reads them all, and on so many the standard error of 0.85 is 0.8 points. Of 263,000 texts
#: a tenth was more than a network could read in two minutes on two busy cores: none was judged at all.
MOST_ROWS = 2000


@dataclass(frozen=True)
class Split:
    """Which rows train and which validate, ``[n] int64`` each, sorted.

    `in_turn` are parts of `train`, as large as `valid`, that may validate in their turn, with all other rows to train
    on: so a small table tells as much as it can (cross-validation). A large one has none.

    `groups` ``[table rows] int64`` are equal for rows that no part divides; None where all rows are by themselves. Who
    divides the training rows once more has to heed them too.
    """

    train: Indices
    valid: Indices
    in_turn: Sequence[Indices] = ()
    groups: Indices | None = None

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "train": self.train.tolist(),
            "valid": self.valid.tolist(),
            "in_turn": [part.tolist() for part in self.in_turn],
            "groups": None if self.groups is None else self.groups.tolist(),
        }

    @classmethod
    def from_json(cls, known: Mapping[str, Any], *, rows: int) -> Split:
        """Raises `ValueError`, `KeyError`, `TypeError` or `OverflowError` for what is no split of so many rows."""
        train, valid = np.array(known["train"], dtype=np.int64), np.array(known["valid"], dtype=np.int64)
        if not np.array_equal(np.sort(np.concatenate([train, valid])), np.arange(rows)):
            raise ValueError(f"it does not divide {rows} rows")
        in_turn = [np.array(part, dtype=np.int64) for part in known.get("in_turn", [])]  # older runs have none
        named = np.concatenate([*in_turn, train[:0]])
        if not np.isin(named, train).all() or len(np.unique(named)) < len(named):
            raise ValueError("its parts are no parts of the training rows")
        groups = known.get("groups")
        if groups is not None and len(groups := np.array(groups, dtype=np.int64)) != rows:
            raise ValueError(f"its groups are not of {rows} rows")
        return cls(train, valid, in_turn, groups)


def split(labels: Labels, *, seed: int, groups: Indices | None = None, most: int = MOST_ROWS) -> Split:
    """The split of a table: a `holdout`, and where a quarter of a small one validates, the other quarters in turn.

    A row with a label that no row outside of its quarter has validates in none, and its group with it. most: as
    `default_fraction` has it.
    """
    train, valid = holdout(labels, seed=seed, fraction=default_fraction(len(labels), most), groups=groups)
    together = groups if groups is not None and len(np.unique(groups)) < len(groups) else None
    if default_fraction(len(labels)) < _MOST or not len(valid):
        return Split(train, valid, groups=together)
    parts, left = [], train
    for more in range(round(1 / _MOST) - 2, 0, -1):
        rest, part = holdout(
            labels[left], seed=seed, fraction=1 / (more + 1), groups=None if groups is None else groups[left]
        )
        parts.append(left[part])
        left = left[rest]
    parts.append(left)
    taught = [_with_labels_elsewhere(labels, part, groups) for part in parts]
    return Split(train, valid, [part for part in taught if len(part)], together)


def default_fraction(rows: int, most: int = MOST_ROWS) -> float:
    """The share of `rows` to validate on: about 500 rows, but 10 to 25 % of them, and `most` at most.

    most: rows that there is time to judge models by; 500 of them in any case.
    """
    return min(max(_WANTED / rows, _LEAST), _MOST, max(most, _WANTED) / rows) if rows else _MOST


def describe_default(rows: int, *, grouped: bool = False, most: int = MOST_ROWS) -> str:
    """``holdout of 500 of 2400 rows (21 %): …``: what `default_fraction` makes of so many rows, and why.

    grouped: whether rows stay together, so that a few more or fewer validate. most: as `default_fraction` has it.
    """
    share = default_fraction(rows, most)
    if share == _MOST:
        reason = (
            f"a quarter, as {_WANTED} would leave a small table too few rows to learn from; the other quarters "
            "validate the answer in their turn, if there is time"
        )
    elif share == _LEAST:
        reason = "a tenth of a larger table costs little and tells near equals apart"
    elif share < _LEAST:
        reason = "enough to tell near equals apart, and every model that is judged has to read them"
    else:
        reason = "as many as it takes to tell good models from poor ones"
    about = "about " if grouped else ""
    return f"holdout of {about}{round(rows * share)} of {rows} rows ({100 * share:.2g} %): {reason}"


def holdout(
    labels: Labels,
    *,
    seed: int,
    fraction: float | None = None,
    groups: Indices | None = None,
) -> tuple[Indices, Indices]:
    """Training and validation rows, ``[n] int64`` each, sorted, disjoint, together all rows.

    labels: ``[rows] int64``, any codes, or ``[rows, labels] bool``, one or more a row.
    fraction: share for validation; None is `default_fraction`.
    groups: ``[rows] int64``; rows of one group stay on one side. None makes every row its own group.

    Each label has its share in validation as nearly as its groups allow, and at least one row there if it has
    two groups to itself. Every label keeps a row for training. Where rows have several, what the rare labels took
    counts for the frequent ones too (Sechidis et al. 2011, "On the stratification of multi-label data"): 0.2 rows off
    in the mean, where rows that went by their rarest label alone were 1.6 off (20 labels, 632 rows).
    """
    if len(labels) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    members = members_of(np.arange(len(labels)) if groups is None else groups)
    contents, totals = _contents(labels, members)
    wanted = _shares(totals, default_fraction(len(labels)) if fraction is None else fraction)
    homes = _homes(contents, totals)
    generator = np.random.default_rng(seed)
    in_training = totals.copy()
    chosen = np.zeros(len(labels), dtype=bool)
    # Rare labels first: a group that holds several goes by its rarest, which has the least choice.
    for code in np.argsort(totals, kind="stable"):
        at_home = generator.permutation(np.flatnonzero(homes == code))
        for group in _take(at_home.tolist(), int(code), wanted, contents, totals, in_training):
            chosen[members[group]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _shares(totals: Indices, fraction: float) -> Indices:
    """Validation rows of each class, by largest remainder; one at least where the class has two rows."""
    exact = totals * fraction
    shares = np.floor(exact).astype(np.int64)
    left = round(float(exact.sum())) - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:left]] += 1
    clipped: Indices = np.clip(shares, np.minimum(1, totals - 1), totals - 1)
    return clipped


def _contents(labels: Labels, members: list[Indices]) -> tuple[list[Indices], Indices]:
    """The labels of each group's rows, as codes from 0 that may repeat, and how many rows have each."""
    if labels.ndim == 1:
        _, codes, totals = np.unique(labels, return_inverse=True, return_counts=True)
        return [codes[rows] for rows in members], totals
    present = labels[:, labels.any(0)]
    return [np.nonzero(present[rows])[1] for rows in members], present.sum(0)


def _homes(contents: list[Indices], totals: Indices) -> Indices:
    """The rarest label of each group."""
    by_rarity = np.argsort(totals, kind="stable")
    rank = np.empty_like(by_rarity)
    rank[by_rarity] = np.arange(len(by_rarity))
    starts = np.cumsum([0] + [len(codes) for codes in contents[:-1]])
    rarest: Indices = by_rarity[np.minimum.reduceat(rank[np.concatenate(contents)], starts)]
    return rarest


def _take(
    groups: Sequence[int], code: int, wanted: Indices, contents: list[Indices], totals: Indices, in_training: Indices
) -> list[int]:
    """The groups that give a label its validation rows; lowers `in_training` by what it takes."""
    taken: list[int] = []

    def moved(group: int, room: npt.NDArray[Any]) -> bool:
        held = np.bincount(contents[group], minlength=len(totals))
        fits = bool(np.all((held <= room) & (in_training > held) | (held == 0)))
        if fits:
            taken.append(group)
            in_training[:] -= held
        return fits

    # First those whose other labels have room left too, then as many as this label still wants.
    open_to = np.where(np.arange(len(totals)) == code, 0.0, np.inf)
    for beyond in (0, open_to):
        passed_over = []
        for group in groups:
            room = wanted - totals + in_training
            if room[code] <= 0:
                break
            if not moved(group, room + beyond):
                passed_over.append(group)
        groups = passed_over
    # All its groups may be larger than its share; then the smallest speaks for the label.
    for group in sorted(groups, key=lambda group: len(contents[group])):
        if wanted[code] == 0 or in_training[code] < totals[code]:
            break
        moved(group, open_to + np.inf)
    return taken


def _with_labels_elsewhere(labels: Labels, part: Indices, groups: Indices | None) -> Indices:
    """The rows of a part without those that have a label which is found in no other, and without their groups."""
    if labels.ndim == 1:
        only_here = np.isin(labels[part], np.delete(labels, part), invert=True)
    else:
        only_here = np.any(labels[part][:, ~np.delete(labels, part, axis=0).any(0)], axis=1)
    return part[~(only_here if groups is None else np.isin(groups[part], groups[part[only_here]]))]
