"""Whether a family of backbones keeps its contract: what it says of them, how it reads cells, what its stages do."""

from __future__ import annotations

import copy
import pickle
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

from autotl.features.layers import folded
from autotl.features.states import pack, unpack
from autotl.plugins.contracts import (
    PICTORIAL,
    AcceleratedEncoder,
    Candidate,
    InputEncoder,
    Modality,
    ModelFamily,
    PortableEncoder,
    Unreadable,
    ViewingEncoder,
)
from autotl.testing.portable import check_portable
from autotl.testing.promises import expect, expect_no_error

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone, State

#: Relative to the largest feature: sums in another order differ by less, a forgotten mask by far more.
TOLERANCE = 1e-4

#: Cells with nothing to read, which are no errors; of several images, what the last of them is.
_NOTHING: dict[Modality, tuple[Any, ...]] = {
    "image": ("", "no/such/file"),
    "images": ("no/such/file",),
    "text": ("", "   "),
    "text_pair": (("", ""), ["a text", ""]),
}

#: What pickle could hide in; weights are safetensors.
_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}


def check_family(family: ModelFamily, candidate: Candidate, cells: Sequence[Any]) -> None:
    """A family keeps its contract with one of its candidates.

    cells: four or more readable ones that differ, of different lengths where they are texts, and of as many images as
    the candidate has columns where these are several. `check_stored_states` checks besides that states survive the
    store in a training. Raises `BrokenPromise`.
    """
    thing = f"{candidate.key}"
    check_family_facts(family)
    check_candidate(family, candidate)
    with expect_no_error(thing, "encoder() settles an encoder by a sample of cells"):
        encoder = family.encoder(candidate, cells)
    _check_encoder(thing, family, candidate, encoder, cells)
    with expect_no_error(thing, "load() loads the backbone"):
        backbone = family.load(candidate)
    _check_loaded(thing, backbone)
    rows = [row for row in encoder.encode(cells) if isinstance(row, np.ndarray)]
    with torch.no_grad():
        features = _check_stages(thing, backbone, encoder, rows)
    _check_loading(thing, family, candidate, encoder, rows, features)
    _check_saving(thing, family, candidate, encoder, rows)
    _check_gradients(thing, backbone, encoder.batch(rows))


def check_family_facts(family: ModelFamily) -> None:
    """What a family says of itself. Raises `BrokenPromise`."""
    thing = f"family {getattr(family, 'name', type(family).__name__)!r}"
    expect(isinstance(family, ModelFamily), thing, "has all members of ModelFamily", sorted(vars(type(family))))
    expect(re.fullmatch(r"[\w-]+", family.name) is not None, thing, "its name is a word", repr(family.name))
    known = get_args(Modality)
    expect(family.modality in known, thing, f"its modality is one of {', '.join(known)}", repr(family.modality))
    expect(isinstance(family.augments, bool), thing, "augments is a bool", repr(family.augments))


def check_candidate(family: ModelFamily, candidate: Candidate) -> None:
    """What a candidate says of itself. Raises `BrokenPromise`."""
    thing = f"{candidate.key}"
    expect(candidate.family == family.name, thing, f"names its family, {family.name!r}", repr(candidate.family))
    expect(
        candidate.modality == family.modality, thing, f"is of the modality {family.modality}", repr(candidate.modality)
    )
    expect(bool(candidate.name.strip()), thing, "has a name", repr(candidate.name))
    for what in ("parameters", "width", "input_size", "columns"):
        value = getattr(candidate, what)
        expect(isinstance(value, int) and value > 0, thing, f"{what} is a whole number above 0", repr(value))
    expect(0 <= candidate.prior <= 1, thing, "its prior is from 0 to 1", candidate.prior)
    recipe = candidate.recipe
    whole = recipe.learning_rate > 0 and 0 < recipe.layer_decay <= 1 and recipe.weight_decay >= 0
    whole = whole and recipe.batch_size >= 1 and recipe.epochs > 0
    expect(whole, thing, "its recipe can be trained by", recipe)


