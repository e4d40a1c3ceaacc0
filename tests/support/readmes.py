"""What the README of an exported folder promises, by its own lines."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np


def answers_of_readme(folder: Path, example: str, cells: str) -> list[np.ndarray]:
    """`answers` of each block of Python, but for those of sentence-transformers where it is not installed.

    example, cells: what the README answers, and what it shall, both as they are written in Python.
    """
    readme = (folder / "README.md").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL):
        if "sentence_transformers" in block and find_spec("sentence_transformers") is None:
            continue  # no requirement of ours
        assert example in block
        names = {}
        exec(block.replace("path/to/this/folder", str(folder)).replace(example, cells), names)
        found.append(names["answers"].numpy())
    return found
