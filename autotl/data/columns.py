"""What a column could be as an input, judged by its cells: images, text, or nothing a model here reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from autotl.data.cells import (
    are_few,
    distinct,
    is_date,
    is_missing,
    is_number,
    is_whole,
    spread,
    without_unit,
)
from autotl.data.folders import IMAGE_SUFFIXES, UNREAD
from autotl.data.paths import image_path, is_address, obstacle
from autotl.data.tables import Table
from autotl.data.terms import estimate_words
from autotl.data.wording import option, shortened
from autotl.errors import DataError

Role = Literal["target", "image", "images", "text", "text_pair", "ignore"]

_LOOKED_AT = 50  #: files whose existence is checked: each may be a round trip to a network disk
_TRIED = 3  #: texts that are tried as names of files, with each ending
_READ = 1000  #: cells whose words are counted; the mean is then within a few per cent
_ID_NAME = re.compile(r"(id|idx|index|uuid|guid|row|unnamed: \d+|__index_level_\d+__)", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


#: What to do where cells hold images and not where they are.
IMAGES_INSIDE = "its images are in the table itself: write each to a file, and give the column their paths"


@dataclass(frozen=True)
class ColumnRole:
    """What a column is used for, and why."""

    name: str
    role: Role
    confidence: float  #: 0 to 1; 1 is what the person said
    evidence: str  #: one sentence
    place: int = 0  #: among the columns of the input, where it has several: these are ordered


def judge_column(table: Table, name: str) -> ColumnRole:
    """The role of a column that is not the target.

    Raises `DataError` for image paths that lead nowhere and for addresses of images on the web.
    """
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    if not cells:
        return ColumnRole(name, "ignore", 1.0, "every cell is empty")
    if looks_like_images(cells):
        return judge_images(table, name, guessed=True)
    if why := _unread(cells):
        return ColumnRole(name, "ignore", 0.8, why)
    if is_picture(cells[0]):  # before anything spells them out as text
        return ColumnRole(name, "ignore", 0.8, IMAGES_INSIDE)
    different = distinct(cells)
    unique = different == len(cells) > 1
    if unique and _ID_NAME.fullmatch(name.strip()):
        return ColumnRole(name, "ignore", 0.95, "its name and its unique values are those of an id")
    if all(is_number(cell) for cell in cells):
        if unique and all(is_whole(cell) for cell in cells):
            return ColumnRole(name, "ignore", 0.9, "unique whole numbers; looks like an id")
        return ColumnRole(name, "ignore", 0.95, "numbers; tabular inputs are not used")
    texts = [cell for cell in cells if isinstance(cell, str)]
    if len(texts) < len(cells):
        other = next(type(cell).__name__ for cell in cells if not isinstance(cell, str))
        return ColumnRole(name, "ignore", 0.8, f"neither text nor image paths: it holds {other} values")
    if all(_UUID.fullmatch(text.strip()) for text in spread(texts, _LOOKED_AT)):
        return ColumnRole(name, "ignore", 0.95, "UUIDs; looks like an id")
    if all(map(is_date, spread(texts, _READ))):
        return ColumnRole(name, "ignore", 0.9, "dates; tabular inputs are not used")
    if unit := without_unit(spread(texts, _READ))[1]:
        return ColumnRole(name, "ignore", 0.9, f"numbers of {shortened(unit)}; tabular inputs are not used")
    return _judge_text(name, texts, different)


def _unread(cells: list[object]) -> str:
    """What to do with files of images that are not read, where all of a sample are such; empty elsewhere."""
    endings = {PurePath(cell.strip()).suffix.lower() for cell in spread(cells, _LOOKED_AT) if isinstance(cell, str)}
    return UNREAD.get(endings.pop(), "") if len(endings) == 1 else ""


def is_picture(cell: object) -> bool:
    """What holds an image itself: a mapping with its bytes, as data sets of the hub have them, Pillow's, an array."""
    with_bytes = isinstance(cell, Mapping) and "bytes" in cell
    return with_bytes or hasattr(cell, "getpixel") or getattr(cell, "ndim", 0) in (2, 3)


