"""Which encoders could be had: folders given, the hub's cache on this disk, the catalogue. Opens no connection."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from autotl.plugins.contracts import Candidate, Source, ZooContext
from autotl.zoo.local import cached_snapshots, model_folders
from autotl_transformers.catalogue import Entry, catalogue, default_prior, default_recipe, known, last_part
from autotl_transformers.folders import LONGEST_INPUT, ModelFolder, read_model_folder

FAMILY = "transformers"


def discover(context: ZooContext) -> list[Candidate]:
    """Every candidate once, from its nearest source: folder, then cache, then hub.

    A folder's name has no publisher in it, so it stands for the catalogue's entry of the same last part and shape.
    """
    found: dict[str, Candidate] = {}
    had: set[str] = set()
    places: list[tuple[Source, Iterator[ModelFolder]]] = [
        ("folder", _folders(context.folders)),
        ("cache", _cached()),
    ]
    for source, models in places:
        for model in models:
            entry = known(model.name, width=model.width, layers=model.layers)
            if model.name in found or model.name in had:
                continue
            found[model.name] = _local(model, source, entry)
            if entry and last_part(entry.name) == model.name:
                had.add(entry.name)
    for entry in catalogue():
        if entry.name not in found and entry.name not in had and not entry.pickled:
            found[entry.name] = _remote(entry)
    return list(found.values())


def _folders(given: tuple[Path, ...]) -> Iterator[ModelFolder]:
    yield from (model for path in model_folders(given) if (model := read_model_folder(path)))


def _cached() -> Iterator[ModelFolder]:
    for name, snapshot in cached_snapshots():
        if model := read_model_folder(snapshot):
            yield dataclasses.replace(model, name=name)


def _local(model: ModelFolder, source: Source, entry: Entry | None) -> Candidate:
    licence = model.licence
    if licence == "unknown" and entry and entry.name == model.name:
        licence = entry.licence
    return Candidate(
        name=model.name,
        family=FAMILY,
        modality="text",
        source=source,
        location=str(model.path),
        parameters=model.parameters,
        width=model.width,
        input_size=model.input_size,
        licence=licence,
        prior=entry.prior if entry else default_prior(model.parameters),
        recipe=entry.recipe if entry else default_recipe(model.width),
        language=entry.language if entry else model.language,
    )


def _remote(entry: Entry) -> Candidate:
    return Candidate(
        name=entry.name,
        family=FAMILY,
        modality="text",
        source="hub",
        location=entry.name,
        parameters=entry.parameters,
        width=entry.width,
        input_size=min(entry.input_size, LONGEST_INPUT),
        licence=entry.licence,
        prior=entry.prior,
        recipe=entry.recipe,
        language=entry.language,
    )
