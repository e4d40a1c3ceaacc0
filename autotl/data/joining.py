"""From the cells of a row's input columns to the one input that networks read.

Exports ship a copy of this file: it imports nothing of AutoTL.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Inputs whose columns stay apart: a cell is a tuple of all of them, and a row that lacks one has no input.
APART = ("images", "text_pair")


def one_input(names: Sequence[str], values: Sequence[str | None], modality: str) -> str | tuple[str, ...] | None:
    """The input of a row whose columns `names` hold `values`, in their order; None where it has none.

    One column's value is the input as it is. A pair of texts stays a pair, and half of one is no input; so it is with
    several images. Several texts become one, each on its line behind the name of its column; of those that are missing
    there is no line.
    """
    if modality in APART:
        whole = tuple(value for value in values if value is not None)
        return whole if len(whole) == len(values) else None
    if len(values) == 1:
        return values[0]
    lines = [f"{name}: {value}" for name, value in zip(names, values, strict=True) if value is not None]
    return "\n".join(lines) or None
