"""Every exception that AutoTL raises on purpose.

The command line prints the message of an `AutoTLError` on one line and exits with 2; anything else is
a bug and keeps its traceback. A message names the file, row or column and the way out.
"""

from typing import Literal

#: What can go wrong with a part of a search; `failures` says how each is known, and what helps.
FailureKind = Literal["data", "memory", "numbers", "network", "disk", "plugin", "time", "defect"]


class AutoTLError(Exception):
    """Something that the user can mend."""


class DataError(AutoTLError):
    """A table, column, cell or image cannot be used."""


class RowLostError(DataError):
    """What could be read at first cannot be read any more: whoever needs it fails, and the search goes on."""


class TaskError(AutoTLError):
    """It is unclear what is to be learned, or it cannot be learned from this table."""


class BudgetError(AutoTLError):
    """A budget that cannot be read or kept."""


class ZooError(AutoTLError):
    """No backbone can be had, or the one asked for cannot be loaded."""


class PluginError(AutoTLError):
    """A plugin that is needed is missing or breaks its contract."""


class RunError(AutoTLError):
    """A run folder exists already, is missing, or cannot be written."""


class BundleError(AutoTLError):
    """A bundle on disk is missing, torn, or from another version."""


class ExportError(AutoTLError):
    """A model that a form of export cannot hold, or an export that does not answer as the model does."""


class TrialError(Exception):
    """A trial failed; it costs itself only and is recorded with this message."""

    kind: FailureKind = "defect"

    def __init__(self, message: str, *, kind: FailureKind | None = None) -> None:
        """kind: of what went wrong, for whoever reads no messages; by default this class's."""
        super().__init__(message)
        self.kind = kind or self.kind


class DiskFullError(TrialError):
    """What a trial has to write finds no room, although everything that may make way has."""

    kind = "disk"


class DivergedError(TrialError):
    """Numbers that are not finite came out where nothing can be made of them: a loss, features, a model's answers."""

    kind = "numbers"


class UnreadableError(DataError, TrialError):
    """More rows than are allowed cannot be read: that costs whoever reads them, and the search where nobody can."""

    kind = "data"
