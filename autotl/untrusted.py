"""Reading files that may come from anywhere: sizes before contents, and nothing that is in them is ever run."""

from __future__ import annotations

import json
import math
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

#: The largest file of settings that is read. A bundle with a million classes has half of this, and Python makes lists
#: of twenty times their bytes from JSON, so that the worst costs less than a gigabyte.
LARGEST_JSON = 32 * 2**20

#: A line for everything that happened: a thousand trials leave some megabytes.
LARGEST_LOG = 256 * 2**20

#: Tokenizers are read as text; the largest that are published, of a million words, have about 60 MB.
LARGEST_TOKENIZER = 128 * 2**20

#: The header of a safetensors file; a network of ten thousand tensors has one of a megabyte.
LARGEST_HEADER = 16 * 2**20

_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "C64": 8, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class StoredTensor:
    """Where a safetensors file has a tensor; bytes counted from the end of its header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class TensorFile:
    """What the header of a safetensors file says, which is true of the file's size."""

    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, Any]
    begin: int  #: byte at which the data begin

    @property
    def parameters(self) -> int:
        """Numbers that are not integers."""
        return sum(math.prod(t.shape) for t in self.tensors.values() if t.dtype.startswith(("F", "BF")))


def is_plain_name(name: str) -> bool:
    """Whether `name` can only be that of something in the folder it is looked up in, on any system."""
    alone = name == PurePosixPath(name).name == PureWindowsPath(name).name
    return alone and name not in {"", ".", ".."} and "\0" not in name


def refuse_links(folder: Path) -> None:
    """Raises `ValueError` where something below `folder`, or itself, is a link or neither file nor folder."""
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ValueError(f"{path.name} is a link or a device, where only files may be")


def read_text(path: Path, *, largest: int = LARGEST_JSON, errors: str = "strict") -> str:
    """The text of a UTF-8 file. Raises `OSError`, and `ValueError` where it is too large or no file.

    errors: as `bytes.decode` takes them.
    """
    return _read(path, largest).decode("utf-8", errors)


def size_of(path: Path, *, largest: int) -> int:
    """Bytes of a file. Raises `OSError`, and `ValueError` where it is too large or no file.

    To be asked before it is opened: of a pipe that nobody writes to that would never end.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path.name} is no file")
    if status.st_size > largest:
        raise ValueError(f"{path.name} has {status.st_size / 1e6:.0f} MB, at most {largest / 1e6:.0f} MB are read")
    return status.st_size


def _read(path: Path, largest: int) -> bytes:
    size_of(path, largest=largest)
    with path.open("rb") as file:
        return file.read(largest)


def read_lines(path: Path) -> list[str]:
    """The lines of a log, what is no UTF-8 replaced. Raises `OSError`, and `ValueError` where it is too large."""
    return _read(path, LARGEST_LOG).decode("utf-8", errors="replace").split("\n")


def read_object(path: Path, *, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """A JSON object. Raises `OSError`, and `ValueError` for whatever else it may be."""
    content = parse_json(read_text(path, largest=largest))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content


def parse_json(text: str | bytes) -> Any:
    """Any JSON. Raises `ValueError`, also for what is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def read_header(path: Path) -> TensorFile:
    """The header of a safetensors file, without its tensors.

    Raises `OSError`, and `ValueError` where it is malformed, tensors overlap, or the file has another size.
    """
    size = size_of(path, largest=sys.maxsize)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, LARGEST_HEADER):  # before the memory for it is asked for
            raise ValueError(f"{path.name}: a header of {length} bytes does not fit a file of {size}")
        content = file.read(length)
    try:
        header = parse_json(content)
        metadata = header.pop("__metadata__", {})
        tensors = {name: _tensor(entry) for name, entry in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: the header is malformed") from error
    end = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != end or tensor.end - tensor.begin != math.prod(tensor.shape) * _BYTES[tensor.dtype]:
            raise ValueError(f"{path.name}: the header has tensors that overlap, or of another size than their shape")
        end = tensor.end
    if 8 + length + end != size:
        raise ValueError(f"{path.name}: the header does not fit the file, which may be torn")
    return TensorFile(tensors, metadata, 8 + length)


def _tensor(entry: Any) -> StoredTensor:
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if entry["dtype"] not in _BYTES or not all(type(number) is int and number >= 0 for number in (begin, end, *shape)):
        raise ValueError("not what safetensors has")
    return StoredTensor(entry["dtype"], shape, begin, end)
