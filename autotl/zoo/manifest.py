"""``zoo.json``: what a packed zoo holds, with hashes, revisions and licences; it stays beside the unpacked models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from autotl.errors import ZooError
from autotl.untrusted import is_plain_name, read_object

MANIFEST_FILE = "zoo.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class PackedFile(_Part):
    """One file of a model."""

    name: str  #: in the model's folder, with slashes between
    size: int = Field(ge=0)  #: bytes
    sha256: str


class PackedModel(_Part):
    """One model folder."""

    folder: str  #: its name in the zoo
    backbone: str  #: the key that it had where it was packed
    licence: str
    revision: str  #: of the hub; empty where it did not come from there
    files: tuple[PackedFile, ...]

    @property
    def paths(self) -> list[str]:
        """Of its files, in the zoo."""
        return [f"{self.folder}/{file.name}" for file in self.files]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


class Manifest(_Part):
    """The contents of ``zoo.json``."""

    format: Literal[1] = 1
    models: tuple[PackedModel, ...]

    @property
    def paths(self) -> dict[str, PackedFile]:
        """Every file by its path in the zoo, with slashes."""
        return {path: file for model in self.models for path, file in zip(model.paths, model.files, strict=True)}


def parse_manifest(content: object, name: str) -> Manifest:
    """Raises `ZooError` for what is none, or names files outside of its models' folders, or one of them twice."""
    try:
        manifest = Manifest.model_validate(content)
    except ValueError as error:
        raise ZooError(f"{name} is no list of packed models ({str(error).splitlines()[0]})") from error
    paths = manifest.paths
    for path in paths:
        if not all(is_plain_name(part) for part in path.split("/")):
            raise ZooError(f"{name} names {path!r}, which some systems would look for outside of its folder")
    folded: set[str] = set()
    for path in (path for model in manifest.models for path in (model.folder, *model.paths)):
        if path.casefold() in folded:
            raise ZooError(
                f"{name} names {path!r} twice, or in other capitals too, which many systems take for the same"
            )
        folded.add(path.casefold())
    return manifest


def read_manifest(zoo: Path) -> Manifest:
    """That of an unpacked zoo. Raises `ZooError` where there is none, and as `parse_manifest` does."""
    path = zoo / MANIFEST_FILE
    try:
        content = read_object(path)
    except (OSError, ValueError) as error:
        raise ZooError(f"{zoo} is no zoo that was unpacked: no {MANIFEST_FILE} can be read there ({error})") from error
    return parse_manifest(content, str(path))


def packed_model(folder: Path) -> PackedModel | None:
    """What the zoo around a model folder says of it; None where it is in none."""
    try:
        models = read_manifest(folder.parent).models
    except ZooError:
        return None
    return next((model for model in models if model.folder == folder.name), None)
