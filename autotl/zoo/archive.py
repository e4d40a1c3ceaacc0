"""Model folders in one file, for machines without a network. An archive is read as one that anybody may have made.

It is a tar of plain files: the manifest first, then each file that it names, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from autotl.errors import ZooError
from autotl.files import new_folder, replacing
from autotl.plugins.contracts import Candidate
from autotl.untrusted import LARGEST_JSON, parse_json, refuse_links
from autotl.zoo.local import PICKLES
from autotl.zoo.manifest import MANIFEST_FILE, Manifest, PackedFile, PackedModel, parse_manifest, read_manifest
from autotl.zoo.origin import model_folder, revision_of, sha256

#: What publishers keep beside the weights and nobody here reads: pickles, code, weights for other libraries.
LEFT_OUT = (*PICKLES, "*.py", "*.pyc", "*.h5", "*.msgpack", "*.onnx", "*.ot", "*.tflite")

#: Bytes that are hashed and written at a time.
_CHUNK = 2**20


def pack(candidates: Sequence[Candidate], out: Path) -> Manifest:
    """Writes an archive of models that are on this machine, in one rename.

    Raises `ZooError`, also where the archive could not be unpacked everywhere.
    """
    sources: dict[str, Path] = {}
    models: list[PackedModel] = []
    for candidate in candidates:
        model, files = _packed(candidate)
        if any(model.folder == other.folder for other in models):
            raise ZooError(f"two of these models would both be {model.folder!r} in {out}: pack them into two files")
        models.append(model)
        sources |= {f"{model.folder}/{name}": file for name, file in files.items()}
    manifest = Manifest(models=tuple(models))
    parse_manifest(manifest.model_dump(), str(out))  # by the rules of who unpacks it
    try:
        with replacing(out) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            content = manifest.model_dump_json(indent=1).encode()
            _add(archive, MANIFEST_FILE, len(content), io.BytesIO(content))
            for path, packed in manifest.paths.items():
                with sources[path].open("rb") as source:
                    _add(archive, path, packed.size, source)
    except (OSError, ValueError) as error:
        raise ZooError(f"{out} cannot be written ({error})") from error
    return manifest


def _packed(candidate: Candidate) -> tuple[PackedModel, dict[str, Path]]:
    """What the manifest says of a model, and where its files are."""
    folder = model_folder(candidate)
    if folder is None:
        raise ZooError(f"{candidate.key} is in no folder of this machine and cannot be packed: its family brings it")
    files = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder)
        hidden = any(part.startswith(".") for part in name.parts)
        if file.is_file() and not hidden and not any(name.match(pattern) for pattern in LEFT_OUT):
            if not _belongs(file, folder):
                raise ZooError(f"{file} is a link to somewhere else: put the file itself there")
            files[name.as_posix()] = file
    described = [PackedFile(name=name, size=file.stat().st_size, sha256=sha256(file)) for name, file in files.items()]
    model = PackedModel(
        folder=candidate.name.rpartition("/")[2],
        backbone=candidate.key,
        licence=candidate.licence,
        revision=revision_of(folder),
        files=tuple(described),
    )
    return model, files


def _belongs(file: Path, folder: Path) -> bool:
    """Whether a file is in its model's folder, or where the hub's cache keeps what its snapshots link to.

    That is beside the snapshots, or beside all models, for files that several may share.
    """
    homes = [folder.resolve()]
    if folder.parent.name == "snapshots":
        model = folder.parent.parent.resolve()
        homes += [model / "blobs", model.parent / "blobs"]
    return any(file.resolve().is_relative_to(home) for home in homes)


def _add(archive: tarfile.TarFile, path: str, size: int, content: BinaryIO) -> None:
    member = tarfile.TarInfo(path)
    member.size = size
    archive.addfile(member, content)


def unpack(archive: Path, into: Path) -> Manifest:
    """Writes the models of an archive into a new folder, in one rename, each file as its hash says.

    Raises `ZooError` for an archive with anything else in it; nothing is left of it then.
    """
    if into.exists():
        raise ZooError(f"{into} exists already; name another folder with --into")
    try:
        with archive.open("rb") as file, new_folder(into) as fresh:
            members = _members(file, archive)
            manifest = _read_manifest(members, archive)
            _check_room(manifest, archive, into)
            awaited = manifest.paths
            for name, content in members:
                packed = awaited.pop(name, None)
                if packed is None:
                    raise ZooError(f"{archive}: {name!r} is not in its list of files, or twice in it")
                _write(content, packed, fresh / name, archive)
            if awaited:
                raise ZooError(f"{archive}: {min(awaited)} is missing: it is not whole")
            (fresh / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    except OSError as error:
        raise ZooError(f"{archive} cannot be unpacked into {into} ({error.strerror})") from error
    return manifest


class _Content:
    """The bytes of one member, read in pieces."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = self._left = size
        self._file = file

    def read(self, most: int) -> bytes:
        piece = self._file.read(min(most, self._left))
        self._left -= len(piece)
        return piece


