"""Has the report written: at the end of a search from what is at hand, later from the table and the study again."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from optuna.trial import TrialState

from autotl.budget import Clock
from autotl.data.inspection import Inspection, read_inputs
from autotl.data.wording import counted
from autotl.errors import AutoTLError
from autotl.report.findings import Findings, SetAside, TableRows, TooLong
from autotl.runs.run_file import fingerprint, read_run_file
from autotl.search.pace import REPORTING
from autotl.search.preparation import read_again
from autotl.search.study import read_study

#: Trials that came to their end, below which the best part would be a single trial.
ENOUGH_TRIALS = 8

#: Seconds for loading Optuna's importances, which load scikit-learn where that is installed: measured 1 s on two idle
#: cores, 3 s on busy ones. They are left out where they would take the time of the report.
LOADING = 3.0

#: The part of the trials that counts as good. Optuna's tenth is one trial or two in a search of some dozens.
BEST_PART = 0.25


def report_again(folder: Path, out: Path | None) -> Path:
    """Writes the report of a run that has ended, is at work, or was killed, and returns where it is.

    The table is read and audited once more. Raises `RunError` where there is no run.
    """
    run = read_run_file(folder)
    try:
        inspection = read_again(run.request, seconds=run.audit_seconds)
    except AutoTLError as error:
        return report(folder, None, why_no_rows=f"The rows cannot be shown: {error}", out=out)
    if fingerprint(inspection) != run.data_fingerprint:
        why = f"The rows cannot be shown: {run.request.data} has changed since this run began."
        return report(folder, None, why_no_rows=why, out=out)
    return report(folder, inspection, out=out)


def report_in_time(folder: Path, inspection: Inspection, seconds: float) -> str:
    """Writes the report where there is time for it; a search has ended well without it. Returns why it was not."""
    try:
        if not seconds:
            raise TooLong
        report(folder, inspection, clock=Clock(seconds))
    except TooLong:
        return f"no time was left for the report: 'autotl report {folder}' writes it"
    except Exception as error:  # a defect of it must not make a finished search one that failed
        return f"the report was not written ({type(error).__name__}: {error})"
    return ""


def report(
    folder: Path,
    inspection: Inspection | None,
    *,
    why_no_rows: str = "",
    out: Path | None = None,
    clock: Clock | None = None,
) -> Path:
    """Writes the report. inspection: the table as the run has it.

    Raises `TooLong` when the clock ends before it is written.
    """
    from autotl.report.page import write_report  # the only one who needs matplotlib, which takes a second to load

    findings = _importances(folder, Findings(why_no_rows=why_no_rows), clock or Clock())
    if inspection is not None:
        findings = replace(findings, rows=_rows(inspection))
    return write_report(folder, findings, out=out, clock=clock)


def _rows(inspection: Inspection) -> TableRows:
    table, kept = inspection.table, inspection.kept.tolist()
    inputs = read_inputs(table, inspection.task)
    return TableRows(
        names=[table.describe_row(row) for row in kept],
        cells=[inputs[row] for row in kept],
        targets=inspection.targets,
        groups=inspection.groups,
        set_aside=[SetAside(table.describe_row(row), why, inputs[row] or "") for row, why in inspection.set_aside],
    )


def _importances(folder: Path, findings: Findings, clock: Clock) -> Findings:
    """With the settings' importances, where enough trials came to their end and there is time."""
    study = read_study(folder)
    finished = 0 if study is None else len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    if study is None or finished < ENOUGH_TRIALS:
        why = f"{counted(finished, 'trial')} came to an end: too few to say which settings mattered most."
        return replace(findings, why_no_importances=why)
    if clock.remaining < LOADING + REPORTING:
        why = f"No time was left to find out which settings mattered most: 'autotl report {folder}' does."
        return replace(findings, why_no_importances=why)
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():  # of what is new in Optuna, and of settings that few trials had
        warnings.simplefilter("ignore")
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST_PART))
    shares = {name: share for name, share in shares.items() if share > 0}
    return replace(findings, importances=shares, finished_trials=finished)
