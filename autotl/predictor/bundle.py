"""A bundle: a folder that predicts. It can be copied anywhere; it needs no data, no search and no hub.

::

    best/
      bundle.json      what it is: task, members, score; names the folder of weights that is valid
      0007-1000-…/     a folder a member: backbone/ (the family's own layout), head.safetensors
      README.md        the model card

A bundle is replaced by writing a new folder of weights beside the old one and then `bundle.json` in one rename:
whoever reads at any moment finds a whole bundle. Weights are links to those of the run where the disk knows links.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from autotl.data.paths import expanded
from autotl.data.task import Task
from autotl.data.wording import kind_of_input
from autotl.errors import BundleError
from autotl.escaping import for_markdown
from autotl.files import reach_the_disk, write_durably
from autotl.kinds.kind import Calibration
from autotl.kinds.mixing import Combination
from autotl.untrusted import is_plain_name, read_object

BUNDLE_FILE = "bundle.json"
#: Of a run.
BUNDLE_FOLDER = "best"
CARD_FILE = "README.md"


class Member(BaseModel):
    """One model of a bundle, and how it was made."""

    model_config = ConfigDict(frozen=True)

    folder: str  #: its name in the folder of weights
    family: str
    backbone: str
    licence: str  #: of the pretrained weights
    strategy: str
    settings: dict[str, float | str]
    trial: str  #: "head", "tutor" or the trial's number
    share: float = 1.0  #: of the answer
    temperature: float = 1.0  #: by which its logits are divided


class BundleCard(BaseModel):
    """The contents of ``bundle.json``."""

    model_config = ConfigDict(frozen=True)

    format: Literal[2] = 2
    weights: str  #: folder of weights inside the bundle
    task: Task
    members: tuple[Member, ...]  #: the largest share first
    temperature: float = 1.0  #: by which the logarithms of the members' mean are divided
    score: float  #: what new rows should show, by the task's metric; larger is better
    optimism: float  #: already taken off `score`: what choosing among models added on the validation rows
    standard_error: float
    interval: tuple[float, float]  #: 95 %
    calibration: Calibration = {}  #: what the task's kind keeps: thresholds, widths
    chosen_among: int  #: models
    validation_rows: int
    folds: int = 1  #: parts of the table that these rows are; all but the first were answered by models fitted anew
    training_rows: int
    refit: bool = False  #: whether models were trained on the validation rows too, after these had judged them
    latency: float = 0.0  #: seconds from one row to its answer, where it was made; 0 where that is not known
    versions: dict[str, str]
    created: str  #: UTC, ISO 8601

    @property
    def combination(self) -> Combination:
        """How its members' answers become one."""
        shares = np.array([member.share for member in self.members])
        return Combination(shares, np.array([member.temperature for member in self.members]), self.temperature)

    def describe(self) -> str:
        """The answer in one line."""
        if len(self.members) == 1:
            (only,) = self.members
            return (
                f"{only.strategy} of {only.backbone}, {f'trial {only.trial}' if only.trial.isdigit() else only.trial}"
            )
        shares: dict[str, float] = {}
        for member in self.members:
            what = f"{member.strategy} of {member.backbone}"
            shares[what] = shares.get(what, 0.0) + member.share
        parts = ", ".join(f"{share:.0%} {what}" for what, share in shares.items())
        return f"mean of {len(self.members)} answers: {parts}"


def commit(folder: Path, sources: Mapping[str, Path], card: BundleCard) -> None:
    """Makes a bundle of the finished model folders `sources` (by member) and `card`, or replaces the one there."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / card.weights
    if not target.exists():
        fresh = folder / f".{card.weights}"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            for name, source in sources.items():
                for file in source.rglob("*"):
                    if file.is_file():
                        _link(file, fresh / name / file.relative_to(source))
            fresh.rename(target)
        except OSError:  # a full disk has no room for half a bundle
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    write_durably(folder / BUNDLE_FILE, card.model_dump_json(indent=1))
    write_durably(folder / CARD_FILE, _model_card(card))
    for other in folder.iterdir():
        if other.is_dir() and other.name != card.weights:
            shutil.rmtree(other, ignore_errors=True)


def _link(file: Path, copy: Path) -> None:
    """Another name for a file that nobody changes, or a copy where the disk has no links; on the disk afterwards."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, copy)
    except OSError:
        shutil.copyfile(file, copy)
    reach_the_disk(copy)