def _check_encoder(
    thing: str, family: ModelFamily, candidate: Candidate, encoder: InputEncoder, cells: Sequence[Any]
) -> None:
    """Arrays and batches are what the contract says, and the same whenever they are made."""
    expect(isinstance(encoder, InputEncoder), thing, "encoder() gives an InputEncoder", type(encoder).__name__)
    fingerprint, longest = encoder.fingerprint, encoder.longest
    expect(isinstance(fingerprint, str) and bool(fingerprint), thing, "a fingerprint is a text", repr(fingerprint))
    again = family.encoder(candidate, cells).fingerprint
    expect(again == fingerprint, thing, "the same sample gives the same fingerprint", f"{fingerprint!r}, {again!r}")
    expect(longest is None or longest > 0, thing, "longest is None or a number of tokens", longest)
    with expect_no_error(thing, "an encoder can be pickled"):
        before = pickle.dumps(encoder)
        copied: InputEncoder = pickle.loads(before)  # made here a moment ago, not read from anywhere
    expect(copied.fingerprint == fingerprint, thing, "a pickled encoder keeps its fingerprint", copied.fingerprint)

    with expect_no_error(thing, "encode() gives an array for each cell"):
        rows = encoder.encode(cells)
    unused = pickle.dumps(encoder) == before
    expect(unused, thing, "its pickle is the same after use, as the store knows features by it", "another")
    expect(len(rows) == len(cells), thing, "encode() gives one array a cell", f"{len(rows)} for {len(cells)} cells")
    expect(len(rows) >= 4, thing, "is checked on four cells or more", len(rows))
    for cell, row in zip(cells, rows, strict=True):
        _check_array(thing, candidate, longest, cell, row)
    _check_same(thing, "a cell gives the same array alone", rows, [encoder.encode([cell])[0] for cell in cells])
    _check_same(thing, "a pickled encoder gives the same arrays", rows, copied.encode(cells))

    for nothing in _NOTHING[candidate.modality]:
        nothing = (*cells[0][:-1], nothing) if candidate.modality == "images" else nothing
        with expect_no_error(thing, "encode() raises nothing for a cell that it cannot read"):
            (odd,) = encoder.encode([nothing])
        if candidate.modality in PICTORIAL:
            promise = "encode() gives Unreadable for an image that is not there"
            expect(isinstance(odd, Unreadable), thing, promise, f"{_shape(odd)} for {nothing!r}")

    readable = [row for row in rows if isinstance(row, np.ndarray)]
    with expect_no_error(thing, "batch() makes a state of arrays"):
        state = encoder.batch(readable)
    _check_state(thing, "batch()", state, len(readable))
    for name, tensor in encoder.batch(readable).items():
        expect(torch.equal(tensor, state[name]), thing, "batch() without augmentation is exact", f"{name} differs")
    if isinstance(encoder, AcceleratedEncoder):
        for name, tensor in encoder.batch_on(torch.device("cpu"), readable).items():
            expect(torch.equal(tensor, state[name]), thing, "batch_on() gives what batch() does", f"{name} differs")
    if family.augments:
        _check_augmentation(thing, encoder, readable, state)
    if isinstance(encoder, ViewingEncoder):
        alone = encoder.without_views()
        expect(not alone.views(), thing, "without_views() has no views", f"{len(alone.views())} of them")
        expect(alone.fingerprint == fingerprint, thing, "without_views() shares the fingerprint", alone.fingerprint)
        for name, tensor in alone.batch(readable).items():
            expect(torch.equal(tensor, state[name]), thing, "without_views() batches as itself", f"{name} differs")
    for view in encoder.views():
        expect(view.fingerprint == fingerprint, thing, "a view shares the fingerprint", repr(view.fingerprint))
        _check_state(thing, "batch() of a view", view.batch(readable), len(readable))
    for way in (encoder, *encoder.views()):
        if isinstance(way, PortableEncoder):
            check_portable(thing, way, cells)


