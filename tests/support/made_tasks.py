"""Tasks by themselves, for what needs one and no table."""

from __future__ import annotations

from autotl.data.task import InputColumn, Task
from autotl.kinds.kind import Scale


def of_classes(classes, metric="accuracy", modality="text"):
    """One of so many classes, or of these."""
    names = tuple(f"class {code}" for code in range(classes)) if isinstance(classes, int) else tuple(classes)
    kind = "binary" if len(names) == 2 else "multiclass"
    return _task(("label",), modality, kind=kind, classes=names, metric=metric)


def of_labels(labels, metric="mean_average_precision", modality="text"):
    """Any of so many labels."""
    names = tuple(f"label {code}" for code in range(labels))
    return _task(("labels",), modality, kind="multilabel", classes=names, delimiter="|", metric=metric)


def of_numbers(*scales, metric="r2", modality="text"):
    """A number for each scale, one that is learned as it is by default."""
    scales = scales or (Scale(mean=0.0, deviation=1.0),)
    targets = tuple(f"number {place}" for place in range(len(scales)))
    return _task(targets, modality, kind="regression", scales=scales, metric=metric)


def _task(targets, modality, **more):
    return Task(targets=targets, inputs=(InputColumn(name=modality, modality=modality),), **more)
