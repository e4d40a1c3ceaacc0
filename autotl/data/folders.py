"""A folder of class folders to columns: ``flowers/rose/1.jpg`` is an image with the label ``rose``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from autotl.data.wording import counted, listed
from autotl.errors import DataError

_PICTURES = "avif bmp gif jfif jp2 jpe jpeg jpg pbm pgm png ppm tif tiff webp"
IMAGE_SUFFIXES = frozenset(f".{ending}" for ending in _PICTURES.split())
TABLE_SUFFIXES = frozenset({".csv", ".jsonl", ".ndjson", ".parquet", ".tsv", ".txt"})
#: How people call the parts of a data set.
SPLIT_NAMES = frozenset({"dev", "test", "testing", "train", "training", "val", "valid", "validation"})
#: Words beside these in the names of folders.
_BESIDE_PARTS = frozenset({"data", "image", "images", "img", "imgs", "pictures", "set", "split"})
#: What people have in files that are not read, and the way out.
UNREAD = {
    ".dcm": "DICOM (.dcm) is not read: convert it to PNG of 16 bits",
    ".heic": "HEIC (.heic) is not read: convert it to JPEG",
    ".heif": "HEIF (.heif) is not read: convert it to JPEG",
}
#: How the outline of what an image shows is called, in a file beside it.
_MASK = re.compile(r"(.+?)[ _-]?(mask|seg|segmentation|annotation)([ _-]?\d+)?", re.IGNORECASE)


def read_class_folders(folder: Path, *, labelled: bool) -> tuple[dict[str, list[Any]], list[str]]:
    """The columns ``image`` (path relative to `folder`) and ``label`` (name of the class folder), and notes.

    What lies in folders of a class folder is of that class, unless all images do: then these may be the classes. What
    is left out is counted in the notes. Rows are in the order of their paths. labelled: whether classes are asked for;
    else images beside the class folders are rows, too, without a label. Raises `DataError` where there are no class
    folders, or where parts (train, test) stand in their place.
    """
    top = _visible(folder)
    subfolders = [entry for entry in top if entry.is_dir()]
    _refuse_parts(folder, subfolders, labelled=labelled)
    images: list[str] = []
    labels: list[str | None] = []
    without: list[str] = []
    left_out = len(_all(folder)) - len(top)
    left_out += sum(1 for entry in top if entry.is_file() and not _is_image(entry))
    deeper: list[str] = []
    masks: list[Path] = []
    nested = any(map(_holds_images, subfolders))
    if labelled and nested:
        _refuse_copies(folder, subfolders)
    for subfolder in subfolders:
        found, others = _images_within(subfolder, nested=nested)
        left_out += others
        stems = {entry.stem for entry in found}
        found_masks = {entry for entry in found if _is_mask(entry, stems)}
        masks += sorted(found_masks)
        found = [entry for entry in found if entry not in found_masks]
        images += [entry.relative_to(folder).as_posix() for entry in found]
        labels += [subfolder.name] * len(found)
        deeper += [entry.parent.relative_to(folder).as_posix() for entry in found if entry.parent != subfolder]
        if not found:
            without.append(subfolder.name)
    loose = [entry.name for entry in top if entry.is_file() and _is_image(entry)]
    if loose and not labelled:
        images, loose = loose + images, []
        labels[:0] = [None] * (len(images) - len(labels))
    tables = [entry for entry in top if entry.suffix.lower() in TABLE_SUFFIXES]
    if labelled and tables and len(set(labels)) == 1 and str(labels[0]).casefold() in _BESIDE_PARTS:
        raise DataError(
            f"{folder}: all images are in {labels[0]!r}, and folders are classes. Pass the table that says what is in "
            f"them: --data {_to_train_on(tables)}"
        )
    if not images:
        if not tables:
            _refuse_one_level_above(folder, subfolders)
        beside = f" ({counted(len(loose), 'image')} beside each other, none in a class folder)" if loose else ""
        raise DataError(
            f"{folder}: no class folders with images{beside}{_unread(folder)}. Put each class into its own folder "
            f"({folder.name}/CLASS/1.jpg), or pass a table with a column of image paths and one of labels"
            + (f", such as --data {_to_train_on(tables)}" if tables else "")
        )
    notes = []
    if masks:
        named = listed([mask.name for mask in masks], limit=3)
        notes.append(f"left out {counted(len(masks), 'mask')} beside the images that they are of: {named}")
    if loose:
        notes.append(f"left out {counted(len(loose), 'image')} beside the class folders: {listed(loose, limit=3)}")
    if without:
        notes.append(f"no images in {counted(len(without), 'folder')}: {listed(without, limit=3)}")
    if deeper:
        inner = listed(sorted(set(deeper)), limit=3)
        notes.append(f"{counted(len(deeper), 'image')} in folders of a class folder count for that class: {inner}")
    if tables:
        which = _to_train_on(tables)
        notes.append(f"{which.name} beside the class folders is not read; where it has the labels, pass --data {which}")
    if left_out:
        notes.append(f"left out {counted(left_out, 'entry', 'entries')}: hidden, or not an image{_unread(folder)}")
    return {"image": images, "label": labels} if any(labels) else {"image": images}, notes


def _images_within(folder: Path, *, nested: bool) -> tuple[list[Path], int]:
    """Its images in the order of their paths, and how many other entries there are. nested: with those of its folders.

    Links to folders are not followed, as they may lead around in a circle.
    """
    found: list[Path] = []
    others = len(_all(folder)) - len(_visible(folder))
    for entry in _visible(folder):
        if nested and entry.is_dir() and not entry.is_symlink():
            inside, more = _images_within(entry, nested=True)
            found, others = found + inside, others + more
        elif entry.is_file() and _is_image(entry):
            found.append(entry)
        else:
            others += 1
    return found, others


def _to_train_on(tables: Sequence[Path]) -> Path:
    """The table that is likeliest to be learned from."""
    named = [table for table in tables if table.stem.casefold().startswith("train")]
    others = [table for table in tables if table.stem.casefold() not in SPLIT_NAMES]
    return [*named, *others, *tables][0]


def _refuse_copies(folder: Path, subfolders: Sequence[Path]) -> None:
    """Raises `DataError` where one of the class folders holds the others once more, as archives packed twice do."""
    names = {entry.name for entry in subfolders}
    for entry in subfolders:
        inner = {below.name for below in _visible(entry) if below.is_dir() and _holds_images(below)}
        if len(inner) > 1 and not _holds_images(entry) and inner <= names - {entry.name}:
            raise DataError(
                f"{folder}: {entry.name!r} holds the class folders {listed(sorted(inner))} once more. Pass "
                f"--data {entry}, or move it out of {folder.name}"
            )


def _refuse_parts(folder: Path, subfolders: Sequence[Path], *, labelled: bool) -> None:
    """A training and a test part side by side would become two classes called train and test."""
    parts = {
        entry.name
        for entry in subfolders
        if _names_a_part(entry.name) and any(_holds_images(inner) for inner in _visible(entry))
    }
    if not parts:
        if labelled:
            _refuse_parts_without_classes(folder, subfolders)
        return
    train = next((part for part in sorted(parts) if part.casefold().startswith("train")), None)
    others = sorted(parts - {train} if train else parts)
    advice = f"--data {folder / (train or others[0])}"
    if train and others:
        advice += f" and --test {folder / (next((o for o in others if 'test' in o.casefold()), others[0]))}"
    raise DataError(f"{folder}: {listed(sorted(parts))} hold class folders of their own. Pass {advice}")


def _refuse_one_level_above(folder: Path, subfolders: Sequence[Path]) -> None:
    """Archives often unpack to a folder in a folder."""
    above = [entry for entry in subfolders if any(_holds_images(inner) for inner in _visible(entry) if inner.is_dir())]
    if len(above) == 1:
        raise DataError(f"{folder}: the class folders are in {above[0].name!r}. Pass --data {above[0]}")


def _refuse_parts_without_classes(folder: Path, subfolders: Sequence[Path]) -> None:
    """Nor do folders of images have classes that are all called as parts are."""
    with_images = {entry.name for entry in subfolders if _holds_images(entry)}
    if not with_images or not all(map(_names_a_part, with_images)):
        return
    tables = [entry for entry in _visible(folder) if entry.suffix.lower() in TABLE_SUFFIXES]
    way_out = f"--data {_to_train_on(tables)}" if tables else "a table with a column of paths and one of labels"
    raise DataError(
        f"{folder}: {listed(sorted(with_images))} hold images and no class folders, so that nothing says what is "
        f"in them. Pass {way_out}, or put each class into its own folder"
    )


def _unread(folder: Path) -> str:
    """A word on what hospitals and telephones have, where it is there."""
    inside = (entry for part in _visible(folder) if part.is_dir() for entry in _all(part))
    there = {entry.suffix.lower() for entry in inside} & UNREAD.keys()
    return "".join(f"; {UNREAD[suffix]}" for suffix in sorted(there))


def _is_mask(entry: Path, stems: Collection[str]) -> bool:
    """Whether a file beside an image is its mask, which shows the class and is no picture of it."""
    named = _MASK.fullmatch(entry.stem)
    return named is not None and named[1].rstrip(" _-") in stems


def _names_a_part(name: str) -> bool:
    """``train``, or ``train_images``; but ``freight_train`` may be a class."""
    words = [word for word in re.split(r"[\W_\d]+", name.casefold()) if word]
    return not SPLIT_NAMES.isdisjoint(words) and set(words) <= SPLIT_NAMES | _BESIDE_PARTS


def _holds_images(folder: Path) -> bool:
    return folder.is_dir() and any(_is_image(entry) for entry in _visible(folder))


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in IMAGE_SUFFIXES


def _all(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in _all(folder) if not entry.name.startswith(".")]
