"""What a model answered to the rows that judged it, as a run keeps it: one safetensors file a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from autotl.untrusted import read_header

#: Of the file's name, behind the model's.
SUFFIX = ".safetensors"


def as_bytes(valid: np.ndarray, answers: np.ndarray) -> bytes:
    """The file's contents. valid ``[rows] int64``, ascending; answers ``[rows, outputs] float32``."""
    return save({"valid": valid, "answers": np.ascontiguousarray(answers)})


def read_answers(file: Path, *, rows: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """What `as_bytes` was given, for a table of so many rows.

    Raises `OSError`, and `ValueError` or `KeyError` where the file is torn or of another table.
    """
    tensors = read_header(file).tensors
    (count,) = tensors["valid"].shape
    if count > rows or tensors["answers"].shape != (count, outputs):
        raise ValueError(f"{file.name}: not answers of so many numbers to rows of this table")
    with safe_open(file, "numpy") as stored:
        valid, answers = stored.get_tensor("valid"), stored.get_tensor("answers")
    if not (np.diff(valid) > 0).all() or not np.isin(valid, np.arange(rows)).all():
        raise ValueError(f"{file.name}: not rows of this table")
    return valid, answers
