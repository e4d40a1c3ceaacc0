"""What inputs hold, rather than how they are named: which are equal, which nearly, and how large they are."""

from __future__ import annotations

import hashlib
import stat
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from autotl.data.cells import as_text, content_digest
from autotl.data.groups import number_groups
from autotl.data.near_duplicates import normalized
from autotl.data.paths import paths_of
from autotl.plugins.contracts import TEXTUAL, Modality

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: Bytes at either end of a file that tell nearly all pictures apart: those of a scanner or of one small side are all of
#: one size, and reading 84 GB of them took longer than most budgets are.
_END = 16_384

#: Threads that read, and files that each takes at a time. Where a photograph takes 30 ms to be opened, the audit of
#: 2400 took 51 s one by one, and 3.6 so.
_READERS, _AT_ONCE = 16, 16

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Contents:
    """The contents of inputs, in their order."""

    cells: Sequence[Any]  #: texts, of pairs both in one; or of images the paths of each input, as a tuple
    equal: npt.NDArray[np.int64]  #: ``[inputs]``: equal for equal content
    alike: npt.NDArray[np.int64]  #: ``[inputs]``: likewise, and for texts that are equal as `normalized`
    plain: Sequence[str]  #: texts as `normalized`; for images nothing
    sizes: Sequence[tuple[int, ...]]  #: bytes of the image files, -1 where there is none; for texts nothing


def contents_of(cells: Sequence[Any], modality: Modality) -> Contents:
    """Of image files it asks the size, reads the ends of those that are as large as another, and whole files only where
    these agree as well: no others can be equal.
    """
    return _text_contents(cells) if modality in TEXTUAL else _image_contents(cells)


def _text_contents(cells: Sequence[str | tuple[str, str]]) -> Contents:
    """Pairs are equal where both texts are, in their order; nearly equal where both in one text are."""
    texts = [(cell,) if isinstance(cell, str) else cell for cell in cells]
    plain = [tuple(map(normalized, parts)) for parts in texts]
    whole = [" ".join(parts) for parts in plain]
    return Contents([as_text(cell) for cell in cells], number_groups(texts), number_groups(plain), whole, [])


def _image_contents(cells: Sequence[Any]) -> Contents:
    """Several images are equal where each is, in their order."""
    inputs = [paths_of(cell) for cell in cells]
    paths = list(dict.fromkeys(path for several in inputs for path in several))
    sizes = dict(zip(paths, _of_each(_file_size, paths), strict=True))
    files = Counter(sizes.values())
    doubtful = [path for path, size in sizes.items() if size >= 0 and files[size] > 1]
    ends = dict(zip(doubtful, _of_each(lambda path: _ends_of(path, sizes[path]), doubtful), strict=True))
    keys: dict[str, Hashable] = {path: (sizes[path], ends.get(path, path)) for path in paths}
    alike = Counter(keys.values())
    large = [path for path, size in sizes.items() if alike[keys[path]] > 1 and size > 2 * _END]
    keys |= dict(zip(large, _of_each(lambda path: content_digest(path, "image"), large), strict=True))
    equal = number_groups(tuple(keys[path] for path in paths) for paths in inputs)
    return Contents(inputs, equal, equal, [], [tuple(sizes[path] for path in paths) for paths in inputs])


def _of_each(ask: Callable[[str], Answer], paths: Sequence[str]) -> list[Answer]:
    """What is asked of each file, in order; of many at once, as each may be at the other end of a network."""
    parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    with ThreadPoolExecutor(_READERS) as pool:
        return [answer for part in pool.map(lambda part: list(map(ask, part)), parts) for answer in part]


def _ends_of(path: str, size: int) -> Hashable:
    """A digest of the first and the last bytes; the path itself where they cannot be read."""
    try:
        with Path(path).open("rb") as file:
            first = file.read(_END)
            file.seek(max(size - _END, _END))
            return hashlib.blake2b(first + file.read(_END)).digest()
    except (OSError, ValueError):
        return path


def _file_size(path: str) -> int:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):  # not there, or a character that no path may hold
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1
