"""Two families of backbones so small that a training takes a second: what strategies and regularizers are tried on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autotl.plugins.contracts import Candidate, InputEncoder, Modality, ModelFamily, Recipe, Unreadable, ZooContext

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone, State

BUCKETS, WIDTH, LONGEST, SIDE = 256, 24, 32, 16

#: Seed of the weights that are called pretrained.
_SEED = 7

_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class WordEncoder:
    """Words to buckets by their checksum; bucket 0 is padding."""

    fingerprint: str = "kit-words-1"
    longest: int = LONGEST

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        words = [cell.split()[:LONGEST] or [""] for cell in cells]
        return [np.array([1 + zlib.crc32(word.encode()) % (BUCKETS - 1) for word in row], np.int32) for row in words]

    def batch(
        self, rows: Sequence[np.ndarray], *, augment: float = 0.0, generator: torch.Generator | None = None
    ) -> State:
        tokens = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for place, row in zip(tokens, rows, strict=True):
            place[: len(row)] = row
        return {"x": torch.from_numpy(tokens), "mask": torch.from_numpy((tokens > 0).astype(np.float32))}

    def views(self) -> Sequence[InputEncoder]:
        return []


@dataclass(frozen=True)
class PictureEncoder:
    """Draws the picture that a cell such as ``2/17`` stands for: number 17 of those of class 2, by nature reddish."""

    fingerprint: str = "kit-pictures-1"
    longest: None = None

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        return [self._draw(str(cell)) for cell in cells]

    def _draw(self, cell: str) -> np.ndarray | Unreadable:
        kind, slash, number = cell.partition("/")
        if not (slash and kind.isdigit() and number.isdigit()):
            return Unreadable("no picture of the kit")
        picture = np.random.default_rng(int(number)).normal(120, 40, (SIDE, SIDE, 3))
        picture[..., int(kind) % 3] += 40
        return picture.clip(0, 255).astype(np.uint8)

    def batch(
        self, rows: Sequence[np.ndarray], *, augment: float = 0.0, generator: torch.Generator | None = None
    ) -> State:
        x = torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float().div(128).sub(1)
        if augment:
            x = x + augment * 0.3 * torch.randn(len(rows), 3, 1, 1, generator=generator)
        return {"x": x}

    def views(self) -> Sequence[InputEncoder]:
        return []


class _Words(torch.nn.Module):
    """``[batch, length] int64`` to ``[batch, length, width]``."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(BUCKETS, WIDTH)

    def forward(self, state: State) -> State:
        return state | {"x": self.table(state["x"])}


class _WordBlock(torch.nn.Module):
    def __init__(self, drop: float) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.up, self.down = torch.nn.Linear(WIDTH, 2 * WIDTH), torch.nn.Linear(2 * WIDTH, WIDTH)
        self.drop = torch.nn.Dropout(drop)

    def forward(self, state: State) -> State:
        inside = self.down(torch.nn.functional.gelu(self.up(self.norm(state["x"]))))
        return state | {"x": state["x"] + self.drop(inside)}


class _Stem(torch.nn.Module):
    """``[batch, 3, side, side]`` to ``[batch, width, side / 4, side / 4]``."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(3, WIDTH, 4, 4)

    def forward(self, state: State) -> State:
        return state | {"x": self.patches(state["x"])}


class _PictureBlock(torch.nn.Module):
    """With batch statistics, so that it shows when these move where they should not."""

    def __init__(self, drop: float) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(WIDTH)
        self.mix = torch.nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.drop = torch.nn.Dropout(drop)

    def forward(self, state: State) -> State:
        return state | {"x": state["x"] + self.drop(torch.nn.functional.gelu(self.mix(self.norm(state["x"]))))}


class TinyBackbone(torch.nn.Module):
    """A first stage and two residual blocks; the features are the mean over words, or over the plane."""

    width = WIDTH

    def __init__(self, modality: Modality, drop: float) -> None:
        super().__init__()
        first, block = (_Words(), _WordBlock) if modality == "text" else (_Stem(), _PictureBlock)
        self.stages = torch.nn.ModuleList([first, block(drop), block(drop)])

    def forward(self, state: State, start: int = 0, stop: int | None = None) -> State:
        for stage in list(self.stages)[start:stop]:
            state = stage(state)
        return state

    def pool(self, state: State) -> torch.Tensor:
        if "mask" not in state:
            return state["x"].mean((2, 3))
        mask = state["mask"].unsqueeze(-1)
        return (state["x"] * mask).sum(1) / mask.sum(1).clamp(min=1.0)


class TinyFamily(ModelFamily):
    """One candidate of one modality, whose weights follow from a seed; only images are augmented."""

    def __init__(self, modality: Modality) -> None:
        self.name = f"kit-{modality}s"
        self.modality = modality
        self.augments = modality == "image"

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        return [
            Candidate(
                name="tiny",
                family=self.name,
                modality=self.modality,
                source="package",
                location="",
                parameters=sum(parameter.numel() for parameter in TinyBackbone(self.modality, 0.0).parameters()),
                width=WIDTH,
                input_size=LONGEST if self.modality == "text" else SIDE,
                licence="none",
                prior=0.1,
                recipe=Recipe(learning_rate=3e-3, weight_decay=0.01, batch_size=8, epochs=2.0),
            )
        ]

    def encoder(self, candidate: Candidate, sample: Sequence[Any]) -> InputEncoder:
        return WordEncoder() if self.modality == "text" else PictureEncoder()

    def load(self, candidate: Candidate, *, drop: float = 0.0, pretrained: bool = True) -> Backbone:
        with torch.random.fork_rng(devices=[], enabled=pretrained):
            if pretrained:
                torch.manual_seed(_SEED)
            return TinyBackbone(self.modality, drop).eval()  # type: ignore[return-value]  # it has the members

    def save(self, backbone: Backbone, encoder: InputEncoder, folder: Path) -> None:
        save_file({name: value.contiguous() for name, value in backbone.state_dict().items()}, folder / _WEIGHTS)

    def restore(self, folder: Path) -> tuple[Backbone, InputEncoder]:
        backbone = TinyBackbone(self.modality, 0.0)
        backbone.load_state_dict(load_file(folder / _WEIGHTS))
        encoder: InputEncoder = WordEncoder() if self.modality == "text" else PictureEncoder()
        return backbone.eval(), encoder  # type: ignore[return-value]
