"""How far things that are not content predict the label: a text's length, an image file's size, and the like."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from autotl.data.cells import count_words
from autotl.data.groups import number_groups

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.int64]

#: Rows that are looked at: the standard error of a balanced accuracy is half a point then, little beside the margin.
_ROWS = 10_000
#: Characters of a text whose kinds are counted: a share is then within a point or two.
_CHARACTERS = 1000
#: Ten bins follow any bend that a person would call a rule, and each still has some ten rows in a table of 200.
_BINS = 10
#: Of balanced accuracy beyond chance. Less is what honest differences make: questions are shorter than answers.
_MARGIN = 0.15
#: Beyond noise: the best of some six features reaches three standard errors by chance once in a hundred tables.
_STANDARD_ERRORS = 3.0

#: What a model that is given the content can see of it, and what only the file's place shows.
_SEEN = "a model may learn that instead of the content"
_UNSEEN = "the classes may come from different sources, which a model can learn instead of the content"


@dataclass(frozen=True)
class Feature:
    """Something that is known of every row without its content."""

    name: str  #: such as "file size"
    values: Numbers  #: ``[rows]``; numbers of categories where it has no order
    ordered: bool = True
    seen: bool = True  #: whether a model could see it


@dataclass(frozen=True)
class Shortcut:
    """A feature that predicts the label by itself."""

    feature: Feature
    score: float  #: balanced accuracy on rows that the rule was not made from
    chance: float

    def describe(self, target: str) -> str:
        risk = _SEEN if self.feature.seen else _UNSEEN
        return (
            f"{self.feature.name} alone predicts {target!r} with balanced accuracy {self.score:.2f} "
            f"(chance {self.chance:.2f}): {risk}"
        )


def looked_at(rows: int) -> Indices:
    """The rows that a search for shortcuts takes, at even distances."""
    count = min(rows, _ROWS)
    return np.arange(count) * rows // max(count, 1)


def text_features(texts: Sequence[str]) -> list[Feature]:
    """Length and kinds of characters."""
    kinds = _kinds_of_characters([text[:_CHARACTERS] for text in texts])
    return [
        Feature("the number of characters", np.array([len(text) for text in texts], dtype=np.float64)),
        Feature("the number of words", np.array([count_words(text) for text in texts], dtype=np.float64)),
        *(Feature(f"the share of {name}", share) for name, share in kinds.items()),
    ]


def image_features(
    inputs: Sequence[tuple[str, ...]], sizes: Sequence[tuple[int, ...]], labels: Indices
) -> list[Feature]:
    """Size and kind of the files, and where they lie unless each class has its own folder; of several images each.

    inputs: the paths of each. sizes: bytes of these files, -1 where there is none.
    """
    found = [
        _file_features(paths, bytes_, labels)
        for paths, bytes_ in zip(zip(*inputs, strict=True), zip(*sizes, strict=True), strict=True)
    ]
    if len(found) == 1:
        return found[0]
    return [
        replace(feature, name=f"{feature.name} of image {number}")
        for number, features in enumerate(found, start=1)
        for feature in features
    ]


def _file_features(paths: Sequence[str], sizes: Sequence[int], labels: Indices) -> list[Feature]:
    names = [PurePath(path) for path in paths]
    suffixes = number_groups(name.suffix.lower() for name in names)
    found = [
        Feature("file size", np.array(sizes, dtype=np.float64)),
        Feature("the suffix of the file", suffixes.astype(np.float64), ordered=False),
        Feature("the length of the file name", np.array([len(n.name) for n in names], dtype=np.float64), seen=False),
    ]
    folders = number_groups(name.parent.name for name in names)
    together = len(set(zip(folders.tolist(), labels.tolist(), strict=True)))
    if together == len(set(folders.tolist())) == len(set(labels.tolist())):
        return found
    depths = np.array([len(name.parts) for name in names], dtype=np.float64)
    return [
        *found,
        Feature("the folder", folders.astype(np.float64), ordered=False, seen=False),
        Feature("the depth of the folder", depths, seen=False),
    ]


def best_shortcut(features: Sequence[Feature], labels: Indices, groups: Indices) -> Shortcut | None:
    """The feature that predicts the label best, if it does so by a clear margin.

    labels, groups: ``[rows] int64``. A rule is made from half of the groups and looked at on the others, and the
    other way round: the values fall into ten bins, and each bin says the class that has most of its rows there.
    """
    codes = number_groups(labels.tolist())
    classes = int(codes.max(initial=0)) + 1
    if classes < 2:
        return None
    halves = _halves(groups)
    members = np.unique(np.stack([codes, groups]), axis=1)[0]  # rows of a group are no evidence of their own
    # A recall p has the variance p (1 - p) / n, which is a quarter of 1 / n at most.
    error = float(np.sqrt((0.25 / np.bincount(members, minlength=classes)).sum())) / classes
    found = [Shortcut(feature, _score(feature, codes, halves), 1 / classes) for feature in features]
    best = max(found, key=lambda shortcut: shortcut.score)
    return best if best.score - best.chance > max(_MARGIN, _STANDARD_ERRORS * error) else None


def _halves(groups: Indices) -> npt.NDArray[np.bool_]:
    """``[rows] bool``: which half each row is in; a group is in one."""
    names, members = np.unique(groups, return_inverse=True)
    sides: npt.NDArray[np.bool_] = np.random.default_rng(0).permutation(len(names)) % 2 == 0
    return sides[members]


def _score(feature: Feature, codes: Indices, halves: npt.NDArray[np.bool_]) -> float:
    """Balanced accuracy of the rules from either half on the other."""
    said = np.full(len(codes), -1)
    for half in (halves, ~halves):
        if half.any() and not half.all():
            said[~half] = _apply_rule(feature, codes, half)[~half]
    totals = np.bincount(codes)
    return float((np.bincount(codes[said == codes], minlength=len(totals)) / totals).mean())


def _apply_rule(feature: Feature, codes: Indices, known: npt.NDArray[np.bool_]) -> Indices:
    """``[rows] int64``: the class that each row's bin says, by the rows that are `known`; -1 where none was there."""
    if feature.ordered:
        edges = np.unique(np.quantile(feature.values[known], np.arange(1, _BINS) / _BINS))
        bins = np.searchsorted(edges, feature.values)
    else:
        bins = feature.values.astype(np.int64)
    counts = np.zeros((int(bins.max()) + 1, int(codes.max()) + 1))
    np.add.at(counts, (bins[known], codes[known]), 1.0)
    # Of its own rows: the score weighs all classes alike, and so does the rule.
    shares = counts / np.maximum(counts.sum(axis=0), 1.0)
    says = np.where(counts.any(axis=1), shares.argmax(axis=1), -1)
    return says[bins]


def _kinds_of_characters(texts: Sequence[str]) -> dict[str, Numbers]:
    """The share of each kind among a text's characters, ``[texts]`` each; texts are not empty."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.array([len(text) for text in texts])
    begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    met = np.flatnonzero(np.bincount(codes))
    categories = [unicodedata.category(chr(code)) for code in met]
    shares: dict[str, Numbers] = {}
    for name, wanted in (("upper case", ("Lu", "Lt")), ("digits", ("Nd",)), ("punctuation", ("P",))):
        is_kind = np.zeros(int(met[-1]) + 1, dtype=np.int64)
        is_kind[met] = [category.startswith(wanted) for category in categories]
        shares[name] = np.add.reduceat(is_kind[codes], begins) / lengths
    shares["characters beyond ASCII"] = np.add.reduceat((codes > 127).astype(np.int64), begins) / lengths
    return shares
