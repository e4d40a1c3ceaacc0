"""Writes an export and keeps it only where it answers as its form promises."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autotl.data.inspection import read_inputs
from autotl.data.tables import Table
from autotl.errors import ExportError
from autotl.exporters.checking import Comparison, compare, score_of
from autotl.files import is_disk_full, new_folder
from autotl.plugins.contracts import Exporter

if TYPE_CHECKING:
    from autotl.predictor.predictor import Predictor

#: Rows that an export is checked on, and learns ranges of activations from where it has to; some seconds of images.
MOST_ROWS = 200

#: By which a probability may differ where a form is exact: sums in another order come to 1e-6, and what is really
#: another computation, such as another way to scale images, to 1e-2.
TOLERANCE = 1e-4


def export(model: Predictor, exporter: Exporter, table: Table, out: Path) -> Comparison:
    """Makes the new folder `out`, after what is in it was loaded and compared with `model` on rows of `table`.

    Raises `ExportError` where `out` exists, the form cannot hold the model, or an exact one does not answer as the
    model does; then nothing is left behind. `DataError` where the table cannot be used.
    """
    if out.exists():
        raise ExportError(f"{out} exists already; name another folder with --out")
    if not out.parent.is_dir():
        raise ExportError(f"{out.parent}: no such folder; make it, or name another with --out")
    rows = np.unique(np.linspace(0, table.rows - 1, MOST_ROWS).round().astype(np.int64))
    sample = table.select(rows)
    expected = model.predictions(sample).answers
    cells = read_inputs(sample, model.task)
    readable = np.flatnonzero(~np.isnan(expected[:, 0]))
    score = score_of(model.task, sample, expected)  # before minutes of work, as labels may be wrong
    try:
        with new_folder(out) as unfinished:
            exporter.export(model, [cells[row] for row in readable], unfinished)
            comparison = compare(model, exporter.load(unfinished), unfinished, sample, expected, score)
            _refuse(model, exporter, comparison)
    except Exception as error:
        if not isinstance(error, OSError) and not is_disk_full(error):
            raise
        raise ExportError(f"{out} cannot be written ({getattr(error, 'strerror', None) or error})") from error
    return comparison


def _refuse(model: Predictor, exporter: Exporter, found: Comparison) -> None:
    """Raises `ExportError` where the form keeps less than it promises; a lossy one may lose all but rows."""
    if found.difference == float("inf"):
        what = "cannot read the same rows"
    elif exporter.exact and found.difference > TOLERANCE:
        what = f"differs by {found.difference:.2g} in a probability, more than {TOLERANCE:g}"
    else:
        return
    raise ExportError(
        f"beside {model.folder}, its export to {exporter.name!r} {what}, and was removed; use the bundle itself, and "
        "tell the authors of the exporter"
    )
