"""What twins of a model answered to their parts of the table, kept until it is judged by all of these.

Each is a training as long as the model's own, and a kill loses the one in flight.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from autotl.files import write_durably
from autotl.predictor.answers import SUFFIX, as_bytes, read_answers
from autotl.runs.folder import TWINS_FOLDER
from autotl.search.line import Message
from autotl.search.shelf import Model


class Twins:
    """A file a model and part, with the answers of the model's views beside its own."""

    def __init__(self, folder: Path, *, rows: int, outputs: int) -> None:
        """folder: of the run. rows: of the table. outputs: of a model."""
        self._folder, self._rows, self._outputs = folder / TWINS_FOLDER, rows, outputs

    def known(self, model: Model, part: int, *, views: int) -> Message | None:
        """As the worker gave it; None where it did not come to that, or of another number of views."""
        try:
            valid, each = read_answers(self._place(model, part), rows=self._rows, outputs=(1 + views) * self._outputs)
        except (OSError, ValueError, KeyError):
            return None
        answers, *others = np.split(each, 1 + views, axis=1)
        return {"valid": valid, "answers": answers, "views": others}

    def keep(self, model: Model, part: int, reply: Message) -> None:
        """For the next process, if this one is killed."""
        each: Sequence[np.ndarray] = [reply["answers"], *reply["views"]]
        contents = as_bytes(reply["valid"], np.concatenate(each, axis=1))
        with suppress(OSError):  # nothing else makes way for what only saves time after a kill
            self._folder.mkdir(exist_ok=True)
            write_durably(self._place(model, part), contents)

    def let_go(self) -> None:
        """The models have them now."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self, model: Model, part: int) -> Path:
        return self._folder / f"{model.name}-{model.training_rows}-{part}{SUFFIX}"
