"""Text files to columns, a part at a time: decoding, separated values, JSON Lines.

Nothing is repaired in silence: a file that would have to be guessed at is refused with its line.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from autotl.data.wording import counted, listed
from autotl.errors import DataError

Row = TypeVar("Row")

SEPARATORS = (",", ";", "\t", "|")
_SNIFFED_ROWS = 50
#: Characters of UTF-8 for each invalid byte from which on a file is UTF-8 with a slip. By chance neighbouring bytes of
#: other encodings are UTF-8 too: 0.3 for each invalid byte of Chinese in GB 18030 and of Japanese in EUC, and less in
#: six others.
_VALID_PER_INVALID = 5
#: Encodings that tables are written in where it is not UTF-8.
_ENCODINGS = (
    "windows-1252 (western Europe), windows-1250 (central Europe), windows-1254 (Turkish), windows-1251 (Cyrillic), "
    "windows-1253 (Greek), windows-1255 (Hebrew), windows-1256 (Arabic), cp874 (Thai), gb18030 (Chinese), "
    "big5 (traditional Chinese), cp932 (Japanese) or cp949 (Korean)"
)
#: The largest value that a C long holds on every platform; the default, 128 KiB, is less than a long document.
_LONGEST_CELL = 2**31 - 1

#: Rows of a part: many for whoever goes through them, and some ten megabytes of usual texts.
PART_ROWS = 8192

#: How files of JSON Lines are called; some are called ``.json``.
JSON_LINES = frozenset({".jsonl", ".ndjson"})

#: Lines with their ends, to go through as often as one likes.
Lines: TypeAlias = Iterable[str]


#: Rows that follow each other: columns by name, and the line of the file on which each begins, counted from 1.
Part: TypeAlias = tuple[dict[str, list[Any]], list[int]]


class TextFile:
    """The lines of a file of text: UTF-8 with or without a byte order mark, or UTF-16 with one.

    Going through them raises `DataError` naming line and byte for anything else, and `OSError` as the system gives it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[str]:
        with self._path.open("rb") as file:
            start = file.read(len(codecs.BOM_UTF8))
        utf_16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        with self._path.open(encoding="utf-16" if utf_16 else "utf-8-sig", newline="") as text:
            try:
                for number, line in enumerate(text, start=1):
                    if "\0" in line:
                        raise DataError(
                            f"{self._path.name}: line {number} holds a NUL character: the file is binary, damaged, or "
                            "UTF-16 without a byte order mark. Save it as UTF-8 text."
                        )
                    yield line
            except UnicodeDecodeError as error:
                raise _undecodable(self._path, "utf-16" if utf_16 else "utf-8") from error


def _undecodable(path: Path, encoding: str) -> DataError:
    """What is wrong with a file that is not in its encoding."""
    data = path.read_bytes()
    skipped = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    position = len(data)
    try:
        data[skipped:].decode(encoding)
    except UnicodeDecodeError as error:
        position = skipped + error.start
    if encoding == "utf-8" and _is_mostly_utf_8(data[skipped:]):
        way_out = "Other parts are, so mend that line; converting the whole file would spoil them"
    else:
        new = "utf8-" + path.name
        way_out = (
            "Save it as UTF-8 in the program that wrote it, or convert it with Python: "
            f"open({new!r}, 'wb').write(open({path.name!r}, 'rb').read().decode('ENCODING').encode()), "
            f"where ENCODING is what it was written in, such as {_ENCODINGS}"
        )
    line = data.count(b"\n", 0, position) + 1
    return DataError(f"{path.name}: line {line} (byte {position + 1}) is not {encoding.upper()} text. {way_out}")


def _is_mostly_utf_8(data: bytes) -> bool:
    """Whether by far the most of what is beyond ASCII is UTF-8, so that the rest is a slip."""
    valid = sum(not character.isascii() for character in data.decode("utf-8", "ignore"))
    invalid = data.decode("utf-8", "replace").count("\ufffd") - data.count("\ufffd".encode())
    return valid > _VALID_PER_INVALID * invalid


def has_lines_of_json(lines: Lines) -> bool:
    """Whether the first two lines that are not blank are objects by themselves, as in JSON Lines of several rows."""
    first = list(islice((line for line in lines if line.strip()), 2))
    try:
        return len(first) == 2 and all(isinstance(json.loads(line), dict) for line in first)
    except (ValueError, RecursionError):
        return False


