"""What a plugin and the core owe each other: the few types that travel between them.

Nothing here imports torch: discovery and the engine read these types without it.
Arrays are written with shape and dtype; a *row* is one example of the user's table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import argparse

    import numpy as np
    import torch

#: What a row's input is. A cell of a pair is two texts, and one of several images their paths; both are ordered, as a
#: tuple or (over the line to the worker) a list.
Modality: TypeAlias = Literal["image", "images", "text", "text_pair"]
#: Those whose rows are tokens, of any number.
TEXTUAL: frozenset[Modality] = frozenset(("text", "text_pair"))
#: Those whose rows are pixels, and whose cells name files.
PICTORIAL: frozenset[Modality] = frozenset(("image", "images"))
#: Where weights come from: a folder that was given, the hub's cache on this machine, the hub, or the plugin's package.
Source: TypeAlias = Literal["folder", "cache", "hub", "package"]

#: The family of the bag of words, which no plugin brings.
OWN_FAMILY = "words"

#: What no parameter and no figure of a strategy may be called: the log of a run has these names for other things.
RESERVED_NAMES = frozenset(
    {"at", "backbone", "kind", "permille", "planned_seconds", "score", "strategy", "trial", "units", "why"}
)

#: What flows between stages: named tensors whose first dimension is the batch. The activation is under
#: ``"x"``; whatever a later stage needs beside it (an attention mask, say) rides along under its own name,
#: so that a stored state can be resumed anywhere. A ``"mask"`` ``[batch, length]`` is nonzero where a row has
#: something, from its start on; the rest is padding, and stored states go without it: what runs along the mask has its
#: length as dimension 1, and no other dimension differs between batches.
State: TypeAlias = "dict[str, torch.Tensor]"


#: However small the table: with fewer steps fine-tuning ends before it has begun, and looks unstable for no other
#: reason (Mosbach et al. 2021, Zhang et al. 2021). Of ten trainings on few rows seven had a better test accuracy
#: after 300 steps than after some 100, by up to 0.044, and three a worse one, by up to 0.008 (benchmarks/NOTES.md).
FEWEST_STEPS = 300


@dataclass(frozen=True)
class Recipe:
    """The published way to fine-tune a backbone with AdamW; the search moves around it by multipliers."""

    learning_rate: float  #: peak rate of the backbone for full fine-tuning at `batch_size`
    layer_decay: float = 1.0  #: factor on the learning rate from one stage to the one below it
    weight_decay: float = 0.02
    batch_size: int = 32
    epochs: float = 10.0  #: passes over a table of some thousand rows

    def passes(self, rows: int, *, fewest_steps: int | None = None) -> float:
        """Over a table of so many rows to train on: `epochs`, or as many as the fewest steps take (`FEWEST_STEPS`)."""
        fewest = FEWEST_STEPS if fewest_steps is None else fewest_steps
        return max(self.epochs, fewest * min(self.batch_size, rows) / rows)


@dataclass(frozen=True)
class Candidate:
    """One pretrained backbone that could be had, and what is known of it before it is loaded."""

    name: str  #: unique within its family, as its publisher spells it
    family: str
    modality: Modality
    source: Source
    location: str  #: a folder, the name on the hub, or what the family knows its own weights by
    parameters: int
    width: int  #: length of its feature vector
    input_size: int  #: side in pixels, or tokens
    licence: str
    prior: float  #: 0 to 1: how well it transfers in general, before it has seen the data
    recipe: Recipe
    columns: int = 1  #: images of a row where these are several, as `ZooContext` has them
    language: str = ""  #: the only one that it learned from, such as ``en``; empty for several, and where nobody says

    @property
    def key(self) -> str:
        """The name that the search, the leaderboard and the bundle use."""
        return f"{self.family}/{self.name}"


@dataclass(frozen=True)
class ZooContext:
    """Where a family may look for backbones."""

    folders: tuple[Path, ...] = ()  #: given with --models or AUTOTL_ZOO: each a model folder or a folder of them
    hub: bool = False  #: whether the hub answered; a family opens no connection when it did not
    #: Of the table, that a row's input has; one where no table is known. A backbone for several images is made for as
    #: many.
    columns: int = 1


@dataclass(frozen=True)
class Unreadable:
    """Stands where an encoded cell would stand; the core names the row and decides."""

    reason: str


@runtime_checkable
class InputEncoder(Protocol):
    """Turns cells into arrays once, and arrays into batches at every step. Picklable; imports torch late.

    What is stored is known by its pickle, which is the same before and after use and in every process, and by the cell:
    a text by what it says, so what lies in files goes by ``image``.
    """

    @property
    def fingerprint(self) -> str:
        """Changes whenever `encode` would give other arrays for the same cells."""

    @property
    def longest(self) -> int | None:
        """Tokens of the longest array that `encode` gives, to which longer texts are cut; None where nothing is cut."""

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """One array a cell. Image: ``[side, side, 3] uint8``; several: ``[images, side, side, 3] uint8``, unreadable
        where one of them is; text: ``[tokens] int32``, specials included; pair of texts: ``[tokens, 2] int32``, the
        tokens of both one after the other, each beside its segment, 0 or 1.

        An image cell is the path of a file, or of nothing: pipes, devices, folders and addresses are kept away. A text
        is a string that UTF-8 can hold. Called from several threads at once.
        """

    def batch(
        self,
        rows: Sequence[np.ndarray],
        *,
        augment: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> State:
        """Rows to the input of stage 0, on the CPU, normalized and padded to the longest row.

        `augment` is the strength from 0 (none, exact) to 1; only families with `augments` read it.
        All randomness comes from `generator`.
        """

    def views(self) -> Sequence[InputEncoder]:
        """Encoders that batch the same arrays in another way which means the same, such as mirrored; often none.

        They share this one's fingerprint. An answer may be the mean over views where that proves to be better.
        """


@runtime_checkable
class ViewingEncoder(InputEncoder, Protocol):
    """An encoder that has views, and can do without: to some tasks a mirrored picture means something else."""

    def without_views(self) -> InputEncoder:
        """The same without views, whose augmented batches do nothing of what these do."""


@runtime_checkable
class AcceleratedEncoder(InputEncoder, Protocol):
    """An encoder that can make its batches on an accelerator, many times as fast where they are pictures. Optional."""

    def batch_on(
        self,
        device: torch.device,
        rows: Sequence[np.ndarray],
        *,
        augment: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> State:
        """What `batch` gives, but on `device`; `generator` is of the CPU, so that the same is drawn everywhere."""


@runtime_checkable
class PortableEncoder(InputEncoder, Protocol):
    """An encoder that can be had without AutoTL and torch, for exports that run on their own. Optional."""

    def write_portable(self, folder: Path) -> Sequence[str]:
        """Writes ``preprocess.py`` and what it reads into a folder. Returns the packages that it needs.

        The module imports neither torch nor AutoTL. Its class ``Inputs(folder: Path)`` has the encoder's `encode`,
        with a str, the reason, in place of each `Unreadable`, and ``batch(rows)``, which gives numpy arrays equal to
        the tensors of the encoder's own to 1e-6.
        """


if TYPE_CHECKING:

    class Backbone(torch.nn.Module):
        """A network from input to features as an ordered list of stages; the head is not one of them.

        A family returns a `torch.nn.Module` with these members; it need not inherit from this class.
        Running all stages and then `pool` equals the library's own features to 1e-5.
        Stage 0 is the stem or the embeddings, the last stage ends at the feature vector.
        """

        stages: torch.nn.ModuleList
        width: int
        ragged: bool  #: optional: texts pass without their padding where nothing is learned, so batches may be unlike

        def forward(self, state: State, start: int = 0, stop: int | None = None) -> State:
            """Runs stages ``start`` to ``stop`` (exclusive; None: all that follow)."""

        def folded(self) -> Backbone:
            """Optional: one that passes faster where nothing is learned, and gives the same to 1e-4. On its device."""

        def pool(self, state: State) -> torch.Tensor:
            """``[batch, channels]`` from the state at any boundary; ``[batch, width]`` after the last stage."""


@runtime_checkable
class ModelFamily(Protocol):
    """A library of pretrained networks of one modality."""

    name: str
    modality: Modality
    augments: bool  #: whether its encoder knows augmentation

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        """Everything known here: models in `context.folders`, then in the local hub cache, then the catalogue.

        A name appears once, with the nearest source; catalogue entries that are not here have source "hub",
        whether or not the hub answered (the zoo says why they cannot be used). Imports no network library.
        """

    def encoder(self, candidate: Candidate, sample: Sequence[Any]) -> InputEncoder:
        """The encoder for a backbone, settled (input side, longest text) by a sample of up to 256 cells.

        Raises `ZooError` where the backbone is made for other cells than these; it is left out of this search then.
        """

    def load(self, candidate: Candidate, *, drop: float = 0.0, pretrained: bool = True) -> Backbone:
        """The backbone with its pretrained weights, in eval mode, fp32, on the CPU.

        `drop` is the stochastic depth, or the dropout where a network has none of the former. Not `pretrained`: the
        same network with new weights, as its library draws them from torch's global generator.
        Raises `ZooError` when the weights cannot be had.
        """

    def save(self, backbone: Backbone, encoder: InputEncoder, folder: Path) -> None:
        """Writes weights (safetensors), configuration and preprocessing into `folder`."""

    def restore(self, folder: Path) -> tuple[Backbone, InputEncoder]:
        """What `save` wrote, without the hub and without the original weights."""


@dataclass(frozen=True)
class Real:
    """A number that the search may choose.

    Where `usual` is known, most trials are near it: the search draws from a normal around it, cut at the ends, whose
    deviation is a sixth of the range, both in logarithms where `log` is set.
    """

    name: str
    low: float
    high: float
    log: bool = False
    usual: float | None = None

    def holds(self, value: Value) -> bool:
        """Whether it can have this value."""
        return not isinstance(value, str) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choice:
    """One of a few values that the search may choose.

    Numbers stand in ascending order, and their neighbours are taken to be alike; `weights` says how likely each is
    before anything is known, all alike by default. Words have no order and no weights.
    """

    name: str
    options: tuple[float, ...] | tuple[str, ...]
    weights: tuple[float, ...] = ()

    def holds(self, value: Value) -> bool:
        """Whether it can have this value."""
        return value in self.options


Parameter: TypeAlias = Real | Choice
Value: TypeAlias = float | str


#: Up to so many training rows a class, rows are few: a probe has no loss left on them, and weights wander.
FEW_ROWS_A_CLASS = 100


@dataclass(frozen=True)
class StrategyContext:
    """What a strategy may know when it states its parameters."""

    candidate: Candidate
    rows: int  #: of the training part
    class_rows: tuple[int, ...]  #: of these, of each class; empty where a row has several labels, or numbers
    metric: str
    augments: bool
    passes: float  #: full passes (forward and back) over the training rows that the budget affords; may be infinite
    doubtful: bool = False  #: whether it has to be measured here that pretrained weights help at all
    squared: bool = False  #: whether the loss is the squared error of numbers
    teacher: bool = False  #: whether there is a bundle to learn from (`Trial.teacher`)
    stages: int = 0  #: of the backbone; 0 where nobody has loaded it
    pretrained: bool = True  #: whether the strategy that trains begins at published weights, for regularizers
    costs: bool = False  #: whether errors have costs, which probabilities are multiplied with

    @property
    def classes(self) -> int:
        """0 where a row does not have exactly one of several classes."""
        return len(self.class_rows)

    @property
    def few_rows(self) -> bool:
        """Whether there are few of each class."""
        return 0 < self.rows <= FEW_ROWS_A_CLASS * self.classes


@dataclass(frozen=True)
class Work:
    """What a trial will compute; the core, which knows how fast each pass is here, makes a forecast of it."""

    passes: float  #: over the training rows, forward and back through the stages that are trained
    #: Another way of training than all weights above the frozen stages, whose steps take another time; the same name
    #: as in `autotl.training.loop.Plan`.
    method: str = ""
    #: Factor on a step's time, 1 where a `method` is named, whose steps are measured; the core multiplies it by those
    #: of the regularizers at work.
    step_cost: float = 1.0
    frozen_fraction: float = 0.0  #: of the stages, from the input on: computed once a row and view where possible
    augment: float = 0.0  #: strength; above 0 each row has several views
    #: A strategy that does the same but for what this one adds: where both have finished a trial of the same backbone
    #: and settings, the search tells which of them was better.
    twin: str = ""

    @property
    def closed_form(self) -> bool:
        """Whether it is solved for, and no row passes, such as a head on features that are there."""
        return self.passes == 0


@dataclass(frozen=True)
class Progress:
    """A trial's word that it can be judged now."""

    permille: int  #: of the trial's own length, 1000 at the end
    details: Mapping[str, float] = field(default_factory=dict)  #: figures for the log, such as the loss


