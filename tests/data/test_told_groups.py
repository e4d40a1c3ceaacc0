"""Groups that a person told: what ties two of them, and what must not."""

from __future__ import annotations

import numpy as np
from audits import audited, frame, reasons

from autotl.data.groups import tied
from autotl.data.inspection import inspect_table
from autotl.data.roles import Overrides
from autotl.data.splits import holdout
from autotl.data.tables import read_table


def test_one_text_that_is_everywhere_makes_no_one_group_of_all():
    table = frame(80)
    table["hospital"] = [f"h{n % 8}" for n in range(80)]
    table.loc[[*range(0, 8), *range(40, 48)], "text"] = "No acute findings at all in this study of the chest"
    table.loc[[*range(0, 8), *range(40, 48)], "label"] = "good"
    assert len(set(inspect_table(table, Overrides(group="hospital")).groups.tolist())) == 8
    found = audited(table, Overrides(group="hospital"))
    assert len(set(found.inspection.groups.tolist())) == 8
    assert any("rows of many different 'hospital' are alike" in note for note in found.notes)
    assert not [note for note in (*found.inspection.notes, *found.notes) if "together in every split" in note]
    train, valid = holdout(found.inspection.targets, seed=0, groups=found.inspection.groups)
    assert len(valid)
    assert not set(table["hospital"][train]) & set(table["hospital"][valid])


def test_a_large_group_unties_no_others():
    told = np.repeat([0, *range(1, 10)], [55, *[5] * 9])
    alike = np.arange(100)
    alike[[10, 60]] = 10
    merged = tied(told, alike)
    assert merged[10] == merged[60]
    assert len(set(merged.tolist())) == 9


def test_rows_that_are_set_aside_tie_no_groups():
    table = frame(40)
    table["patient"] = [f"p{n // 4}" for n in range(40)]
    table.loc[[1, 38], "text"] = "the same words of two patients"
    table.loc[[1, 38], "label"] = ["good", "bad"]  # which contradict each other
    assert len(set(inspect_table(table, Overrides(group="patient")).groups.tolist())) == 9
    found = audited(table, Overrides(group="patient"))
    assert set(reasons(found)) == {1, 38}
    assert len(set(found.inspection.groups.tolist())) == 10


def test_rows_to_test_on_of_groups_that_are_learned_are_told():
    table, test = frame(40), frame(20, seed=1)
    table["patient"] = [f"p{n // 4}" for n in range(40)]
    test["patient"] = ["p3", "p4", *[f"q{n}" for n in range(18)]]
    found = audited(table, Overrides(group="patient"), test=read_table(test))
    assert any("2 rows of DataFrame have a 'patient' that is learned from too" in note for note in found.notes)
    test["patient"] = [f"q{n}" for n in range(20)]
    assert not [
        note for note in audited(table, Overrides(group="patient"), test=read_table(test)).notes if "too" in note
    ]
