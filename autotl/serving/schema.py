"""What goes over the wire; the OpenAPI description is made of it."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field

Element = TypeVar("Element")

#: What is sent: its first bad element ends the reading, as an error for each of millions takes gigabytes.
Sent = Annotated[list[Element], FailFast()]


class Texts(BaseModel):
    """What is sent to a model of texts."""

    model_config = ConfigDict(extra="forbid")

    texts: Sent[str] = Field(min_length=1, examples=[["a text", "another text"]])


class RowsOfTexts(BaseModel):
    """What is sent to a model whose inputs have several columns, such as pairs."""

    model_config = ConfigDict(extra="forbid")

    texts: Sent[Sent[str]] = Field(
        min_length=1, description="inputs, each a list of its texts in order", examples=[[["a text", "another text"]]]
    )


class Images(BaseModel):
    """What is sent to a model of images."""

    model_config = ConfigDict(extra="forbid")

    images: Sent[str] = Field(min_length=1, description="image files, each as base64")


class RowsOfImages(BaseModel):
    """What is sent to a model whose inputs are several images each."""

    model_config = ConfigDict(extra="forbid")

    images: Sent[Sent[str]] = Field(
        min_length=1, description="inputs, each a list of its image files in order, each as base64"
    )


class Row(BaseModel):
    """What the model says of one input."""

    #: a class, labels, a number, or several by their names
    prediction: str | list[str] | float | dict[str, float]
    probabilities: dict[str, float] | None = None  #: of classes or labels
    intervals: dict[str, tuple[float, float]] | None = None  #: of numbers: nine new rows in ten lie within


class Answer(BaseModel):
    """One row an input, in order."""

    predictions: list[Row]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class Health(BaseModel):
    """That the service answers, and which model."""

    status: str
    model: str
    outputs: list[str]  #: classes, labels, or the names of numbers


def _problem(description: str) -> dict[str, Any]:
    return {"model": Problem, "description": description}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _problem("not JSON"),
    408: _problem("took too long to come"),
    413: _problem("too large"),
    422: _problem("cannot be predicted"),
    500: _problem("the model failed"),
    503: _problem("busy: try again in a moment"),
}