@runtime_checkable
class Strategy(Protocol):
    """A way to turn a pretrained backbone into a model for the task. A class that inherits from this has defaults."""

    name: str
    regularized: bool = False  #: whether it trains by `autotl.training.loop.train`, which heeds the regularizers
    weight: float = 1.0  #: how likely it is to be tried before anything is known; fine-tuning has 1
    pretrained: bool = True  #: whether it begins at published weights; those that do not are the control of these

    def parameters(self, context: StrategyContext) -> Sequence[Parameter]:
        """What the search may choose; empty where the strategy does not apply.

        Names are shared with other strategies wherever the meaning is the same, and words are the same then: Optuna has
        one list for a name. None is among `RESERVED_NAMES`.
        """

    def portfolio(self, context: StrategyContext) -> Sequence[Mapping[str, Value]]:
        """Complete settings worth trying before the sampler is free, best first.

        The first is the published recipe, as far as `context.passes` affords it.
        """

    def work(self, context: StrategyContext, settings: Mapping[str, Value]) -> Work:
        """What `fit` will compute with these settings."""

    def fit(self, trial: Any) -> Iterator[Progress]:
        """Trains within ``trial.clock``, yielding wherever the model can be judged and put aside.

        `trial` is an `autotl.training.trial.Trial`: settings, examples, cached features, and the model to train.
        Every setting must be read. Raises `TrialError` when the trial cannot go on.

        It is judged at a ninth, a third and two thirds of its length, or next after them. Behind a ``yield`` the model
        is in evaluation mode, and the clock may have moved.
        """