def _check_array(
    thing: str, candidate: Candidate, longest: int | None, cell: Any, row: np.ndarray | Unreadable
) -> None:
    if isinstance(row, Unreadable):
        expect(False, thing, "can read the cells that it is checked on", f"{cell!r}: {row.reason}")
    elif candidate.modality == "image":
        kept = row.dtype == np.uint8 and row.ndim == 3 and row.shape[0] == row.shape[1] and row.shape[2] == 3
        expect(kept, thing, "an image is encoded as [side, side, 3] uint8", _shape(row))
    elif candidate.modality == "images":
        kept = row.dtype == np.uint8 and row.ndim == 4 and row.shape[1] == row.shape[2] and row.shape[3] == 3
        kept = kept and len(row) == len(cell) == candidate.columns
        expect(kept, thing, "several images are encoded as [images, side, side, 3] uint8", _shape(row))
    else:
        what, shape, rest = ("text", "[tokens]", ()) if candidate.modality == "text" else ("pair", "[tokens, 2]", (2,))
        kept = row.dtype == np.int32 and row.shape[1:] == rest and 0 < len(row) <= (longest or len(row))
        promise = f"a {what} is encoded as {shape} int32, one to `longest` tokens"
        expect(kept, thing, promise, f"{_shape(row)}: {cell!r}")


def _check_same(thing: str, promise: str, rows: Sequence[Any], others: Sequence[Any]) -> None:
    for number, (row, other) in enumerate(zip(rows, others, strict=True)):
        expect(np.array_equal(row, other), thing, promise, f"another one for cell {number}")


def _check_augmentation(thing: str, encoder: InputEncoder, rows: Sequence[np.ndarray], exact: State) -> None:
    def augmented(seed: int) -> State:
        return encoder.batch(rows, augment=1.0, generator=torch.Generator().manual_seed(seed))

    with expect_no_error(thing, "batch() augments, as the family says that it does"):
        first, second, other = augmented(0), augmented(0), augmented(1)
    _check_state(thing, "batch() with augmentation", first, len(rows))
    shape = tuple(first["x"].shape)
    expect(shape == tuple(exact["x"].shape), thing, "augmentation keeps the shape of a batch", shape)
    same = torch.equal(first["x"], second["x"])
    expect(same, thing, "augmentation draws from the generator alone", "two results from one seed")
    changed = not torch.equal(first["x"], other["x"])
    expect(changed, thing, "augmentation differs from seed to seed", "the same batch for two seeds")


def _check_state(thing: str, what: str, state: State, rows: int) -> None:
    expect(isinstance(state, dict) and "x" in state, thing, f'{what} gives a dict with "x"', type(state).__name__)
    for name, tensor in state.items():
        kept = isinstance(tensor, torch.Tensor) and tensor.ndim > 0 and len(tensor) == rows
        expect(
            kept, thing, f"{what} gives tensors whose first dimension is the batch, {rows}", f"{name}: {_shape(tensor)}"
        )
        expect(tensor.device.type == "cpu", thing, f"{what} stays on the CPU", f"{name} on {tensor.device}")
        finite = not tensor.is_floating_point() or bool(tensor.isfinite().all())
        expect(finite, thing, f"{what} gives finite numbers", f"{name} has others")
    if "mask" in state:
        there = state["mask"] != 0
        kept = there.ndim == 2 and bool((there[:, :-1] | ~there[:, 1:]).all()) and bool(there[:, 0].all())
        expect(kept, thing, "a mask is [batch, length], nonzero from a row's start to its end", _shape(state["mask"]))


