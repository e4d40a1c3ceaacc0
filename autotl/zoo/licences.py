"""Licences of weights, as their publishers name them, and which of them a search may use."""

from __future__ import annotations

from collections.abc import Sequence

#: The word for all of `PERMISSIVE`.
PERMISSIVE_WORD = "permissive"

#: Those that allow any use, also a commercial one, of the weights and of what is made of them, for no more than naming
#: where they come from.
PERMISSIVE = frozenset(
    (
        "0bsd", "apache-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
        "cc-by-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "isc", "mit", "unlicense", "zlib",
    )
)  # fmt: skip


def allowed(licence: str, licences: Sequence[str]) -> bool:
    """Whether a licence is among those asked for (none: all are). What is not known is not allowed."""
    name = licence.strip().lower()
    return not licences or name in licences or (PERMISSIVE_WORD in licences and name in PERMISSIVE)
