"""Pretrained weights on this disk, looked at without loading them: for families that search folders and caches."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

#: The limit of the safetensors format itself, in bytes.
LARGEST_HEADER = 100_000_000


def model_folders(given: Sequence[Path]) -> Iterator[Path]:
    """Each folder given that is a model itself, and otherwise the folders in it; sorted by name."""
    for folder in given:
        yield from [folder] if (folder / "config.json").is_file() else sorted(folder.glob("*/"))


def cached_snapshots() -> Iterator[tuple[str, Path]]:
    """``(publisher/name, folder)`` of every model in the hub's cache, by file system alone.

    The revision is the one that ``main`` points to, else the newest on the disk.
    """
    for repository in sorted(hub_cache().glob("models--*/")):
        snapshots = sorted((repository / "snapshots").glob("*/"), key=lambda path: path.stat().st_mtime)
        reference = repository / "refs" / "main"
        main = reference.read_text(encoding="utf-8", errors="replace").strip() if reference.is_file() else ""
        if snapshots:
            chosen = next((path for path in snapshots if path.name == main), snapshots[-1])
            yield "/".join(repository.name.split("--")[1:]), chosen


def hub_cache() -> Path:
    """Where huggingface_hub keeps its downloads, by the same environment variables, without importing it."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or Path(home) / "hub"
    return Path(os.path.expandvars(given)).expanduser()


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file that are not integers, from its header alone.

    Raises `ValueError` when the header is malformed or does not fit the size of the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, LARGEST_HEADER):  # before the memory for it is asked for
            raise ValueError(f"{path.name}: a header of {length} bytes does not fit a file of {size}")
        content = file.read(length)
    try:
        header = json.loads(content)
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for entry in tensors), default=0)
        shapes = [entry["shape"] for entry in tensors if entry["dtype"].startswith(("F", "BF"))]
        whole = all(isinstance(side, int) and side >= 0 for shape in shapes for side in shape)
        parameters = sum(math.prod(shape) for shape in shapes) if whole else 0
        fits = 8 + length + end == size
    except (AttributeError, IndexError, KeyError, TypeError, RecursionError, ValueError) as error:
        raise ValueError(f"{path.name}: the header is malformed") from error
    if not whole or not fits:
        raise ValueError(f"{path.name}: the header does not fit the file, which may be torn")
    return int(parameters)