def _check_loaded(thing: str, backbone: Backbone) -> None:
    """What load() promises of any backbone."""
    expect(isinstance(backbone, torch.nn.Module), thing, "load() gives a torch module", type(backbone).__name__)
    stages = getattr(backbone, "stages", None)
    expect(isinstance(stages, torch.nn.ModuleList), thing, "stages is a ModuleList", type(stages).__name__)
    expect(len(backbone.stages) > 0, thing, "has a stage at least", 0)
    expect(isinstance(backbone.width, int), thing, "width is a whole number", repr(getattr(backbone, "width", None)))
    training = [name or "the whole" for name, module in backbone.named_modules() if module.training]
    expect(not training, thing, "load() gives the backbone in eval mode", f"{', '.join(training[:3])} in training mode")
    for name, tensor in [*backbone.named_parameters(), *backbone.named_buffers()]:
        kept = tensor.device.type == "cpu" and (tensor.dtype == torch.float32 or not tensor.is_floating_point())
        expect(kept, thing, "load() gives weights in fp32 on the CPU", f"{name}: {tensor.dtype} on {tensor.device}")
    homes = [id(parameter) for stage in backbone.stages for parameter in stage.parameters()]
    lost = [name for name, parameter in backbone.named_parameters() if homes.count(id(parameter)) != 1]
    expect(not lost, thing, "every parameter belongs to one stage", f"not so: {', '.join(lost[:3])}")


def _check_stages(thing: str, backbone: Backbone, encoder: InputEncoder, rows: Sequence[np.ndarray]) -> torch.Tensor:
    """Stages can be run in parts; returns the features ``[rows, width] float32``."""
    state, last = encoder.batch(rows), len(backbone.stages)
    with expect_no_error(thing, "a batch passes through all stages and pool()"):
        features = backbone.pool(backbone(_copied(state)))
    shape = (len(rows), backbone.width)
    expect(tuple(features.shape) == shape, thing, f"pool() gives [batch, width] = {list(shape)}", list(features.shape))
    expect(bool(features.isfinite().all()), thing, "features are finite numbers", "others")
    spread = float((features - features.mean(0)).abs().max())
    expect(spread > 0, thing, "features say something of the rows", "the same for all of them")
    for boundary in range(last + 1):
        where = f"boundary {boundary} of {last}"
        with expect_no_error(thing, "stages run in two parts at every boundary"):
            middle = backbone(_copied(state), 0, boundary)
            _check_state(thing, f"the output of {boundary} stages", middle, len(rows))
            whole = backbone.pool(backbone(middle, boundary))
        _check_close(thing, "two parts give what all stages do", whole, features, where)
        twice = backbone.pool(backbone(middle, boundary))
        _check_close(thing, "a state can be used again, so no stage changes it in place", whole, twice, where)
        if boundary:
            pooled = backbone.pool(middle)
            kept = pooled.ndim == 2 and len(pooled) == len(rows)
            expect(kept, thing, "pool() gives [batch, channels] at every boundary", f"{list(pooled.shape)} at {where}")
        alone = [backbone(encoder.batch([row]), 0, boundary) for row in rows]  # as long as it is by itself
        with expect_no_error(thing, "a state that was stored without its padding can go on"):
            back = unpack([pack(one, exact=True, channels_last=False)[0] for one in alone], channels_last=False)
            stored = backbone.pool(backbone(back, boundary))
        _check_close(thing, "a stored state gives what the state did", stored, features, where)
    each = torch.cat([backbone.pool(backbone(encoder.batch([row]))) for row in rows])
    _check_close(thing, "features of a row do not depend on the rows beside it", each, features, "row by row")
    with expect_no_error(thing, "what folded() gives passes a batch"):
        passing = folded(backbone)
        passed = passing.pool(passing(_copied(state)))
    _check_close(thing, "what folded() gives passes to the same", passed, features, "the end")
    return features


def _check_close(thing: str, promise: str, got: torch.Tensor, wanted: torch.Tensor, where: str) -> None:
    expect(got.shape == wanted.shape, thing, promise, f"{list(got.shape)} for {list(wanted.shape)} at {where}")
    difference = float((got - wanted).abs().max()) / max(float(wanted.abs().max()), 1e-6)
    expect(difference <= TOLERANCE, thing, promise, f"a relative difference of {difference:.2g}, {where}")


