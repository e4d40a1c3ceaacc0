"""A pretrained backbone that does not change, and what it has seen: every row passes through it once."""

from __future__ import annotations

import copy
import hashlib
import math
import pickle
import statistics
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.errors import DivergedError
from autotl.failures import is_out_of_memory
from autotl.features.batches import IMAGES_A_BATCH, cost_of_padding, inference_batches
from autotl.features.device import best_device
from autotl.features.layers import Layered, folded, upper_layers
from autotl.features.memory import free_cache, halving_on_out_of_memory
from autotl.features.precision import Precision, in_whole_fp32, options_for
from autotl.features.rows import EncodedRows
from autotl.features.speed import Speed, SpeedBook
from autotl.features.store import Collection, FeatureStore
from autotl.plugins.contracts import TEXTUAL, Candidate, InputEncoder, ModelFamily, State, ViewingEncoder

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone

#: Images that are passed without a look at what else is decoded: an accelerator goes on while the next are gathered.
IMAGES_AT_ONCE = 4 * IMAGES_A_BATCH if best_device().type == "cuda" else 1

#: Rows that tell whether a speed of an earlier search is far too slow for these.
DOUBTED_ROWS = 8

#: A pass of a race need not be longer: a format that is faster on fewer rows is taken to be so on more (judgement). A
#: race on 32 texts of 256 tokens took some eight of the first sixty seconds on two cores (reckoned from its passes).
RACE_SECONDS, FEWEST_RACED = 0.3, 8

#: Texts that precisions are raced on: the batch of a usual training step, or as many as an accelerator notices.
TEXTS_A_RACE = 512 if best_device().type == "cuda" else 32

#: Single rows that are timed for a latency: the median of seven forgets the first, which is slow.
TIMED = 7


def pooled(
    backbone: Backbone | Layered,
    rows: EncodedRows,
    indices: np.ndarray,
    precision: Precision,
    device: torch.device,
    *,
    augment: float = 0.0,
    generator: torch.Generator | None = None,
) -> np.ndarray:
    """Features of readable rows: ``[rows, width] float32``, in the order of `indices`.

    augment, generator: as `EncodedRows.batch` takes them.
    """
    features = np.empty((len(indices), backbone.width), np.float32)
    backbone.eval()

    def run(positions: np.ndarray) -> None:
        batch = rows.batch(indices[positions], device, augment=augment, generator=generator)
        state = precision.place(batch, device)
        features[positions] = backbone.pool(backbone(state)).float().cpu().numpy()

    with torch.no_grad(), precision.autocast(device):
        for positions in inference_batches(_token_counts(rows, indices), len(indices), cost_of_padding(backbone)):
            halving_on_out_of_memory(run, positions)
    return features


