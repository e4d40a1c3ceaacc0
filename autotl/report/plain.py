"""Text of data, models and plugins on a screen: as it is spelled, without markup and without what terminals obey."""

from __future__ import annotations

from rich.text import Text

from autotl.escaping import for_terminal


def plain(text: object, style: str = "") -> Text:
    """One line of such text, in one of our styles."""
    return Text(for_terminal(text), style)
