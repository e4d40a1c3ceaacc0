"""Where a backbone that was used came from, so that it can be told, and found again, later."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from autotl.plugins.contracts import Candidate, Source
from autotl.zoo.local import cached_snapshots
from autotl.zoo.manifest import packed_model


class Origin(BaseModel):
    """What is known of a backbone's weights on this machine."""

    model_config = ConfigDict(frozen=True)

    backbone: str  #: its key
    source: Source
    licence: str
    revision: str = ""  #: of the hub; empty where it was not known to come from there
    weights: dict[str, str] = {}  #: SHA-256 of each file of weights, by its name; none where they are in no folder


def origin_of(candidate: Candidate) -> Origin:
    """Reads all its weights, a second for a gigabyte or two."""
    folder = model_folder(candidate)
    weights = {} if folder is None else {file.name: sha256(file) for file in sorted(folder.glob("*.safetensors"))}
    return Origin(
        backbone=candidate.key,
        source=candidate.source,
        licence=candidate.licence,
        revision=revision_of(folder),
        weights=weights,
    )


def model_folder(candidate: Candidate) -> Path | None:
    """The folder of its files, also once it was downloaded; None where there is none."""
    if candidate.source == "hub":
        return dict(cached_snapshots()).get(candidate.location)
    folder = Path(candidate.location)
    return folder if candidate.location and folder.is_dir() else None


def revision_of(folder: Path | None) -> str:
    """The hub's name for the state of a model that is in its cache, or was when it was packed; else empty."""
    if folder is None:
        return ""
    if folder.parent.name == "snapshots":
        return folder.name
    packed = packed_model(folder)
    return packed.revision if packed else ""


def sha256(file: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
