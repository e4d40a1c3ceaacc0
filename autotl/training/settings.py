"""The values that the search chose for a trial, handed out so that none can be ignored in silence."""

from __future__ import annotations

from collections.abc import Mapping

from autotl.errors import TrialError
from autotl.plugins.contracts import Value


class Settings:
    """Read-once-checked settings: a value that nobody read means that a search dimension has no effect."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)
        self._unread = set(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def number(self, name: str) -> float:
        """Raises `TrialError` when the setting is missing or not a number."""
        value = self._read(name)
        if isinstance(value, str):
            raise TrialError(f"setting {name!r} is {value!r}, not a number", kind="plugin")
        return float(value)

    def word(self, name: str) -> str:
        """Raises `TrialError` when the setting is missing."""
        return str(self._read(name))

    def _read(self, name: str) -> Value:
        if name not in self._values:
            raise TrialError(
                f"the strategy reads the setting {name!r}, which is not among its parameters", kind="plugin"
            )
        self._unread.discard(name)
        return self._values[name]

    def check_all_read(self) -> None:
        """Raises `TrialError` naming the settings that had no effect."""
        if self._unread:
            raise TrialError(f"settings were chosen but never read: {', '.join(sorted(self._unread))}", kind="plugin")
