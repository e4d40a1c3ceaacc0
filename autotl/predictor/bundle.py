"""A bundle: a folder that predicts. It can be copied anywhere; it needs no data, no search and no hub.

::

    best/
      bundle.json      what it is: task, model, score; names the folder of weights that is valid
      0007-1000/       backbone/ (the family's own layout), head.safetensors, validation.safetensors
      README.md        the model card

A bundle is replaced by writing a new folder of weights beside the old one and then `bundle.json` in one rename:
whoever reads at any moment finds a whole bundle.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from autotl.data.task import Task
from autotl.errors import BundleError
from autotl.files import write_durably

BUNDLE_FILE = "bundle.json"
CARD_FILE = "README.md"


class BundleCard(BaseModel):
    """The contents of ``bundle.json``."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    weights: str  #: folder of weights inside the bundle
    task: Task
    family: str
    backbone: str
    licence: str  #: of the pretrained weights
    strategy: str
    settings: dict[str, float | str]
    trial: str  #: "screening" or the trial's number
    score: float  #: on the validation rows, by the task's metric; larger is better
    standard_error: float
    interval: tuple[float, float]  #: 95 %
    validation_rows: int
    training_rows: int
    versions: dict[str, str]
    created: str  #: UTC, ISO 8601


def commit(folder: Path, staged: Path, card: BundleCard) -> None:
    """Moves a finished folder of weights into the bundle and makes it the valid one."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / card.weights
    if target.exists():
        shutil.rmtree(target)
    for file in staged.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    staged.rename(target)
    write_durably(folder / BUNDLE_FILE, card.model_dump_json(indent=1))
    write_durably(folder / CARD_FILE, _model_card(card))
    for other in folder.iterdir():
        if other.is_dir() and other.name != card.weights:
            shutil.rmtree(other, ignore_errors=True)


def find_bundle(folder: str | Path) -> Path:
    """The bundle of a run folder, or the folder itself when it is one. Raises `BundleError` when there is none."""
    root = Path(folder).expanduser()
    for place in (root, root / "best"):
        if (place / BUNDLE_FILE).is_file():
            return place
    if not root.exists():
        raise BundleError(f"{folder}: no such run or bundle")
    raise BundleError(f"{folder}: no bundle here; a run folder has one in best/ once its first model is ready")


def read_card(bundle: Path) -> BundleCard:
    """Raises `BundleError` when ``bundle.json`` is torn or from another version."""
    try:
        data: dict[str, Any] = json.loads((bundle / BUNDLE_FILE).read_text(encoding="utf-8"))
        if data.get("format") != 1:
            raise BundleError(f"{bundle}: bundle format {data.get('format')!r}; this AutoTL reads format 1: update it")
        card = BundleCard.model_validate(data)
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"{bundle / BUNDLE_FILE} is no whole bundle and cannot be read ({reason})") from error
    if Path(card.weights).name != card.weights:
        raise BundleError(f"{bundle / BUNDLE_FILE}: its weights lie outside the bundle")
    return card


def _model_card(card: BundleCard) -> str:
    settings = "\n".join(f"| {name} | {value} |" for name, value in card.settings.items())
    classes = ", ".join(card.task.classes[:20]) + (" …" if len(card.task.classes) > 20 else "")
    score = f"{card.score:.4f} (95 %: {card.interval[0]:.4f} to {card.interval[1]:.4f})"
    versions = ", ".join(f"{name} {version}" for name, version in card.versions.items())
    return f"""# {card.task.target} from {card.task.input.name}

{card.task.kind} classification of {card.task.modality}s: {classes}.

| | |
|---|---|
| backbone | {card.backbone} (licence of its weights: {card.licence}) |
| strategy | {card.strategy} |
| {card.task.metric} on {card.validation_rows} validation rows | {score} |
| trained on | {card.training_rows} rows |
| made with | {versions} |

The validation rows chose among the trials, so the score is a little optimistic; `autotl evaluate` on rows that
were never used gives the honest one.

## Use

```python
import autotl
model = autotl.load("path/to/this/folder")
model.predict(frame)
```

## Settings

| setting | value |
|---|---|
{settings}
"""