def weights_digest(network: torch.nn.Module) -> str:
    """Of the architecture as torch prints it, and of every parameter and buffer."""
    digest = hashlib.sha256(repr(network).encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _joined(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Chunks of `IMAGES_AT_ONCE` rows at least, but for the last."""
    waiting: list[np.ndarray] = []
    for chunk in chunks:
        waiting.append(chunk)
        if sum(map(len, waiting)) >= IMAGES_AT_ONCE:
            yield np.concatenate(waiting)
            waiting.clear()
    if waiting:
        yield np.concatenate(waiting)


def _token_counts(rows: EncodedRows, indices: np.ndarray) -> np.ndarray | None:
    return rows.lengths(indices) if rows.modality in TEXTUAL else None


class FrozenBackbone:
    """One candidate, loaded as published, with what it saw of the rows kept in the store."""

    def __init__(
        self,
        candidate: Candidate,
        family: ModelFamily,
        rows: EncodedRows,
        *,
        device: torch.device,
        speeds: SpeedBook,
        store: FeatureStore,
        made_by: str = "",
        found_by: str = "",
    ) -> None:
        """made_by: packages, with versions, that the family computes with; another may compute something else.

        found_by: the search that alone finds what is computed here; by default any does. A row's last bits depend on
        the rows that it passed with, so a search that is to be repeated exactly must not find what others computed.
        """
        self.candidate = candidate
        self.family = family
        self.rows = rows
        self.device = device
        self.speeds = speeds
        self.store = store
        published = family.load(candidate)
        # what rows pass through to features; folded here, where no TF32 makes it look different
        self._passing = folded(published).to(device)
        self.backbone = published.to(device)  #: as published
        self.layered = Layered(self.backbone, self.last, width=self.backbone.width)  #: for heads, after `calibrate`
        self._upper = Layered(self._passing, self.last, width=self.backbone.width)
        self.precision = Precision()
        self.seconds_a_row = 0.0
        self.exact_seconds_a_row = 0.0  #: in fp32, as predictions run
        self.parts: dict[str, int] = {}  #: into how many pieces a batch is cut so that the largest fits, by speed key
        self.found_by = found_by
        self._made_by = made_by

    @property
    def last(self) -> int:
        """The boundary after the last stage."""
        return len(self.backbone.stages)

    @property
    def race_size(self) -> int:
        """Rows that `calibrate` should have."""
        return TEXTS_A_RACE if self.rows.modality in TEXTUAL else IMAGES_A_BATCH

    def calibrate(self, indices: np.ndarray) -> None:
        """Settles the precision and which layers heads see, and measures a row's seconds, on one batch of rows."""
        key = self.speed_key("forward")
        self._go_by(self.speeds.known(key) or self._race_in_memory(key, indices))
        if self.speeds.is_stale(key):
            self._doubt(key, indices[:DOUBTED_ROWS])
        for network in (self.backbone, self._passing):
            self.precision.arrange(network)
        state = self.precision.place(self.rows.batch(indices[:1], self.device), self.device)
        with self.precision.autocast(self.device):
            self._upper = upper_layers(self._passing, state)
        self.layered = Layered(self.backbone, self._upper.lowest, width=self._upper.width)

    def _go_by(self, speed: Speed | None) -> None:
        if speed:  # not where nothing was raced
            self.precision, self.seconds_a_row, self.exact_seconds_a_row = (
                speed.precision, speed.seconds_a_row, speed.exact
            )  # fmt: skip

    def _doubt(self, key: str, indices: np.ndarray) -> None:
        """Passes a few rows where an earlier search had measured the speed: what it says may be far too slow.

        Of longer texts, or of a busy machine. Too fast is seen as soon as rows pass in earnest.
        """
        if not len(indices):
            return
        self.precision.arrange(self._passing)
        began = time.perf_counter()
        with torch.no_grad(), self.precision.autocast(self.device):
            state = self.precision.place(self.rows.batch(indices, self.device), self.device)
            self._passing.pool(self._passing(state)).cpu()
        seconds = (time.perf_counter() - began) / len(indices)
        if seconds < self.seconds_a_row:
            self.speeds.learn(key, seconds)
            self._go_by(self.speeds.known(key))

    def _race_in_memory(self, key: str, indices: np.ndarray) -> Speed:
        """On as many of these rows as find room, halved until they do."""
        while True:
            try:
                return self._race(key, indices)
            except Exception as error:
                if len(indices) < 2 or not is_out_of_memory(error):
                    raise
            # outside of the handler, which would keep the failed pass alive
            indices = indices[: len(indices) // 2]
            free_cache()

    def _race(self, key: str, indices: np.ndarray) -> Speed:
        state = self.rows.batch(indices[:FEWEST_RACED], self.device)

        def step(precision: Precision) -> float:
            precision.arrange(self._passing)
            began = time.perf_counter()
            with torch.no_grad(), precision.autocast(self.device):
                features = self._passing.pool(self._passing(precision.place(state, self.device))).float().cpu()
            seconds = time.perf_counter() - began
            return seconds if precision.exact or bool(features.isfinite().all()) else math.inf

        options = options_for(state, self.device)
        if self.device.type == "cpu" and len(indices) > FEWEST_RACED:
            step(options[0])  # warms up
            indices = indices[: max(FEWEST_RACED, int(FEWEST_RACED * RACE_SECONDS / step(options[0])))]
        state = self.rows.batch(indices, self.device)
        return self.speeds.race(key, options, step, rows=len(indices))

    def speed_key(self, what: str) -> str:
        """Under which the speed book knows a pass of such a network over such inputs, whatever its weights."""
        return f"{what} {self._architecture} {self.rows.encoder.fingerprint}"

    @cached_property
    def _architecture(self) -> str:
        """Of the network as torch prints it, after the name of the family, for whoever reads the book."""
        return f"{self.family.name} {hashlib.sha256(repr(self.backbone).encode()).hexdigest()[:12]}"

    def see(self, indices: np.ndarray) -> np.ndarray:
        """The readable rows among `indices`; afterwards their features are known.

        Images pass as they are decoded. Texts are all encoded first, which is quick, so that like lengths find each
        other.
        """
        if self.rows.modality in TEXTUAL:
            chunks: Iterator[np.ndarray] = iter([self.rows.readable(indices)])
        else:
            chunks = _joined(self.rows.stream(indices, ahead=self.device.type != "cpu"))
        seen = [np.empty(0, np.int64)]
        for chunk in chunks:
            self._compute(chunk)
            seen.append(chunk)
        return np.concatenate(seen)

    def latency(self, cell: object) -> float:
        """Seconds from one readable cell to its features, as a prediction takes it: in fp32, by itself."""
        seconds = []
        with torch.no_grad(), in_whole_fp32(self.device):
            for _ in range(TIMED):
                began = time.perf_counter()
                rows = [row for row in self.rows.encoder.encode([cell]) if isinstance(row, np.ndarray)]
                state = {name: tensor.to(self.device) for name, tensor in self.rows.encoder.batch(rows).items()}
                self._passing.pool(self._passing(state)).cpu()
                seconds.append(time.perf_counter() - began)
        return statistics.median(seconds)

    def seen_by(self, encoder: InputEncoder) -> FrozenBackbone:
        """The same backbone before the same arrays, batched by another encoder with the same fingerprint."""
        other = copy.copy(self)
        other.rows = self.rows.seen_by(encoder)
        for known in ("_preprocessing", "_augmenting"):
            other.__dict__.pop(known, None)
        return other

    def features(self, indices: np.ndarray) -> np.ndarray:
        """``[rows, width] float32`` for readable rows, computing what is missing."""
        width = self.backbone.width
        computed = [row[-width:] for row in self._compute(indices)]  # all layers are several times as much
        return np.stack(computed) if computed else np.empty((0, width), np.float32)

    def layers(self, indices: np.ndarray) -> np.ndarray:
        """``[rows, width of layered] float32`` for readable rows: their features come last."""
        computed = self._compute(indices)
        return np.stack(computed) if computed else np.empty((0, self.layered.width), np.float32)

    def knows(self, indices: np.ndarray) -> bool:
        """Whether what heads see of these rows is in the store."""
        kept = self.collection("features", f"{self.layered.lowest} to {self.last}")
        return all(digest in kept for digest in self.rows.digests(self.rows.readable(indices)))

    def _compute(self, indices: np.ndarray) -> list[np.ndarray]:
        """The layers of each row, from the store or by a pass."""
        kept = self.collection("features", f"{self.layered.lowest} to {self.last}")
        digests = self.rows.digests(indices)
        found = [kept.get(digest) for digest in digests]
        layers = [None if row is None else row["x"] for row in found]
        missing = np.array([place for place, row in enumerate(found) if row is None], dtype=np.int64)

        in_flight: deque[tuple[np.ndarray, torch.Tensor]] = deque()  # through an accelerator, beside what happens here

        def run(positions: np.ndarray) -> None:
            places = missing[positions]
            state = self.precision.place(self.rows.batch(indices[places], self.device), self.device)
            in_flight.append((places, self._upper.pool(self._upper(state)).float()))
            while len(in_flight) > (self.device.type != "cpu"):
                keep(*in_flight.popleft())

        def keep(places: np.ndarray, passed: torch.Tensor) -> None:
            batch = passed.cpu().numpy()
            wrong = ~np.isfinite(batch).all(1)
            if wrong.any() and not self.precision.exact:  # beyond what 16 bits hold, and perhaps not beyond 32
                batch[wrong] = self._pass_exactly(indices[places[wrong]])
                wrong = ~np.isfinite(batch).all(1)
            if wrong.any():
                raise DivergedError(f"its features of {int(wrong.sum())} rows among {len(batch)} are not finite")
            for place, row in zip(places.tolist(), batch, strict=True):
                layers[place] = row
            kept.add([digests[place] for place in places], [{"x": row} for row in batch])

        began = time.perf_counter()
        with torch.no_grad(), self.precision.autocast(self.device):
            lengths = _token_counts(self.rows, indices[missing])
            for positions in inference_batches(lengths, len(missing), cost_of_padding(self._passing)):
                halving_on_out_of_memory(run, positions)
            while in_flight:
                keep(*in_flight.popleft())
        if len(missing) >= IMAGES_A_BATCH:  # says more than one batch in the race did, where short texts were padded
            self.speeds.learn(self.speed_key("forward"), (time.perf_counter() - began) / len(missing))
            self._go_by(self.speeds.known(self.speed_key("forward")))
        return [row for row in layers if row is not None]

    def _pass_exactly(self, indices: np.ndarray) -> np.ndarray:
        """The layers of readable rows, in fp32."""
        precision = replace(self.precision, format="fp32")
        with torch.no_grad(), precision.autocast(self.device):
            state = precision.place(self.rows.batch(indices, self.device), self.device)
            passed: np.ndarray = self._upper.pool(self._upper(state)).float().cpu().numpy()
        return passed

    def prefix(self, state: State, boundary: int) -> State:
        """The state after the first `boundary` stages, without gradients; `state` is the input of stage 0.

        Of the backbone as published, so that what is trained behind it has seen what its own stages give.
        """
        with torch.no_grad(), self.precision.autocast(self.device):
            reached: State = self.backbone(self.precision.place(state, self.device), 0, boundary)
        return reached

    def collection(self, kind: str, boundary: int | str, view: str = "exact") -> Collection:
        """Where the store keeps what this backbone gives at a boundary, or several, for one view of each row."""
        return self.store.collection(
            kind=kind,
            backbone=self.candidate.key,
            weights=self.weights,
            preprocessing=self._preprocessing if view == "exact" else self._augmenting,
            made_by=self._made_by,
            found_by=self.found_by,
            precision=str(self.precision),
            boundary=boundary,
            view=view,
        )

    @cached_property
    def weights(self) -> str:
        """The digest of the published weights."""
        return weights_digest(self.backbone)

    @cached_property
    def _preprocessing(self) -> str:
        """Of all that decides how cells become arrays, and arrays batches that are not augmented."""
        encoder = self.rows.encoder
        plain = encoder.without_views() if isinstance(encoder, ViewingEncoder) else encoder
        return hashlib.sha256(pickle.dumps(plain, protocol=5)).hexdigest()

    @cached_property
    def _augmenting(self) -> str:
        """Of all that the encoder knows."""
        return hashlib.sha256(pickle.dumps(self.rows.encoder, protocol=5)).hexdigest()
