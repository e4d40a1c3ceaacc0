"""How messages name things: short lists, close matches, and options that can be pasted into a shell."""

from __future__ import annotations

import difflib
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autotl.plugins.contracts import Modality


def listed(names: Iterable[object], *, limit: int = 8) -> str:
    """``'a', 'b', 'c' and 4 more``."""
    quoted = [shortened(name) if isinstance(name, str) else repr(name) for name in names]
    shown = ", ".join(quoted[:limit])
    return f"{shown} and {len(quoted) - limit} more" if len(quoted) > limit else shown


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """`` Did you mean 'label'?``, with its leading space, or nothing when no option is close."""
    spelled = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(name.casefold(), spelled, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(spelled[match]) for match in close)}?" if close else ""


def option(flag: str, *values: str) -> str:
    """``--text 'review text'``, quoted as a shell wants it."""
    return " ".join([flag, *map(for_shell, values)])


def for_shell(text: str) -> str:
    """One word of a command to be pasted, quoted where it must be, as the shell of this system wants it."""
    return subprocess.list2cmdline([text]) if os.name == "nt" else shlex.quote(text)


def in_words(names: Sequence[str]) -> str:
    """``title``, ``title and body``, ``title, lead and body``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def kind_of_input(modality: Modality, *, several: bool = False) -> str:
    """``text``, ``texts``, ``pair of texts``."""
    kinds = {
        "image": ("image", "images"),
        "images": ("set of images", "sets of images"),
        "text": ("text", "texts"),
        "text_pair": ("pair of texts", "pairs of texts"),
    }
    return kinds[modality][several]


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """``1 row``, ``3 rows``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def scored_rows(rows: int, unlearned: int, *, noun: str = "row") -> str:
    """``20 rows``, ``20 rows (2 of them …)``. unlearned: rows of which no answer can be all right."""
    why = f" ({unlearned} with a class or label that was not learned, as too few rows had it)" if unlearned else ""
    return counted(rows, noun) + why


def rows_of_test(tested: Mapping[str, Any], *, noun: str = "row") -> str:
    """``20 rows never used before``, of a ``tested`` event."""
    rows, seen = scored_rows(tested["rows"], tested["unlearned"], noun=noun), tested["learned"]
    told = f"{rows}, {seen} of which training has seen" if seen else f"{rows} never used before"
    return f"{told}; {counted(left_out, noun)} could not be read" if (left_out := tested["left_out"]) else told


def shortened(text: str, *, width: int = 60) -> str:
    """A cell as a message shows it: quoted, and cut when it is long."""
    return repr(text if len(text) <= width else text[: width - 1] + "…")


def a_kind_of(value: object) -> str:
    """``a list``, ``an int``, ``a polars.DataFrame``."""
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}".removeprefix("builtins.")
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
