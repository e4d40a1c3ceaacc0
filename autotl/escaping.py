"""Text that somebody else wrote, made harmless for where it is shown: a terminal, Markdown, a spreadsheet."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from typing import Any

#: Categories of characters that terminals obey in place of showing them: controls, lone surrogates, line and paragraph
#: separators, and marks that change the direction of what follows.
_OBEYED = {"Cc", "Cs", "Zl", "Zp", "Cf"}

#: Of these categories, what words are spelled with in some scripts, and parts of pictures.
SPELLING = {"\u200c", "\u200d", "\u00ad"}

#: What has a meaning in Markdown, wherever it may stand.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:@$^=])")

#: What makes a spreadsheet take a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def for_terminal(text: object) -> str:
    """On one line, with characters that a terminal would obey written as Python writes them."""
    return "".join(
        character.encode("unicode_escape", "backslashreplace").decode("ascii") if _is_obeyed(character) else character
        for character in str(text)
    )


def as_json(value: Any) -> str:
    """A line of JSON that a terminal may show: what it would obey is escaped, and words of any script stay readable."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isascii() and "\x7f" not in text:  # of these it has escaped what is obeyed
        return text
    return "".join(json.dumps(character)[1:-1] if _is_obeyed(character) else character for character in text)


def _is_obeyed(character: str) -> bool:
    return character not in SPELLING and unicodedata.category(character) in _OBEYED


def for_markdown(text: object) -> str:
    """As part of a line: no markup, no HTML, and no end of a table's cell."""
    line = for_terminal(" ".join(str(text).split()))
    return _MARKDOWN.sub(r"\\\1", html.escape(line, quote=False))


def for_csv(cell: object) -> object:
    """A cell that no spreadsheet runs: one that begins as formulas do, and is no number, gets an apostrophe."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