def parse_delimited(lines: Lines, *, name: str, separator: str | None = None) -> Iterator[Part]:
    """Separated values with a header; `separator` None finds it out. An empty cell is None, all else stays text.

    Blank lines are skipped. Raises `DataError` for a bad header, a ragged row or a quote that never closes.
    """
    separator = separator or sniff_separator(lines)
    records = _records(lines, separator, name)
    _, header = next(records, (0, []))
    _check_header(header, name)
    for part in in_parts(_rows(records, header, separator, name)):
        columns = {column: [cells[i] or None for _, cells in part] for i, column in enumerate(header)}
        yield columns, [line for line, _ in part]


def _rows(
    records: Iterator[tuple[int, list[str]]], header: list[str], separator: str, name: str
) -> Iterator[tuple[int, list[str]]]:
    """Those of the records that are rows, each of which has a cell for each column."""
    row = 0
    for line, cells in records:
        if len(cells) == 1 < len(header) and not cells[0].strip():
            continue  # a blank line with a space on it
        row += 1
        if len(header) > 1 and [cells[0].lstrip("\ufeff"), *cells[1:]] == header:
            raise DataError(
                f"{name}: row {row} (line {line}) repeats the header, as joined files do. Remove that line."
            )
        if len(cells) != len(header):
            raise DataError(
                f"{name}: row {row} (line {line}) has {counted(len(cells), 'cell')}, the header has "
                f"{len(header)} (separator {separator!r}). Put quotes around cells that hold the separator."
            )
        if separator == "\t" and _are_rows(cells):
            raise DataError(
                f"{name}: row {row} (line {line}) goes on to the next line within a quoted cell, and each of its lines "
                "has the tabs of a row: a quote at the beginning of a cell has made one row of several. Write such a "
                'cell as "…" with every quote inside it doubled, or take the quote off.'
            )
        yield line, cells


def _are_rows(cells: list[str]) -> bool:
    """Whether the lines of a row of several columns could be rows each."""
    lines = "\t".join(cells).split("\n")
    return min(len(lines), len(cells)) > 1 and all(line.count("\t") == len(cells) - 1 for line in lines)


def in_parts(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """`PART_ROWS` at a time; one part without any where there are none."""
    rows = iter(rows)
    part = list(islice(rows, PART_ROWS))
    yield part
    while part := list(islice(rows, PART_ROWS)):
        yield part


def sniff_separator(lines: Lines) -> str:
    """The separator that splits the header, and most of the first rows into as many cells; a comma if none does."""
    best, best_evidence = ",", (0.0, 1)
    for separator in SEPARATORS:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=_has_spaced_quotes(lines, separator))
        widths = [len(cells) for cells in islice(filter(None, _until_error(reader)), _SNIFFED_ROWS + 1)]
        if not widths or widths[0] < 2:
            continue
        evidence = (widths.count(widths[0]) / len(widths), widths[0])
        if evidence > best_evidence:
            best, best_evidence = separator, evidence
    return best


def _has_spaced_quotes(lines: Lines, separator: str) -> bool:
    """Whether spaces stand between separators and the quotes around cells, in the first lines.

    Such a quote would be a part of the cell, and separators within the quotes would end it. As it is where the quotes
    are around its first words alone.
    """
    quote, cell = re.escape(separator) + ' +(?=")', re.compile(f'"(?:[^"]|"")*" *(?:{re.escape(separator)}|$)')
    found = [
        cell.match(line.rstrip("\r\n"), there.end())
        for line in islice(lines, _SNIFFED_ROWS)
        for there in re.finditer(quote, line)
    ]
    return bool(found) and all(found)


def parse_json_lines(lines: Lines, *, name: str) -> Iterator[Part]:
    """One JSON object a line; the columns of a part are the union of the keys, None where a row lacks one.

    Raises `DataError` naming the line that is not an object.
    """
    for part in in_parts(_objects(lines, name)):
        names = dict.fromkeys(key for _, row in part for key in row)
        yield {key: [row.get(key) for _, row in part] for key in names}, [line for line, _ in part]


def _objects(lines: Lines, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in enumerate(lines, start=1):
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
        yield line, row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"it names {listed(_repeated(key for key, _ in pairs))} more than once")
    return found


def _repeated(names: Iterable[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _records(lines: Lines, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the line on which it begins."""
    csv.field_size_limit(_LONGEST_CELL)
    # Strict, because a lenient reader takes a quote that never closes as one cell down to the end of the file.
    spaced = _has_spaced_quotes(lines, separator)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=spaced, strict=True)
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
        hint = (
            " (pandas writes its row index so: to_csv(index=False) leaves it out, index_label='…' names it)"
            if unnamed[0] == 1
            else ""
        )
        raise DataError(f"{name}: column {listed(unnamed)} has no name in the header. Name it, or leave it out{hint}.")
    if repeated := _repeated(header):
        raise DataError(f"{name}: the header names {listed(repeated)} more than once. Rename or remove the repeats.")