@runtime_checkable
class Regularizer(Protocol):
    """Something that keeps a training from fitting its rows too closely, in whatever strategy trains.

    The search chooses its strength, where 0 is off and costs nothing. A class that inherits from this has defaults.
    """

    name: str  #: of the regularizer, and of its parameter
    step_cost: float = 1.0  #: factor on the time of a training step, where it is on

    def strengths(self, context: StrategyContext) -> Choice | None:
        """What the search may choose, 0 among it; None where it does not apply."""

    def usual(self, context: StrategyContext) -> float:
        """The strength that published recipes have, which is the first to be tried; 0 for most."""
        return 0.0

    def effect(self, strength: float) -> Any:
        """An `autotl.training.effect.Effect` of this strength, above 0, for one training. Imports torch late."""


@runtime_checkable
class Screener(Protocol):
    """A second opinion on how well a backbone suits the task, from its frozen features alone."""

    name: str

    def score(self, features: np.ndarray, labels: np.ndarray, classes: int) -> float:
        """Larger is better; only the order that it gives to backbones counts.

        features ``[rows, width] float32``, labels ``[rows] int64`` below `classes`, where a number is given by the bin
        that it falls in, and several labels by the rarest; some thousand rows, which should
        take about a second. Raises whatever it likes when it has no opinion, and is left out then.
        """


