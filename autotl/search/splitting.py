"""Which rows train and which validate: settled once a run, when the worker has told which images are copies."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from autotl.data.splits import Split
from autotl.data.wording import counted, kind_of_input
from autotl.errors import DataError, RunError, TrialError
from autotl.files import write_durably
from autotl.plugins.contracts import PICTORIAL
from autotl.runs.folder import SPLIT_FILE
from autotl.search.disk import Disk
from autotl.search.preparation import Preparation
from autotl.search.session import Session
from autotl.untrusted import read_object

#: A place as JSON has it, with what stands between it and the next; one that validates in its turn is there twice.
BYTES_A_ROW = 16


class Splitting:
    """The split of a run, on disk and in the worker."""

    def __init__(self, session: Session, folder: Path, disk: Disk, *, seed: int) -> None:
        """folder: of the run."""
        self._dialogue, self._pace, self._events = session.dialogue, session.pace, session.events
        self._file, self._disk, self._seed = folder / SPLIT_FILE, disk, seed

    def settle(self, given: Preparation, seconds: float, *, known: bool) -> Preparation:
        """What was prepared, with the split that holds from now on. Raises `OutOfTime`.

        seconds: for looking at images. known: whether an earlier process of this run may have settled it.
        """
        before = given
        if known and self._file.exists():
            given = dataclasses.replace(given, split=self._read(len(given.inspection.kept)))
        elif given.inspection.task.modality in PICTORIAL:
            given = self._keep_copies_together(given, seconds)
        settled = json.dumps(given.split.as_json())
        self._disk.keep(lambda: write_durably(self._file, settled))
        if given is not before:
            self._dialogue.settle_split(given.split.as_json())
        return given

    def _read(self, rows: int) -> Split:
        """Raises `RunError` for a file that is no split of so many rows."""
        try:
            return Split.from_json(read_object(self._file, largest=3 * BYTES_A_ROW * rows + 1024), rows=rows)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise RunError(f"{self._file} cannot be read ({error}); search again with another --out") from error

    def _keep_copies_together(self, given: Preparation, seconds: float) -> Preparation:
        loading = self._pace.loading_seconds()
        test = [] if given.test is None else given.test.cells
        of_each_family = {candidate.family: candidate for candidate in reversed(given.candidates)}
        for candidate in reversed(of_each_family.values()):
            try:
                reply = self._dialogue.alike(candidate, test=test, seconds=seconds, loading=loading)
                break
            except TrialError as error:  # a backbone that cannot be used is named when it is screened
                failed = error
        else:
            self._events.emit("note", text=f"no copies were looked for among the images ({failed})")
            return given
        firsts = np.array(reply["groups"])
        copies = np.flatnonzero(firsts != np.arange(len(firsts)))
        if reply["compared"] < len(firsts):
            looked = f"{reply['compared']} of {len(firsts)}"
            kind = kind_of_input(given.inspection.task.modality, several=True)
            self._events.emit("note", text=f"copies were looked for among {looked} {kind} only")
        if reply["filling"]:
            kind = kind_of_input(given.inspection.task.modality, several=True)
            text = f"{reply['filling']} {kind} are nearly the same as most others of their class: they may be on both"
            self._events.emit("note", text=f"{text} sides of the split, and the score too good for other views")
        if count := reply["tested"]:
            told = f"{counted(count, 'row')} to test on {'shows' if count == 1 else 'show'} nearly the same as rows"
            self._events.emit("note", text=f"{told} that are learned from: a score on them flatters")
        if not len(copies):
            return given
        table, kept, modality = given.inspection.table, given.inspection.kept, given.inspection.task.modality
        one, other = table.describe_row(int(kept[copies[0]])), table.numbers[kept[firsts[copies[0]]]]
        found = counted(len(copies), kind_of_input(modality), kind_of_input(modality, several=True))
        alike = f"{found} nearly the same as another, such as {one} as row {other}"
        try:
            together = given.keeping_together(firsts, seed=self._seed)
        except DataError:
            text = f"{alike}; they are not kept together, as too little would be left to validate on"
            self._events.emit("note", text=text)
            return given
        self._events.emit("note", text=f"{alike}; such rows stay together in every split")
        return together