def holds_words(table: Table, name: str) -> bool:
    """Whether a column could be half of a pair: words, be they as few or as often the same as queries are."""
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    return (
        bool(cells)
        and all(isinstance(cell, str) for cell in cells)
        and not all(is_number(cell) or _UUID.fullmatch(cell.strip()) for cell in cells)
        and not looks_like_images(cells)
    )


def looks_like_images(cells: list[object]) -> bool:
    """Whether most of the cells end like image files."""
    sample = spread(cells, _LOOKED_AT)
    named = [
        cell for cell in sample if isinstance(cell, str) and PurePath(cell.strip()).suffix.lower() in IMAGE_SUFFIXES
    ]
    return 2 * len(named) >= len(sample)


def judge_images(table: Table, name: str, *, guessed: bool = False) -> ColumnRole:
    """The role of a column of image paths, after looking for a sample of the files. guessed: nobody said that it is.

    Raises `DataError` naming the first that is not there when fewer than half are.
    """
    filled = [(row, cell) for row, cell in enumerate(table.column(name)) if not is_missing(cell)]
    if not filled:
        raise DataError(f"{table.name}: every cell of column {name!r} is empty, so it names no image.")
    sample = spread(filled, _LOOKED_AT)
    missing: list[tuple[int, str]] = []
    for row, cell in sample:
        if not isinstance(cell, str):
            what = IMAGES_INSIDE if is_picture(cell) else "not the path of an image."
            raise DataError(f"{table.describe_row(row)}: column {name!r} holds {type(cell).__name__}, {what}")
        path = image_path(table.root, cell)
        if not _exists(path):
            missing.append((row, path))
    found = len(sample) - len(missing)
    otherwise = " Where another column is the input, name it, with --text or --image." if guessed else ""
    if 2 * found < len(sample):
        row, path = missing[0]
        if is_address(path):
            raise DataError(
                f"{table.describe_row(row)}: column {name!r} holds web addresses ({shortened(path)}). "
                f"Download the images and give their paths.{otherwise}"
            )
        shown = shortened(path, width=200).replace("\\\\", "\\")
        raise DataError(
            f"{table.describe_row(row)}: column {name!r} names {shown}, which "
            f"{obstacle(path) or 'is not there'} ({found} of {len(sample)} files looked for exist). "
            f"Relative paths start at {table.root}: move the table or mend the paths.{_hint(path)}{otherwise}"
        )
    return ColumnRole(name, "image", found / len(sample), f"{found} of {len(sample)} sampled cells name image files")


def _hint(path: str) -> str:
    """What may be wrong with a path that leads nowhere, as a sentence; empty where that is not known."""
    if ended := _with_ending(path):
        return f" There is {PurePath(ended).name!r}: write names with their endings."
    if "\\" in path:
        return " Write / in place of \\ between folders, which serves on every system."
    return ""


def unended_note(table: Table, name: str) -> str | None:
    """What a person should know of a column of texts that name image files beside the table, but for their endings."""
    cells = [cell for cell in table.column(name) if isinstance(cell, str) and not is_missing(cell)]
    ended = [_with_ending(image_path(table.root, cell)) for cell in spread(cells, _TRIED)]
    if not ended or None in ended:
        return None
    return (
        f"{name!r} is read as texts, and {PurePath(str(ended[0])).name!r} lies beside the table: where its cells name "
        f"images, write them with their endings and say {option('--image', name)}"
    )


def _with_ending(path: str) -> str | None:
    """The image file that has this path but for its ending."""
    if PurePath(path).suffix.lower() in IMAGE_SUFFIXES:
        return None
    return next((path + suffix for suffix in sorted(IMAGE_SUFFIXES) if _exists(path + suffix)), None)


def _judge_text(name: str, texts: list[str], different: int) -> ColumnRole:
    sample = spread(texts, _READ)
    words = sum(map(estimate_words, sample)) / len(sample)
    evidence = f"{words:.1f} words on average, {different} different values in {len(texts)} rows"
    if are_few(different, len(texts)):
        return ColumnRole(name, "ignore", 0.7, f"{evidence}; looks like a category, not a text")
    if words < 2:
        id_like = different == len(texts)
        return ColumnRole(name, "ignore", 0.7, f"{evidence}; looks like {'an id' if id_like else 'names'}, not a text")
    return ColumnRole(name, "text", min(0.95, 0.6 + words / 20), evidence)


def _exists(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long a name, or a character that no path may hold
        return False
