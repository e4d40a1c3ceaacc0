"""Pretrained weights on this disk, looked at without loading them: for families that search folders and caches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

#: Weights that run code when they are read. They are not.
PICKLES = ("*.bin", "*.pth", "*.pt", "*.ckpt", "*.pkl")


def model_folders(given: Sequence[Path]) -> Iterator[Path]:
    """Each folder given that is a model itself, and otherwise the folders in it; sorted by name."""
    for folder in given:
        yield from [folder] if (folder / "config.json").is_file() else sorted(folder.glob("*/"))


def pickled_only(folder: Path) -> str:
    """The file whose weights are pickles, where a model folder has no others; else nothing."""
    if any(folder.glob("*.safetensors")):
        return ""
    return next((file.name for ending in PICKLES for file in sorted(folder.glob(ending))), "")


def cached_snapshots() -> Iterator[tuple[str, Path]]:
    """``(publisher/name, folder)`` of every model in the hub's cache, by file system alone.

    The revision is the one that ``main`` points to, else the newest on the disk.
    """
    repositories: list[Path] = []
    with suppress(OSError):  # of another user, who lets nobody in: there is nothing for us then
        repositories = sorted(hub_cache().glob("models--*/"))
    for repository in repositories:
        snapshots: list[Path] = []
        main = ""
        with suppress(OSError):
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