def _members(file: BinaryIO, archive: Path) -> Iterator[tuple[str, _Content]]:
    """Name and content of each member, in order. Raises `ZooError` for any that is no plain file.

    Headers of other kinds may hold names, sizes and maps of any length; none is needed, so none is read.
    """
    total = os.fstat(file.fileno()).st_size
    while (block := file.read(tarfile.BLOCKSIZE)).strip(b"\0"):
        try:
            member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.TarError, ValueError) as error:
            raise ZooError(f"{archive} is no zoo of 'autotl models pack' ({error})") from error
        begin = file.tell()
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or not 0 <= member.size <= total - begin:
            raise ZooError(f"{archive}: {member.name!r} is no plain file, or longer than the archive")
        yield member.name, _Content(file, member.size)
        file.seek(begin + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)


def _read_manifest(members: Iterator[tuple[str, _Content]], archive: Path) -> Manifest:
    name, content = next(members, ("", None))
    if content is None or name != MANIFEST_FILE or content.size > LARGEST_JSON:
        raise ZooError(f"{archive} is no zoo of 'autotl models pack': {MANIFEST_FILE} is not its first file")
    try:
        listed = parse_json(content.read(content.size))
    except ValueError as error:
        raise ZooError(f"{archive}: {MANIFEST_FILE} cannot be read ({error})") from error
    return parse_manifest(listed, f"{archive}: {MANIFEST_FILE}")


def _check_room(manifest: Manifest, archive: Path, into: Path) -> None:
    needed, free = sum(model.size for model in manifest.models), shutil.disk_usage(into.absolute().parent).free
    if needed > free:
        raise ZooError(f"{archive} needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free at {into}")


def _write(content: _Content, packed: PackedFile, path: Path, archive: Path) -> None:
    digest = hashlib.sha256()
    if content.size == packed.size:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while piece := content.read(_CHUNK):
                digest.update(piece)
                file.write(piece)
    if content.size != packed.size or digest.hexdigest() != packed.sha256:
        raise ZooError(f"{archive}: {packed.name} is not the file that was packed: copy the archive again")


def verify(zoo: Path) -> Manifest:
    """Looks whether an unpacked zoo is what was packed, every byte, and nothing else. Raises `ZooError`."""
    manifest = read_manifest(zoo)
    for model in manifest.models:
        with contextlib.suppress(FileNotFoundError):  # named below
            _refuse_links(zoo / model.folder)
    for path, packed in manifest.paths.items():
        file = zoo / path
        if not file.is_file():
            raise ZooError(f"{file} is missing: unpack the archive again")
        if file.stat().st_size != packed.size or sha256(file) != packed.sha256:
            raise ZooError(f"{file} is not the file that was packed: unpack the archive again")
    known = {zoo / path for path in (MANIFEST_FILE, *manifest.paths)}
    if foreign := sorted(path for path in zoo.rglob("*") if path not in known and not path.is_dir()):
        raise ZooError(f"{foreign[0]} was not packed: remove it, or unpack the archive again")
    return manifest


def _refuse_links(folder: Path) -> None:
    try:
        refuse_links(folder)
    except ValueError as error:
        raise ZooError(f"{folder}: {error}") from error