@runtime_checkable
class Metric(Protocol):
    """A score to choose models by, and to tell: ``--metric NAME``. Larger is better."""

    name: str
    kinds: Sequence[str]  #: of tasks that it is for, as in `autotl.data.task.Task.kind`
    of_decisions: bool  #: whether it is given what is decided by answers, in place of these

    def score(self, targets: np.ndarray, answers: np.ndarray) -> float:
        """Of classes: targets ``[rows] int64``, answers ``[rows, classes] float32``, decisions ``[rows] int64``.

        Of labels: targets and answers ``[rows, labels] float32``, decisions likewise of bool. Of numbers: both
        ``[rows, targets] float64``, in the units of the table. Called some thousand times, so it should take no more
        than a millisecond for a thousand rows.
        """


@runtime_checkable
class Command(Protocol):
    """A command of its own: ``autotl NAME``."""

    name: str
    help: str  #: one line

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds options; those that other commands have too come from `autotl.cli.options`.

        It is called once to see that it works, and again for the command line: a plugin whose command raises here, or
        has the name of one of AutoTL's own, is off.
        """

    def run(self, options: argparse.Namespace) -> int:
        """Does it, and returns the exit code. Raises `AutoTLError` for what people can mend."""


@runtime_checkable
class Exporter(Protocol):
    """A form in which programs without AutoTL use an answer: ``autotl export RUN --to NAME``.

    A class that inherits from this has defaults.
    """

    name: str
    help: str  #: one line: what is written, and what it takes to load it
    #: Whether it answers as the bundle does, to 1e-4 in every probability. Then an export that does not is refused;
    #: else what it loses is told.
    exact: bool = True

    def export(self, model: Any, cells: Sequence[Any], folder: Path) -> None:
        """Writes `model`, an `autotl.predictor.predictor.Predictor`, into an empty folder, with a README.md that says
        how it is loaded.

        cells: up to some hundred readable inputs of the kind that it answers, such as an exporter traces networks with.
        Raises `ExportError` where this form cannot hold the model.
        """

    def load(self, folder: Path) -> Callable[[Sequence[Any]], np.ndarray]:
        """What `export` wrote, loaded as its README says; the folder may have been moved.

        Answers cells with ``[rows, outputs] float32``, probabilities of classes or labels, or numbers as they were
        learned; NaN where one cannot be read.
        """