def find_bundle(folder: str | os.PathLike[str]) -> Path:
    """The bundle of a run folder, or the folder itself when it is one. Raises `BundleError` when there is none."""
    root = expanded(folder)
    try:
        for place in (root, root / BUNDLE_FOLDER):
            if (place / BUNDLE_FILE).is_file():
                return place
        if not root.exists():
            raise BundleError(f"{folder}: no such run or bundle")
    except OSError as error:
        raise BundleError(f"{folder} cannot be read ({error.strerror})") from error
    raise BundleError(f"{folder}: no bundle here; a run folder has one in best/ once its first model is ready")


def read_card(bundle: Path) -> BundleCard:
    """Raises `BundleError` when ``bundle.json`` is torn or from another version."""
    try:
        data = read_object(bundle / BUNDLE_FILE)
        if data.get("format") != 2:
            raise BundleError(
                f"{bundle}: bundle format {data.get('format')!r}, and this AutoTL reads format 2: use the version of "
                "AutoTL that wrote it, or search again"
            )
        card = BundleCard.model_validate(data)
    except (OSError, ValueError) as error:  # pydantic's is one of these
        reason = str(error).splitlines()[0]
        raise BundleError(f"{bundle / BUNDLE_FILE} is no whole bundle and cannot be read ({reason})") from error
    names = (card.weights, *(member.folder for member in card.members))
    if not all(is_plain_name(name) for name in names) or (bundle / card.weights).is_symlink():
        raise BundleError(f"{bundle / BUNDLE_FILE}: its weights lie outside the bundle")
    if len(set(names[1:])) < len(card.members):  # each is loaded
        raise BundleError(f"{bundle / BUNDLE_FILE} names a folder of weights twice")
    return card


_FOLDS = ", by cross-validation over {} parts of the table"
_REFIT = ", the validation rows among them: the end of the training was repeated with these after they had judged it"


def _model_card(card: BundleCard) -> str:
    outputs = ", ".join(map(for_markdown, card.task.outputs[:20])) + (" …" if len(card.task.outputs) > 20 else "")
    asked = for_markdown(card.task.rules.describe(card.task))
    score = f"{card.score:.4f} (95 %: {card.interval[0]:.4f} to {card.interval[1]:.4f})"
    versions = ", ".join(f"{for_markdown(name)} {for_markdown(version)}" for name, version in card.versions.items())
    members = "\n".join(
        f"| {member.share:.0%} | "
        + " | ".join(map(for_markdown, (member.backbone, member.licence, member.strategy)))
        + " | "
        + ", ".join(f"{for_markdown(name)} {for_markdown(value)}" for name, value in member.settings.items())
        + " |"
        for member in card.members
    )
    return f"""# {for_markdown(card.task.target)} from {for_markdown(card.task.input_name)}

{card.task.kind} task: {asked} from {kind_of_input(card.task.modality, several=True)}: {outputs}.

| | |
|---|---|
| {card.task.metric} | {score} |
| estimated on | {card.validation_rows} validation rows{_FOLDS.format(card.folds) if card.folds > 1 else ""} |
| taken off, for choosing among {card.chosen_among} models | {card.optimism:.4f} |
| trained on | {card.training_rows} rows{_REFIT if card.refit else ""} |
| seconds a row, alone, where it was made | {card.latency:.4f} |
| made with | {versions} |

## Use

```python
import autotl
model = autotl.load("path/to/this/folder")
model.predict(frame)
```

## Members

| share | backbone | licence of its weights | strategy | settings |
|---|---|---|---|---|
{members}
"""
