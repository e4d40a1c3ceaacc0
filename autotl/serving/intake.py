"""From what was sent to the cells that a predictor takes.

A text is a cell as it is, and several become one as the columns of a table do. An image becomes a file, since encoders
read files: in a private folder, under a name of ours, for as long as it is predicted. Nothing that was sent is ever
taken for a path.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from autotl.data.cells import is_missing
from autotl.data.joining import one_input
from autotl.data.task import Task
from autotl.serving.limits import Limits

#: What people send. Pillow knows many more, some of which start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


class Refused(ValueError):
    """An input that cannot be predicted, in words for whoever sent it."""


class NoRoom(Exception):
    """What was sent cannot be put where the model reads it: its disk is full, or its folder gone."""


class Intake(Protocol):
    """Checks inputs of one kind."""

    @contextmanager
    def cells(self, sent: Sequence[Any]) -> Iterator[list[Any]]:
        """The cells of inputs, valid within. Raises `Refused` naming the first bad one, counted from 0; `NoRoom`."""


def intake_for(task: Task, limits: Limits, folder: Path) -> Intake:
    """The intake for what a task reads. folder: that nobody else uses, for what has to be a file."""
    if task.modality == "image":
        return ImageIntake(limits, folder)
    if task.modality == "images":
        return RowOfImagesIntake(task, limits, folder)
    return TextIntake(limits) if len(task.inputs) == 1 else RowIntake(task, limits)


class TextIntake:
    """Texts, as they are."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.characters

    @contextmanager
    def cells(self, sent: Sequence[str]) -> Iterator[list[str]]:
        for row, text in enumerate(sent):
            if is_missing(text):
                raise Refused(f"text {row} is empty")
            if len(text) > self._most:
                raise Refused(f"text {row} has {len(text)} characters, and {self._most} are allowed")
        yield list(sent)


class RowIntake:
    """Inputs of several texts, a list each: pairs, and what is joined into one text."""

    def __init__(self, task: Task, limits: Limits) -> None:
        self._task, self._most = task, limits.characters

    @contextmanager
    def cells(self, sent: Sequence[Sequence[str]]) -> Iterator[list[Any]]:
        yield [self._cell(texts, row) for row, texts in enumerate(sent)]

    def _cell(self, texts: Sequence[str], row: int) -> Any:
        columns = self._task.columns
        if len(texts) != len(columns):
            raise Refused(f"input {row} has {len(texts)} texts, and {len(columns)} are read: {', '.join(columns)}")
        if (characters := sum(map(len, texts))) > self._most:
            raise Refused(f"input {row} has {characters} characters, and {self._most} are allowed")
        cell = one_input(columns, [None if is_missing(text) else text for text in texts], self._task.modality)
        if cell is None:
            raise Refused(f"input {row} is empty" + (" in one half" if self._task.modality == "text_pair" else ""))
        return cell


class ImageIntake:
    """Images as base64, which lie in `folder` for as long as they are predicted."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        """folder: that nobody else uses."""
        self._most, self._most_in_all, self._folder = limits.pixels, limits.pixels_in_all, folder
        self._numbers = itertools.count()

    @contextmanager
    def cells(self, sent: Sequence[str]) -> Iterator[list[str]]:
        with self._files(sent, [f"image {row}" for row in range(len(sent))]) as paths:
            yield paths

    @contextmanager
    def _files(self, sent: Sequence[str], names: Sequence[str]) -> Iterator[list[str]]:
        paths: list[str] = []
        in_all = 0
        try:
            for image, name in zip(sent, names, strict=True):
                data, pixels = self._checked(image, name)
                in_all += pixels
                if in_all > self._most_in_all:
                    text = f"with {name} the request has {in_all} pixels, and {self._most_in_all} are allowed"
                    raise Refused(f"{text}; send more requests of fewer")
                paths.append(f"{self._folder}{os.sep}{next(self._numbers)}")  # no `Path`, which takes 10 µs
                try:
                    with open(paths[-1], "xb") as file:  # noqa: PTH123
                        file.write(data)
                except OSError as error:
                    raise NoRoom(str(error)) from error
            yield paths
        finally:
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # noqa: PTH108

    def _checked(self, sent: str, name: str) -> tuple[bytes, int]:
        """The bytes of an image whose header can be read, and is not that of a bomb; and how many pixels it has."""
        try:
            data = base64.b64decode(sent, validate=True)
        except (binascii.Error, ValueError):
            raise Refused(f"{name} is not base64") from None
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                pixels = image.width * image.height
        except Exception:  # decoders fail on foreign bytes in every way there is
            raise Refused(f"{name} cannot be read: send {', '.join(FORMATS)}") from None
        if pixels > self._most:
            raise Refused(f"{name} has {pixels} pixels, and {self._most} are allowed")
        return data, pixels


class RowOfImagesIntake(ImageIntake):
    """Inputs of several images, a list each."""

    def __init__(self, task: Task, limits: Limits, folder: Path) -> None:
        """folder: that nobody else uses."""
        super().__init__(limits, folder)
        self._columns = task.columns

    @contextmanager
    def cells(self, sent: Sequence[Sequence[str]]) -> Iterator[list[Any]]:
        for row, images in enumerate(sent):
            if len(images) != len(self._columns):
                wanted = f"{len(self._columns)} are read: {', '.join(self._columns)}"
                raise Refused(f"input {row} has {len(images)} images, and {wanted}")
        names = [f"{column!r} of input {row}" for row, _ in enumerate(sent) for column in self._columns]
        with self._files([image for images in sent for image in images], names) as paths:
            yield list(zip(*[iter(paths)] * len(self._columns), strict=True))
