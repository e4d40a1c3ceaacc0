"""Whether an encoder can be had without AutoTL and torch, and is the same there."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autotl.exporters.standalone import module_at
from autotl.plugins.contracts import PortableEncoder
from autotl.testing.promises import expect, expect_no_error

#: What the contract allows between the arrays of the two.
TOLERANCE = 1e-6


def check_portable(thing: str, encoder: PortableEncoder, cells: Sequence[Any]) -> None:
    """What `write_portable` writes reads cells as `encoder` does. Raises `BrokenPromise`."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        with expect_no_error(thing, "write_portable() writes preprocess.py, whose Inputs read cells"):
            packages = list(encoder.write_portable(folder))
            code = folder / "preprocess.py"
            inputs = module_at(code).Inputs(folder)
            rows, (unreadable,) = inputs.encode(cells), inputs.encode([None])
            batch = inputs.batch(rows)
        foreign = sorted(name for name in _imports(code) if name == "torch" or name.startswith("autotl"))
        expect(not foreign, thing, "preprocess.py imports neither torch nor AutoTL", ", ".join(foreign))
    named = all(isinstance(name, str) for name in packages) and bool(packages)
    expect(named, thing, "write_portable() gives the packages that it needs", repr(packages))
    expect(isinstance(unreadable, str), thing, "Inputs.encode() gives a reason for no cell", repr(unreadable))
    own = [row for row in encoder.encode(cells) if isinstance(row, np.ndarray)]
    same = all(np.array_equal(row, other) for row, other in zip(rows, own, strict=True))
    expect(same, thing, "Inputs.encode() gives the encoder's own arrays", "others")
    state = {name: tensor.numpy() for name, tensor in encoder.batch(rows).items()}
    expect(set(batch) == set(state), thing, "Inputs.batch() gives what batch() does", ", ".join(batch))
    for name, array in state.items():
        other = batch[name]
        kind = f"{other.shape} {other.dtype}"
        expect((other.shape, other.dtype) == (array.shape, array.dtype), thing, f"Inputs.batch() {name!r}", kind)
        off = float(np.abs(other.astype(np.float64) - array).max())
        expect(off <= TOLERANCE, thing, f"Inputs.batch() equals batch() to {TOLERANCE:g}", f"{name!r} is {off:.2g} off")


def _imports(code: Path) -> set[str]:
    """Packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(code.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found
