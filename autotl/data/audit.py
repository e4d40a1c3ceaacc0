"""The audit of a table: repeats, rows that teach nothing or give the test away, and shortcuts; before any model.

It acts where that is safe: rows of equal or nearly equal content become one group, which no split divides, and rows
whose labels contradict each other or that are in the test table too are set aside. All else is a note.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.data.cells import count_words
from autotl.data.contents import Contents, contents_of
from autotl.data.groups import holds, members_of, merge_groups, number_groups, tied
from autotl.data.inspection import Inspection, read_inputs, told_groups
from autotl.data.labels import label_of
from autotl.data.near_duplicates import near_duplicates
from autotl.data.repeated_ids import repeated_id_notes
from autotl.data.set_aside import read_set_aside
from autotl.data.shortcuts import Shortcut, best_shortcut, image_features, looked_at, text_features
from autotl.data.splits import MOST_ROWS, describe_default
from autotl.data.tables import Table
from autotl.data.task import encode_targets
from autotl.data.wording import counted, kind_of_input, listed
from autotl.errors import DataError
from autotl.plugins.contracts import TEXTUAL

if TYPE_CHECKING:
    import numpy.typing as npt

    Indices = npt.NDArray[np.int64]

#: How long to look for near-duplicates where no budget says it: 200 000 short texts.
DEFAULT_SECONDS = 20.0
#: Characters a second that `near_duplicates` gets through: an eighth of what it usually does on one core, as texts that
#: are all much alike take that much longer. What is looked at depends on this and on nothing measured, so that a run
#: that is resumed comes to the same groups.
_CHARACTERS_PER_SECOND = 1e6

#: Nearly equal texts that make up more of the table are variations of a pattern: kept together they could not be
#: validated on. In a table of some ten rows a share says nothing.
_MOST_ALIKE, _ALWAYS_ALIKE = 0.1, 10

#: Rows that share a part of their inputs are kept together where they are a hundredth of all at most, as a tenth may be
#: what validates, and where there are so many groups.
_MOST_OF_A_PART, _FEWEST_GROUPS = 0.01, 8

_LEAST_ROWS = 2  #: of a class: one to learn from, one to check

#: What is said of rows that are set aside, by the first word of their reason.
_ABOUT = {
    "conflict": (
        "that contradicts most or all rows of the same content",
        "that contradict most or all rows of the same content",
    ),
    "leak": ("that is in the test table too", "that are in the test table too"),
}


@dataclass(frozen=True)
class Audit:
    """What was found in a table, and what remains of it."""

    inspection: Inspection  #: without the rows set aside, and with groups that hold near-duplicates together
    facts: dict[str, Any]  #: for machines, as JSON
    notes: tuple[str, ...]  #: for people, beside those of the inspection


def audit(
    inspection: Inspection,
    *,
    test: Table | None = None,
    chosen: Path | None = None,
    seconds: float = DEFAULT_SECONDS,
    most_judges: int = MOST_ROWS,
) -> Audit:
    """Audits the rows that an inspection kept.

    test: labelled rows that the model is to be scored on. chosen: a file that lists the rows to set aside, in place of
    those that the audit would. seconds: for how long to look for near-duplicates, by a fixed rate and not by a clock;
    all else is done in full. most_judges: rows that will validate at most, to be told. Reads the sizes of image files,
    and the contents of those that are as large as another.
    Raises `DataError` for a list of rows that cannot be followed.
    """
    began = time.perf_counter()
    task, table, rows = inspection.task, inspection.table, len(inspection.kept)
    inputs = read_inputs(table, task)
    tested = {} if test is None else {i: cell for i, cell in enumerate(read_inputs(test, task)) if cell is not None}
    contents = contents_of([*(inputs[row] for row in inspection.kept.tolist()), *tested.values()], task.modality)
    equal, alike = contents.equal[:rows], contents.alike[:rows]

    if chosen is not None:
        leaving, notes = _chosen(inspection, chosen)
    else:
        reasons = _conflicts(inspection, equal)
        if test is not None:
            reasons |= _leaks(alike, contents.alike[rows:], [test.describe_row(i) for i in tested])
        leaving, notes = _spare_classes(inspection, reasons)
    stay = np.setdiff1d(np.arange(rows), list(leaving))
    if len(stay) < _LEAST_ROWS:
        position, reason = next(iter(leaving.items()))
        row = table.describe_row(int(inspection.kept[position]))
        raise DataError(f"{row}: set aside ({reason}), and so are all rows of {table.name} but {len(stay)}. Mend that")
    scored = np.empty(0, bool) if test is None else encode_targets(test, task)[1][list(tested)]
    learned = int((np.isin(contents.alike[rows:], alike[stay]) & scored).sum())
    if test is not None and chosen is None and 0 < learned == scored.sum():
        raise DataError(
            f"{test.name}: all of its rows are in {table.name} too, and stay there, as next to nothing would be left "
            "of their classes: a score on them would say nothing of new rows. Leave --test out, or name other rows"
        )
    if learned and chosen is not None and test is not None:
        notes.append(f"{counted(learned, 'row')} of {test.name} stay in training, as {chosen.name} does not list them")

    everything, compared = _near_duplicates(contents, contents.alike, seconds)
    near, different = everything[:rows], len(set(alike.tolist()))
    compared = min(compared, different)
    nearly = int((np.isin(everything[rows:], near[stay]) & scored).sum()) - learned
    if nearly and test is not None:
        notes.append(
            f"{counted(nearly, 'row')} of {test.name} {'repeats' if nearly == 1 else 'repeat'} rows that are learned "
            "from but for case, punctuation or a few words: a score on them flatters"
        )
    if test is not None and chosen is None:
        notes += _known_groups_notes(inspection, stay, test, np.array(list(tested))[scored])
    together, pattern_notes = _without_patterns(inspection, near, alike)
    remaining, tied_notes = _kept_together(
        inspection.without({int(inspection.kept[position]): reason for position, reason in leaving.items()}),
        together[stay],
    )
    remaining, shared_notes = _with_shared_parts(remaining, inputs)
    notes += tied_notes + shared_notes
    notes += _repeat_notes(remaining, number_groups(contents.cells[i] for i in stay), together[stay])
    notes += pattern_notes
    if compared < different and task.modality in TEXTUAL:
        notes.append(f"near-duplicates were looked for in the first {compared} of {different} different texts only")
    notes += _undivided_notes(remaining)
    notes += repeated_id_notes(remaining)
    shortcut = _shortcut(remaining, contents, stay)
    if shortcut:
        notes.append(shortcut.describe(task.target))
    facts = {
        "rows": len(remaining.kept),
        "class_counts": task.rules.counts(task, remaining.targets),
        "input": _lengths(remaining, contents, stay),
        "repeats": _repeats(equal),
        "near_repeats": _repeats(together) - _repeats(equal),
        "texts_compared": compared,
        "test_rows_learned": learned,
        "set_aside": dict(Counter(_kind(reason) for _, reason in remaining.set_aside)),
        "shortcut": shortcut and {"feature": shortcut.feature.name, "score": shortcut.score, "chance": shortcut.chance},
        "split": describe_default(len(remaining.kept), grouped=_repeats(remaining.groups) > 0, most=most_judges),
        "seconds": round(time.perf_counter() - began, 3),
    }
    return Audit(remaining, facts, tuple(notes))


# -------------------------------------------------------------------- rows to set aside, by their position in `kept`


def _conflicts(inspection: Inspection, equal: Indices) -> dict[int, str]:
    """Rows whose label is not that of more than half of the rows with the same content."""
    task, targets = inspection.task, inspection.targets
    agreeing = task.rules.conflicts(targets)
    if agreeing is None:
        return {}
    labels = agreeing.tolist()
    reasons: dict[int, str] = {}
    for members in _repeated(equal):
        label, most = Counter(labels[i] for i in members).most_common(1)[0]
        first = {labels[i]: i for i in reversed(members)}
        for i in members if len(first) > 1 else ():
            if labels[i] == label and 2 * most > len(members):
                continue
            other = min(row for said, row in first.items() if said != labels[i])
            number = inspection.table.numbers[inspection.kept[other]]
            reasons[i] = f"conflict: row {number} has the same content and is {task.rules.said(task, targets[other])!r}"
    return reasons


def _leaks(alike: Indices, test_alike: Indices, test_rows: Sequence[str]) -> dict[int, str]:
    """Rows whose content is that of a test row, which `test_rows` names."""
    names = dict(zip(reversed(test_alike.tolist()), reversed(test_rows), strict=True))
    return {i: f"leak: {names[key]} has the same content" for i, key in enumerate(alike.tolist()) if key in names}


def _spare_classes(inspection: Inspection, reasons: Mapping[int, str]) -> tuple[dict[int, str], list[str]]:
    """The rows to set aside but for those of classes that would be left with one row or none, and notes."""
    short, classes = _short_classes(inspection, reasons), inspection.task.classes
    labels = inspection.task.rules.strata(inspection.targets).tolist()
    leaving = {i: reason for i, reason in sorted(reasons.items()) if labels[i] not in short}
    notes = []
    for kind, (of_one, of_several) in _ABOUT.items():
        if found := [i for i, reason in leaving.items() if _kind(reason) == kind]:
            row = inspection.table.describe_row(int(inspection.kept[found[0]]))
            why = leaving[found[0]].partition(": ")[2]
            about = f"{of_one}, {row}" if len(found) == 1 else f"{of_several}, such as {row}"
            notes.append(f"set aside: {counted(len(found), 'row')} {about} ({why})")
        if spared := [i for i, reason in reasons.items() if labels[i] in short and _kind(reason) == kind]:
            names = listed(sorted({classes[labels[i]] for i in spared}), limit=3)
            about = f"{of_one} is" if len(spared) == 1 else f"{of_several} are"
            notes.append(
                f"{counted(len(spared), 'row')} {about} not set aside, as next to nothing would be left of {names}"
            )
    return leaving, notes


def _chosen(inspection: Inspection, path: Path) -> tuple[dict[int, str], list[str]]:
    """The rows that a person listed, but for those that cannot be used anyway, and notes."""
    reasons = read_set_aside(path, inspection.table, inspection.task.columns)
    leaving = {i: reasons[row] for i, row in enumerate(inspection.kept.tolist()) if row in reasons}
    if short := _short_classes(inspection, leaving):
        names = listed([inspection.task.classes[code] for code in short], limit=3)
        raise DataError(
            f"{path.name}: fewer than {_LEAST_ROWS} rows would be left of {names}; learning and checking need at least "
            "two of each class. Take rows off this list, or remove the class from the table"
        )
    return leaving, [f"set aside: {counted(len(leaving), 'row')} listed in {path.name}"] if leaving else []


def _short_classes(inspection: Inspection, leaving: Mapping[int, str]) -> list[int]:
    """Classes that would lose rows and keep too few."""
    if not inspection.task.rules.exclusive:
        return []
    names = inspection.task.classes
    labels = inspection.task.rules.strata(inspection.targets)
    lost = np.bincount(labels[list(leaving)], minlength=len(names))
    left = np.bincount(labels, minlength=len(lost)) - lost
    short: list[int] = np.flatnonzero((lost > 0) & (left < _LEAST_ROWS)).tolist()
    return short


def _kind(reason: str) -> str:
    return reason.partition(":")[0]


# -------------------------------------------------------------------- rows that stay together


def _known_groups_notes(inspection: Inspection, stay: Indices, test: Table, scored: Indices) -> list[str]:
    """On rows to test on, `scored`, of groups that are learned from."""
    name = inspection.task.group
    if not name or name not in test.columns:
        return []
    cells = inspection.table.column(name)
    learned = {label_of(cells[row]) for row in inspection.kept[stay].tolist()} - {None}
    known = sum(label_of(test.column(name)[row]) in learned for row in scored.tolist())
    if not known:
        return []
    return [
        f"{counted(known, 'row')} of {test.name} {'has' if known == 1 else 'have'} a {name!r} that is learned from "
        "too: a score on them says little of others"
    ]


def _near_duplicates(contents: Contents, alike: Indices, seconds: float) -> tuple[Indices, int]:
    """``[rows] int64``, equal for contents that are alike or nearly so, and how many different texts were compared."""
    if not contents.plain:
        return alike, 0
    _, firsts = np.unique(alike, return_index=True)
    different = [contents.plain[i] for i in firsts]
    characters = np.cumsum([len(text) for text in different])
    compared = int(np.searchsorted(characters, seconds * _CHARACTERS_PER_SECOND, side="right"))
    near = np.arange(len(different)) + compared
    near[:compared] = near_duplicates(different[:compared])
    return near[alike], compared


def _without_patterns(inspection: Inspection, near: Indices, alike: Indices) -> tuple[Indices, list[str]]:
    """The groups without those that a split could not hold together, and a note on these."""
    members = np.bincount(near)[near]
    largest = max(_MOST_ALIKE * len(near), _ALWAYS_ALIKE)
    patterns = (members > largest) & (np.bincount(alike)[alike] < members)
    if not patterns.any():
        return near, []
    row = inspection.table.describe_row(int(inspection.kept[np.flatnonzero(patterns)[0]]))
    note = (
        f"{counted(int(patterns.sum()), 'row')} are variations of so few patterns, such as {row}, that no split can "
        "hold them together: the score says how well a model knows these patterns"
    )
    return np.where(patterns, near.max() + 1 + alike, near), [note]


def _kept_together(inspection: Inspection, together: Indices) -> tuple[Inspection, list[str]]:
    """The inspection with groups that hold these rows together too, and a note where that would leave no groups."""
    name = inspection.task.group
    if not name:
        return replace(inspection, groups=merge_groups(inspection.groups, together)), []
    told = told_groups(inspection.table, name, inspection.kept)  # by rows that stay: others tie nothing
    groups = tied(told, together)
    if holds(groups, together):
        return replace(inspection, groups=groups), []
    note = (
        f"rows of many different {name!r} are alike, and to keep all of these together would leave hardly two groups: "
        f"they are kept together by {name!r} alone"
    )
    return replace(inspection, groups=groups), [note]


def _with_shared_parts(inspection: Inspection, inputs: Sequence[Any]) -> tuple[Inspection, list[str]]:
    """Keeps rows together that share a part of their inputs, such as a claim beside several pieces of evidence.

    Otherwise what is learned of a claim would be asked of it again. One column after the other, unless that would leave
    too few groups, as where all questions are connected by some; a note says either. inputs: by row of the table.
    """
    task, notes = inspection.task, []
    for place, column in enumerate(task.columns if task.modality in ("text_pair", "images") else ()):
        parts = number_groups(inputs[row][place] for row in inspection.kept.tolist())
        shared = _repeats(parts)
        if holds(inspection.groups, parts):
            continue
        merged = merge_groups(inspection.groups, parts)
        if _can_still_be_split(inspection, merged):
            inspection = replace(inspection, groups=merged)
            notes.append(f"{counted(shared, 'row')} have the {column!r} of another: rows with the same stay together")
        else:
            notes.append(
                f"{counted(shared, 'row')} have the {column!r} of another, and too many are connected to keep these "
                "together: the score is one of what is partly known"
            )
    return inspection, notes


def _can_still_be_split(inspection: Inspection, merged: Indices) -> bool:
    """Whether some groups can validate others, with no class the less."""
    before, largest = np.bincount(inspection.groups).max(), np.bincount(merged).max()
    if largest > max(_MOST_OF_A_PART * len(merged), _ALWAYS_ALIKE, before) or len(np.unique(merged)) < _FEWEST_GROUPS:
        return False
    if not inspection.task.rules.exclusive:
        return True
    strata = inspection.task.rules.strata(inspection.targets)
    had, has = (
        np.bincount(np.unique(np.stack([strata, groups]), axis=1)[0]) > 1 for groups in (inspection.groups, merged)
    )
    return bool((has | ~had).all())


def _repeat_notes(inspection: Inspection, named: Indices, together: Indices) -> list[str]:
    """On rows that repeat a content under another name or in other words; equal inputs the inspection has noted."""
    repeats = _repeats(together) - _repeats(named)
    if repeats == 0:
        return []
    _, firsts, inverse = np.unique(together, return_index=True, return_inverse=True)
    first = firsts[inverse]
    later = int(np.flatnonzero(named != named[first])[0])
    row = inspection.table.describe_row(int(inspection.kept[later]))
    earlier = inspection.table.numbers[inspection.kept[first[later]]]
    what = "repeats" if repeats == 1 else "repeat"
    if inspection.task.modality in TEXTUAL:
        what += f" a {kind_of_input(inspection.task.modality)} but for case, punctuation or a few words"
    elif inspection.task.modality == "image":
        what += " an image under another name"
    else:
        what += f" a {kind_of_input(inspection.task.modality)} under other names"
    split = "; such rows stay together in every split" if holds(inspection.groups, together) else ""
    return [f"{counted(repeats, 'row')} {what}, such as {row} that of row {earlier}{split}"]


def _undivided_notes(inspection: Inspection) -> list[str]:
    """On classes of which no split can have rows on both sides."""
    if not inspection.task.rules.exclusive:
        return []
    names = inspection.task.classes
    pairs = np.unique(np.stack([inspection.task.rules.strata(inspection.targets), inspection.groups]), axis=1)
    single = np.flatnonzero(np.bincount(pairs[0], minlength=len(names)) == 1)
    if len(single) == 0:
        return []
    those = listed([names[code] for code in single.tolist()], limit=3)
    return [f"all rows of {those} belong together, so the score says nothing of them"]


def _repeats(groups: Indices) -> int:
    """Rows that are not the first of their group."""
    return len(groups) - len(np.unique(groups))


def _repeated(groups: Indices) -> Iterator[list[int]]:
    """The rows of each group that has several, ascending."""
    for members in members_of(groups):
        if len(members) > 1:
            yield members.tolist()


# -------------------------------------------------------------------- what the rows are like


def _shortcut(inspection: Inspection, contents: Contents, stay: Indices) -> Shortcut | None:
    """The best one on a sample of the rows at the positions `stay` of the contents, which the inspection has kept."""
    sample = looked_at(len(stay))
    cells = [contents.cells[i] for i in stay[sample]]
    labels = inspection.task.rules.strata(inspection.targets)[sample]
    if inspection.task.modality in TEXTUAL:
        features = text_features(cells)
    else:
        features = image_features(cells, [contents.sizes[i] for i in stay[sample]], labels)
    return best_shortcut(features, labels, inspection.groups[sample])


def _lengths(inspection: Inspection, contents: Contents, stay: Indices) -> dict[str, Any] | None:
    """The least, the median and the most words of a text, or bytes of an input's files; None where there are none."""
    if inspection.task.modality in TEXTUAL:
        unit, numbers = "words", [count_words(contents.cells[i]) for i in stay[looked_at(len(stay))]]
    else:
        unit, numbers = "bytes", [sum(contents.sizes[i]) for i in stay if min(contents.sizes[i]) >= 0]
    if not numbers:
        return None
    return {"unit": unit, "least": min(numbers), "median": float(np.median(numbers)), "most": max(numbers)}