@torch.no_grad()
def _features(backbone: Backbone, encoder: InputEncoder, rows: Sequence[np.ndarray]) -> torch.Tensor:
    return backbone.pool(backbone(encoder.batch(rows)))


def _check_loading(
    thing: str,
    family: ModelFamily,
    candidate: Candidate,
    encoder: InputEncoder,
    rows: Sequence[np.ndarray],
    features: torch.Tensor,
) -> None:
    """The same weights whenever they are loaded, and new ones where they are asked for."""
    again, dropping = family.load(candidate), family.load(candidate, drop=0.3)
    _check_close(thing, "load() gives the same weights again", _features(again, encoder, rows), features, "features")
    promise = "nothing is dropped in eval mode"
    _check_close(thing, promise, _features(dropping, encoder, rows), features, "features with drop=0.3")

    def new(seed: int) -> Backbone:
        torch.manual_seed(seed)
        with expect_no_error(thing, "load(pretrained=False) gives a backbone with new weights"):
            return family.load(candidate, pretrained=False)

    first, second, other = new(0), new(0), new(1)
    _check_loaded(thing, first)
    ours, theirs = again.state_dict(), first.state_dict()
    same = ours.keys() == theirs.keys() and all(ours[name].shape == theirs[name].shape for name in ours)
    expect(same, thing, "pretrained=False gives the same network", "parameters of other names or shapes")
    expect(not _equal(again, first), thing, "pretrained=False gives other weights", "the pretrained ones")
    expect(_equal(first, second), thing, "new weights are drawn from torch's global generator", "two from one seed")
    expect(not _equal(first, other), thing, "new weights differ from seed to seed", "the same for two seeds")


def _equal(first: Backbone, second: Backbone) -> bool:
    theirs = dict(second.named_parameters())
    return all(torch.equal(value, theirs[name]) for name, value in first.named_parameters())


def _check_saving(
    thing: str, family: ModelFamily, candidate: Candidate, encoder: InputEncoder, rows: Sequence[np.ndarray]
) -> None:
    """What was trained is there after restore(), with every view of the rows."""
    backbone = family.load(candidate)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.01)  # as after a training
    for reader in (encoder, *encoder.views()):
        wanted = _features(backbone, reader, rows)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with expect_no_error(thing, "save() writes, and restore() reads, a backbone and its encoder"):
                family.save(backbone, reader, folder)
                files = sorted(path.name for path in folder.rglob("*") if path.is_file())
                restored, read = family.restore(folder)
            pickles = [file for file in files if Path(file).suffix in _PICKLES]
            expect(not pickles, thing, "save() writes weights as safetensors", ", ".join(pickles))
            _check_loaded(thing, restored)
            expect(read.fingerprint == reader.fingerprint, thing, "restore() gives the encoder back", read.fingerprint)
            _check_close(
                thing, "restore() gives what save() wrote", _features(restored, read, rows), wanted, "features"
            )


def _check_gradients(thing: str, backbone: Backbone, state: State) -> None:
    """Every stage that has parameters can be trained."""
    trained = copy.deepcopy(backbone).train()
    with expect_no_error(thing, "a batch goes forward and back in training mode"):
        trained.pool(trained(state)).square().sum().backward()  # type: ignore[no-untyped-call]
    for number, stage in enumerate(trained.stages):
        reached = [parameter.grad is not None for parameter in stage.parameters()]
        expect(any(reached) or not reached, thing, "gradients reach every stage", f"none in stage {number}")


def _copied(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


def _shape(array: Any) -> str:
    """Such as ``[3, 4] int32``."""
    shape = getattr(array, "shape", None)
    return type(array).__name__ if shape is None else f"{list(shape)} {array.dtype}"
