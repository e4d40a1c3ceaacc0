"""What a search stands on before anything is spent: the table, its split, and the backbones that could be used."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.config import SearchRequest
from autotl.data.audit import DEFAULT_SECONDS, Audit, audit
from autotl.data.cells import as_text, spread
from autotl.data.groups import holds, merge_groups, tied
from autotl.data.inspection import Inspection, groups_of, inspect_table, read_inputs, read_test
from autotl.data.splits import MOST_ROWS, Split, split
from autotl.data.tables import Table
from autotl.data.task import Task, encode_targets
from autotl.data.wording import did_you_mean, kind_of_input, listed
from autotl.errors import BundleError, DataError, ZooError
from autotl.plugins.contracts import TEXTUAL, Candidate, Modality, ModelFamily, ZooContext
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import find_bundle, read_card
from autotl.zoo import hub
from autotl.zoo.inventory import Listing, called, inventory, usable_candidates, zoo_folders
from autotl.zoo.languages import ENGLISH, share_of_english, suited
from autotl.zoo.licences import PERMISSIVE, PERMISSIVE_WORD
from autotl.zoo.words import mean_words

if TYPE_CHECKING:
    import pandas as pd

    from autotl.search.ledger import Ledger


#: Texts by which their language is told, and characters of each: the shares of words are then known to a per cent.
_ENOUGH_TEXTS, _ENOUGH_CHARACTERS = 1000, 1000

#: Of texts that are English, below which it is said that no backbone here reads others.
_MOSTLY = 0.5

#: Of the budget, for the part of the audit that grows with the table: what a search can lose without noticing.
_AUDIT_SHARE = 0.03

#: Of the budget, for judging one model: by 2000 of 25,000 reviews, judging two would take half of a minute.
_JUDGING_SHARE = 0.03

#: Words a second by which a model is judged, and those of a text that it reads: MiniLM on two cores with AMX took some
#: 9 s for 2000 texts that fill 128 tokens, and 17 s for those that fill 256. A network that reads others is no faster.
_JUDGED_A_SECOND, _READ = 20_000, 190

#: Pictures a second by which a model is judged: MobileNetV2-1.0 on two cores took 3 ms for one of 128 pixels a side.
#: Of 27,000 small ones in a minute, judging by 2000 took more than training.
_PICTURES_A_SECOND = 200


@dataclass(frozen=True)
class TestRows:
    """Rows that the answer is tested on: those with a target and an input."""

    cells: Sequence[Any]  #: `read_inputs` of each
    targets: np.ndarray  #: of these, as `autotl.kinds.kind` has them
    groups: np.ndarray | None  #: of these, equal where they are of one group

    def for_worker(self) -> dict[str, Any]:
        """As a message."""
        return {"cells": self.cells, "targets": self.targets, "groups": self.groups}


@dataclass(frozen=True)
class Preparation:
    """Nothing here changes during a search, but the split where images turn out to be copies, and the rows set aside,
    which unreadable ones join."""

    inspection: Inspection  #: what the audit left
    audit: Audit
    split: Split  #: of positions in `inspection.kept`
    test: TestRows | None
    candidates: Sequence[Candidate]  #: cheapest first
    too_large: Sequence[Candidate]  #: what could be used but for the limits
    augments: dict[str, bool]  #: by family
    hub_missed: bool  #: whether the hub was looked for and did not answer
    words: float  #: of a text, in the mean; 0 where inputs are none
    most_judges: int  #: rows that may validate

    def keeping_together(self, groups: np.ndarray, *, seed: int) -> Preparation:
        """With another split, which divides none of `groups` ``[kept] int64`` either.

        Raises `DataError` where too little would be left to validate on.
        """
        merge = tied if self.inspection.task.group else merge_groups
        merged = merge(self.inspection.groups, groups)
        if not holds(merged, groups):
            raise DataError(f"hardly two different {self.inspection.task.group!r} would be left")
        return replace(self, split=_divided(self.inspection, merged, seed=seed, most=self.most_judges))

    def for_worker(self, request: SearchRequest, folder: Path, fingerprint: str, teacher: str | None) -> dict[str, Any]:
        """What the worker must know. fingerprint: of the data. teacher: a bundle to learn from, or its run."""
        table, kept = self.inspection.table, self.inspection.kept.tolist()
        inputs = read_inputs(table, self.inspection.task)
        return {
            "task": self.inspection.task.model_dump(),
            "cells": [inputs[row] for row in kept],
            "row_names": [table.describe_row(row) for row in kept],
            "targets": self.inspection.targets,
            "weights": self.inspection.weights,
            **self.split.as_json(),
            "seed": request.seed,
            "seconds": request.budget_seconds or math.inf,
            "skip_limit": request.skip_limit,
            "max_memory": request.max_memory,
            "max_disk": request.max_disk,
            "folder": str(folder.resolve()),
            "teacher": teacher,
            "found_by": "" if request.budget_seconds is not None else _name(request, fingerprint),
        }


def _name(request: SearchRequest, fingerprint: str) -> str:
    """Equal for searches that do the same from the first trial on, however far they go."""
    asked = request.model_dump_json(exclude={"trials", "test"})
    return hashlib.sha256(f"{fingerprint} {asked}".encode()).hexdigest()[:16]


def audit_seconds(request: SearchRequest) -> float:
    """How long the audit may look for near-duplicates."""
    return DEFAULT_SECONDS if request.budget_seconds is None else _AUDIT_SHARE * request.budget_seconds


def prepare(
    request: SearchRequest, frame: pd.DataFrame | None, test_frame: pd.DataFrame | None, *, seconds: float,
    ledger: Ledger, download: float, judging: float = math.inf,
) -> Preparation:  # fmt: skip
    """Reads the table, audits and splits it, and looks for backbones. Writes nothing.

    frame, test_frame: the table, and the one to test on, where they are no files.
    seconds: `audit_seconds` of the request that began the run, as the split depends on it. ledger: books the audit.
    download: bytes of the largest model that is fetched from the hub, unless backbones are named. judging: seconds that
    one model may be judged for, as `judging_allowance` has them.
    Raises `AutoTLError` for whatever cannot be used.
    """
    inspection = _inspect(request, request.data if frame is None else frame)
    # read now, so that its faults are found before the budget is spent
    given = request.test if test_frame is None else test_frame
    test = None if given is None else read_test(given, inspection.task)
    teacher_notes = _check_teacher(request, inspection)
    words = _words(inspection)
    judges = _most_judges(inspection, words, judging)
    with ledger.book("auditing"):
        audited = _audit(request, inspection, test, seconds, most_judges=judges)
    test_notes = [f"{test.name}: {note}" for note in test.notes] if test else []
    inspection = replace(audited.inspection, notes=(*audited.inspection.notes, *test_notes, *teacher_notes))
    divided = _divided(inspection, inspection.groups, seed=request.seed, most=judges)
    families = plugins().families_for(inspection.task.modality)
    folders = zoo_folders(request.models)
    ask_hub = not request.offline and not folders
    online = ask_hub and hub.reachable()
    modality, zoo = inspection.task.modality, ZooContext(folders, online, len(inspection.task.inputs))
    download = math.inf if request.backbones else download
    within = usable_candidates(modality, families, zoo, request.limits, request.licences, download)
    listings = inventory(families, zoo, request.limits, request.licences, download)
    candidates: Sequence[Candidate] = _named(listings, request.backbones) if request.backbones else within
    inspection = replace(inspection, notes=(*inspection.notes, *_licence_notes(listings, request.licences)))
    too_large = _beyond(within, modality, families, zoo, request.licences) if request.limits.given else ()
    if modality in TEXTUAL:
        texts = [text for text in read_inputs(inspection.table, inspection.task) if text is not None]
        english = share_of_english([as_text(text)[:_ENOUGH_CHARACTERS] for text in spread(texts, _ENOUGH_TEXTS)])
        candidates, too_large = suited(candidates, english), suited(too_large, english)
        if english < _MOSTLY and not any(one.language != ENGLISH for one in candidates):
            there = usable_candidates(modality, families, zoo, request.limits, request.licences, math.inf)
            inspection = replace(inspection, notes=(*inspection.notes, _foreign_note(there)))
    return Preparation(
        inspection=inspection,
        audit=audited,
        split=divided,
        test=None if test is None else _to_test_on(test, inspection.task),
        # a download may take minutes, or never end, so what is on this machine goes first; the strongest by its prior
        # has its turn early anyway, so of equals the other is first
        candidates=sorted(candidates, key=lambda one: (one.source == "hub", one.parameters, one.prior)),
        too_large=too_large,
        augments={family.name: family.augments for family in families},
        hub_missed=ask_hub and not online,
        words=words,
        most_judges=judges,
    )


def read_again(request: SearchRequest, *, seconds: float) -> Inspection:
    """The table as `prepare` left it, for whoever looks at a run later. Raises `AutoTLError` for one that is gone."""
    if request.frame:
        raise DataError(f"the {request.frame} was a DataFrame, which is gone")
    inspection = _inspect(request, request.data)
    test = None if request.test is None else read_test(request.test, inspection.task)
    return _audit(request, inspection, test, seconds).inspection


def _inspect(request: SearchRequest, source: str | pd.DataFrame) -> Inspection:
    return inspect_table(
        source,
        request.overrides,
        metric=request.metric,
        kind=request.task,
        costs=request.costs,
        skip_limit=request.skip_limit,
    )


def judging_allowance(budget: float | None) -> float:
    """How long one model may be judged in a search of so many seconds, by the speed of a small encoder."""
    return math.inf if budget is None else _JUDGING_SHARE * budget


def _most_judges(inspection: Inspection, words: float, seconds: float) -> int:
    """Rows that may validate: as many as a model is judged by in so many seconds. words: as `_words` has them."""
    a_second = _JUDGED_A_SECOND / min(words, _READ) if words else _PICTURES_A_SECOND / len(inspection.task.inputs)
    return round(min(MOST_ROWS, seconds * a_second))


def _words(inspection: Inspection) -> float:
    """Of a text, in the mean of those that can be used; 0 where inputs are none."""
    if inspection.task.modality not in TEXTUAL:
        return 0.0
    inputs = read_inputs(inspection.table, inspection.task)
    return mean_words([inputs[row] for row in inspection.kept.tolist()])


def _divided(inspection: Inspection, groups: np.ndarray, *, seed: int, most: int) -> Split:
    """Raises `DataError` where what is left to validate on cannot be scored. most: rows that may validate."""
    task = inspection.task
    divided = split(task.rules.shared_out(inspection.targets), seed=seed, groups=groups, most=most)
    if not len(divided.valid):
        trouble, way_out = "nothing is left to validate on, as all rows of each class", ""
    elif not task.rules.can_score(task, task.metric, inspection.targets[divided.valid]):
        trouble, way_out = f"{task.metric} cannot be measured, as all rows of a class", ", or take another --metric"
    else:
        return divided
    raise DataError(
        f"{inspection.table.name}: {trouble} repeat each other or have one group. Add other rows, leave out --group "
        f"where it was given{way_out}"
    )


def _to_test_on(table: Table, task: Task) -> TestRows:
    cells, (targets, known) = read_inputs(table, task), encode_targets(table, task)
    rows = [row for row in np.flatnonzero(known).tolist() if cells[row] is not None]
    return TestRows([cells[row] for row in rows], targets[rows], groups_of(table, task, np.array(rows, np.int64)))


def _audit(
    request: SearchRequest, inspection: Inspection, test: Table | None, seconds: float, most_judges: int = MOST_ROWS
) -> Audit:
    chosen = None if request.set_aside is None else Path(request.set_aside)
    return audit(inspection, test=test, chosen=chosen, seconds=seconds, most_judges=most_judges)


def _beyond(
    within: Sequence[Candidate],
    modality: Modality,
    families: Sequence[ModelFamily],
    zoo: ZooContext,
    licences: Sequence[str],
) -> Sequence[Candidate]:
    """What could be used without limits, but for those `within`."""
    usable = usable_candidates(modality, families, zoo, licences=licences)
    return [candidate for candidate in usable if candidate not in within]


def _named(listings: Sequence[Listing], names: Sequence[str]) -> Sequence[Candidate]:
    """Those that are asked for. Raises `ZooError` for a name that no usable candidate has."""
    usable = [listing.candidate for listing in listings if listing.usable]
    for name in names:
        if called(name, usable):
            continue
        if known := called(name, [listing.candidate for listing in listings]):
            reason = next(listing.reason for listing in listings if listing.candidate == known[0])
            raise ZooError(f"the backbone {name!r} cannot be used here: {reason}")
        there = [candidate.name for candidate in usable]
        close = did_you_mean(name, there)
        raise ZooError(f"there is no backbone {name!r} here.{close} There are {listed(there)}; see 'autotl models'")
    meant = {candidate.key for name in names for candidate in called(name, usable)}
    return [candidate for candidate in usable if candidate.key in meant]


def _licence_notes(listings: Sequence[Listing], licences: Sequence[str]) -> list[str]:
    """A sentence for each licence asked for that nothing has and that is on no list: it may be a slip."""
    there = {listing.candidate.licence.lower() for listing in listings} | PERMISSIVE | {PERMISSIVE_WORD}
    return [
        f"no backbone here has the licence {licence!r} that --licenses names.{did_you_mean(licence, sorted(there))}"
        for licence in licences
        if licence not in there
    ]


def _foreign_note(there: Sequence[Candidate]) -> str:
    """there: candidates that could be had but for what was asked, and for what it takes to download them."""
    others = [candidate.name for candidate in there if candidate.language != ENGLISH]
    way_out = (
        f"{others[0]} could be had: name it with --backbones, or give a longer budget"
        if others
        else "give one of several languages with --models FOLDER"
    )
    return f"most texts are not English, and every backbone here was made of English alone: {way_out}"


def _check_teacher(request: SearchRequest, inspection: Inspection) -> Sequence[str]:
    """What a person should know of the teacher. Raises `BundleError` for one that is none, or for another question."""
    if request.teacher is None:
        return ()
    card = read_card(find_bundle(request.teacher))
    theirs, ours = card.task, inspection.task
    if (theirs.kind, theirs.outputs, theirs.modality) != (ours.kind, ours.outputs, ours.modality):
        raise BundleError(
            f"--teacher {request.teacher} answers with {', '.join(theirs.outputs[:5])} to "
            f"{kind_of_input(theirs.modality, several=True)}, and {inspection.table.name} has "
            f"{', '.join(ours.outputs[:5])} for {kind_of_input(ours.modality, several=True)}: a teacher needs the same "
            "classes and kind of input"
        )
    if not ours.rules.exclusive:
        raise BundleError(
            f"--teacher {request.teacher}: only classes are learned from a teacher, and {inspection.table.name} has "
            f"{ours.kind}. Leave it out"
        )
    if theirs.columns != ours.columns and max(len(theirs.columns), len(ours.columns)) > 1:
        raise BundleError(
            f"--teacher {request.teacher} reads {theirs.input_name}, and {inspection.table.name} has {ours.input_name} "
            "for an input: a teacher needs the same columns in the same order"
        )
    if not card.refit:
        return ()
    return (
        "the teacher was trained on the rows that had judged it too: where these validate here, models that learn from "
        "it are scored a little too well, and rows that are in neither table (--test) tell better",
    )
