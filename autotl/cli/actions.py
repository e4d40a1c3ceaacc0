"""A command with options and, behind them, actions: an action's name ends the values of the option before it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose options of several values, such as ``--text``, stop where an action begins.

    argparse gives such an option all words that follow. Right behind an option a word is its value whatever it is
    called, so that a column may be named like an action.
    """

    #: What `add_subparsers` gave, where options of several values may come before it.
    actions: argparse._SubParsersAction[Any] | None = None

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does."""
        words = list(sys.argv[1:] if args is None else args)
        if self.actions is None or (place := self._begins(words, self.actions.choices)) is None:
            return super().parse_known_args(words, namespace)
        found, unknown = super().parse_known_args(words[:place], namespace)
        self.actions(self, found, words[place:])
        return found, unknown

    def _begins(self, words: Sequence[str], names: Any) -> int | None:
        """Where one of the names stands that is not the first value of an option."""
        valued = {word for word, option in self._option_string_actions.items() if option.nargs != 0}
        places = (place for place, word in enumerate(words) if word in names)
        return next((place for place in places if not place or words[place - 1] not in valued), None)
