"""What goes over the wire; `autotl.serving.description` is made of it."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field

from autotl.data.task import Task
from autotl.plugins.contracts import PICTORIAL

Element = TypeVar("Element")

#: What is sent: its first bad element ends the reading, as an error for each of millions takes gigabytes.
Sent = Annotated[list[Element], FailFast()]


class Body(BaseModel):
    """What a request sends."""

    model_config = ConfigDict(extra="forbid")


class Texts(Body):
    """What is sent to a model of texts."""

    inputs: Sent[str] = Field(alias="texts", min_length=1, examples=[["a text", "another text"]])


class RowsOfTexts(Body):
    """What is sent to a model whose inputs have several columns, such as pairs."""

    inputs: Sent[Sent[str]] = Field(
        alias="texts",
        min_length=1,
        description="inputs, each a list of its texts in order",
        examples=[[["a text", "another text"]]],
    )


class Images(Body):
    """What is sent to a model of images."""

    inputs: Sent[str] = Field(alias="images", min_length=1, description="image files, each as base64")


class RowsOfImages(Body):
    """What is sent to a model whose inputs are several images each."""

    inputs: Sent[Sent[str]] = Field(
        alias="images", min_length=1, description="inputs, each a list of its image files in order, each as base64"
    )


def sent_to(task: Task) -> type[Texts | RowsOfTexts | Images | RowsOfImages]:
    """What requests to a model of this task have to be."""
    if task.modality in PICTORIAL:
        return Images if task.modality == "image" else RowsOfImages
    return Texts if len(task.inputs) == 1 else RowsOfTexts


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


#: Status by status, why there is no answer.
PROBLEMS = {
    400: "not JSON",
    408: "took too long to come",
    413: "too large",
    415: "not called JSON",
    422: "cannot be predicted",
    500: "the model failed",
    503: "busy: try again in a moment",
}
