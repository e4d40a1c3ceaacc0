"""Whether an exporter keeps its contract: a folder that answers like the bundle, wherever it is moved."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autotl.exporters.exporting import TOLERANCE
from autotl.plugins.contracts import Exporter
from autotl.testing.promises import expect, expect_no_error

if TYPE_CHECKING:
    from autotl.predictor.predictor import Predictor


def check_exporter(exporter: Exporter, model: Predictor, cells: Sequence[Any]) -> None:
    """An exporter keeps its contract with a bundle that it can hold, such as one of `make_bundle`.

    cells: readable ones, as many as an exporter may learn from. Raises `BrokenPromise`.
    """
    check_exporter_facts(exporter)
    thing = f"exporter {exporter.name!r}"
    bundle = _contents(model.folder)
    with tempfile.TemporaryDirectory() as given:
        made, moved = Path(given, "made"), Path(given, "moved")
        made.mkdir()
        with expect_no_error(thing, "export() writes a model that it can hold"):
            exporter.export(model, cells, made)
        files = sorted(path.name for path in made.iterdir())
        expect("README.md" in files, thing, "README.md says how the folder is loaded", ", ".join(files) or "nothing")
        beside = sorted({path.name for path in Path(given).iterdir()} - {"made"})
        expect(not beside, thing, "writes into the folder that it is given, and nowhere else", ", ".join(beside))
        expect(_contents(model.folder) == bundle, thing, "leaves the bundle as it is", "other contents in it")
        made.rename(moved)
        with expect_no_error(thing, "load() loads a folder that was moved, and it answers"):
            answer = exporter.load(moved)
            found, alone, unreadable = answer(cells), answer(cells[:1]), answer([cells[0], None])
    expected = model.answers(cells).answers
    promise = f"answers with probabilities {expected.shape} float32"
    expect(found.shape == expected.shape and found.dtype == np.float32, thing, promise, f"{found.shape} {found.dtype}")
    off = float(np.abs(found.sum(1) - 1).max())
    expect(off < 1e-3, thing, "a row's probabilities sum to one", f"{off:.2g} off")
    blank = bool(np.isnan(unreadable[1]).all() and not np.isnan(unreadable[0]).any())
    expect(blank, thing, "a cell that cannot be read gets NaN, and its neighbours an answer", unreadable.tolist())
    if exporter.exact:
        for what, difference in (
            ("answers as the bundle does", np.abs(found - expected).max()),
            ("answers a row alone as among others", np.abs(alone - found[:1]).max()),
        ):
            expect(difference <= TOLERANCE, thing, f"{what}, to {TOLERANCE:g}", f"a difference of {difference:.2g}")


def check_exporter_facts(exporter: Exporter) -> None:
    """What an exporter says of itself holds together. Raises `BrokenPromise`."""
    thing = f"exporter {getattr(exporter, 'name', type(exporter).__name__)!r}"
    expect(isinstance(exporter, Exporter), thing, "has all members of Exporter", type(exporter).__name__)
    named = re.fullmatch(r"\w+(-\w+)*", exporter.name) is not None
    expect(named, thing, "its name is a word, or words with hyphens between", repr(exporter.name))
    expect(bool(exporter.help) and "\n" not in exporter.help, thing, "help is one line", repr(exporter.help))
    expect(isinstance(exporter.exact, bool), thing, "exact is true or false", repr(exporter.exact))


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
