"""Text files to columns: decoding, separated values, JSON Lines.

Nothing is repaired in silence: a file that would have to be guessed at is refused with its line.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from autotl.data.wording import counted, listed
from autotl.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
_SNIFFED_ROWS = 50
#: The largest value that a C long holds on every platform; the default, 128 KiB, is less than a long document.
_LONGEST_CELL = 2**31 - 1

#: Columns by name, and the line of the file on which each row begins, counted from 1.
Parsed = tuple[dict[str, list[Any]], list[int]]


def read_text(path: Path) -> str:
    """The file as text: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Raises `DataError` naming line and byte for anything else, and `OSError` as the system gives it.
    """
    data = path.read_bytes()
    encoding, skipped = "utf-8", 0
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif data.startswith(codecs.BOM_UTF8):
        skipped = len(codecs.BOM_UTF8)
    try:
        text = data[skipped:].decode(encoding)
    except UnicodeDecodeError as error:
        position = skipped + error.start
        line = data.count(b"\n", 0, position) + 1
        way_out = (
            "Save it as UTF-8, for example: "
            f"iconv -f windows-1252 -t utf-8 {shlex.quote(path.name)} > {shlex.quote('utf8-' + path.name)}"
        )
        if encoding == "utf-8" and not data[skipped:].decode(encoding, "ignore").isascii():
            way_out = "Other parts are, so mend that line; converting the whole file would spoil them"
        raise DataError(
            f"{path.name}: line {line} (byte {position + 1}) is not {encoding.upper()} text. {way_out}"
        ) from error
    if (nul := text.find("\0")) >= 0:
        raise DataError(
            f"{path.name}: line {text.count(chr(10), 0, nul) + 1} holds a NUL character: the file is binary, damaged, "
            "or UTF-16 without a byte order mark. Save it as UTF-8 text."
        )
    return text


def parse_delimited(text: str, *, name: str, separator: str | None = None) -> Parsed:
    """Separated values with a header; `separator` None finds it out. An empty cell is None, all else stays text.

    Blank lines are skipped. Raises `DataError` for a bad header, a ragged row or a quote that never closes.
    """
    separator = separator or sniff_separator(text)
    records = _records(text, separator, name)
    _, header = next(records, (0, []))
    _check_header(header, name)
    rows: list[list[str]] = []
    lines: list[int] = []
    for line, cells in records:
        if len(cells) == 1 < len(header) and not cells[0].strip():
            continue  # a blank line with a space on it
        if len(header) > 1 and [cells[0].lstrip("\ufeff"), *cells[1:]] == header:
            raise DataError(
                f"{name}: row {len(rows) + 1} (line {line}) repeats the header, as joined files do. Remove that line."
            )
        if len(cells) != len(header):
            raise DataError(
                f"{name}: row {len(rows) + 1} (line {line}) has {counted(len(cells), 'cell')}, the header has "
                f"{len(header)} (separator {separator!r}). Put quotes around cells that hold the separator."
            )
        rows.append(cells)
        lines.append(line)
    columns = {column: [row[i] or None for row in rows] for i, column in enumerate(header)}
    return columns, lines


def sniff_separator(text: str) -> str:
    """The separator that splits the header, and most of the first rows into as many cells; a comma if none does."""
    best, best_evidence = ",", (0.0, 1)
    for separator in SEPARATORS:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        widths = [len(cells) for cells in islice(filter(None, _until_error(reader)), _SNIFFED_ROWS + 1)]
        if not widths or widths[0] < 2:
            continue
        evidence = (widths.count(widths[0]) / len(widths), widths[0])
        if evidence > best_evidence:
            best, best_evidence = separator, evidence
    return best


def parse_json_lines(text: str, *, name: str) -> Parsed:
    """One JSON object a line; the columns are the union of the keys, None where a row lacks one.

    Raises `DataError` naming the line that is not an object.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    # Not splitlines(): JSON strings may hold U+2028 and other characters that it would split at.
    for line, content in enumerate(re.split(r"\r\n|[\r\n]", text), start=1):
        if not content.strip():
            continue
        try:
            row = json.loads(content, object_pairs_hook=_object)
            if "\\u" in content:  # an escape can name half a character, which no encoder takes
                json.dumps(row, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise DataError(f"{name}: line {line} is not JSON ({error}). Write one object per line.") from error
        if not isinstance(row, dict):
            raise DataError(f'{name}: line {line} is not an object such as {{"text": "…", "label": "…"}}.')
        rows.append(row)
        lines.append(line)
    names = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key) for row in rows] for key in names}, lines


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"it names {listed(_repeated(key for key, _ in pairs))} more than once")
    return found


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _records(text: str, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the line on which it begins."""
    csv.field_size_limit(_LONGEST_CELL)
    # Strict, because a lenient reader takes a quote that never closes as one cell down to the end of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    first_line = 1
    try:
        for cells in reader:
            if cells:
                yield first_line, cells
            first_line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{name}: the record that begins on line {first_line} has a quote that is not closed or not doubled "
            f'({error}). Write a quoted cell as "…" with every quote inside it doubled.'
        ) from error


def _until_error(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """What can be read; the strict reading that follows says what is wrong."""
    try:
        yield from reader
    except csv.Error:
        return


def _check_header(header: list[str], name: str) -> None:
    if not header:
        raise DataError(f"{name}: the file is empty. A table needs a header line and rows.")
    if header[0].lower().startswith("sep="):
        raise DataError(f"{name}: line 1 tells Excel the separator and is no header. Remove that line.")
    if unnamed := [i for i, column in enumerate(header, start=1) if not column.strip()]:
        hint = " (pandas writes its row index so; use to_csv(index=False))" if unnamed[0] == 1 else ""
        raise DataError(f"{name}: column {listed(unnamed)} has no name in the header. Name it, or leave it out{hint}.")
    if repeated := _repeated(header):
        raise DataError(f"{name}: the header names {listed(repeated)} more than once. Rename or remove the repeats.")
