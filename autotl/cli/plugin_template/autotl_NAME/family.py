"""What the family has, how it reads texts, and how its backbones are kept."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autotl.plugins.contracts import Candidate, InputEncoder, ModelFamily, Recipe, Unreadable, ZooContext

if TYPE_CHECKING:
    import torch

    from autotl.plugins.contracts import Backbone, State

BUCKETS, WIDTH, LONGEST = 4096, 64, 128

#: What follows from it are the weights that this family calls pretrained. Yours come from a file.
SEED = 1


@dataclass(frozen=True)
class Encoder:
    """Words to buckets by their checksum; bucket 0 is padding."""

    fingerprint: str = "NAME-words-1"  #: change it whenever `encode` gives other arrays
    longest: int = LONGEST

    def encode(self, cells: Sequence[str]) -> list[np.ndarray | Unreadable]:
        words = [cell.lower().split()[:LONGEST] or [""] for cell in cells]
        return [np.array([1 + zlib.crc32(word.encode()) % (BUCKETS - 1) for word in row], np.int32) for row in words]

    def batch(
        self, rows: Sequence[np.ndarray], *, augment: float = 0.0, generator: torch.Generator | None = None
    ) -> State:
        import torch

        tokens = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for place, row in zip(tokens, rows, strict=True):
            place[: len(row)] = row
        return {"x": torch.from_numpy(tokens), "mask": torch.from_numpy((tokens > 0).astype(np.float32))}

    def views(self) -> Sequence[InputEncoder]:
        return []


class Family(ModelFamily):
    name = "NAME"
    modality = "text"
    augments = False

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        return [
            Candidate(
                name="random-64",
                family=self.name,
                modality=self.modality,
                source="package",
                location=f"seed {SEED}",
                parameters=BUCKETS * WIDTH + 2 * (WIDTH * WIDTH + 3 * WIDTH),
                width=WIDTH,
                input_size=LONGEST,
                licence="none",
                prior=0.1,
                recipe=Recipe(learning_rate=3e-3, batch_size=32, epochs=10.0),
            )
        ]

    def encoder(self, candidate: Candidate, sample: Sequence[str]) -> InputEncoder:
        return Encoder()

    def load(self, candidate: Candidate, *, drop: float = 0.0, pretrained: bool = True) -> Backbone:
        import torch

        from .network import Network

        with torch.random.fork_rng(devices=[], enabled=pretrained):
            if pretrained:
                torch.manual_seed(SEED)
            return Network(BUCKETS, WIDTH, drop).eval()  # type: ignore[return-value]  # it has the members

    def save(self, backbone: Backbone, encoder: InputEncoder, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file(backbone.state_dict(), folder / "weights.safetensors")

    def restore(self, folder: Path) -> tuple[Backbone, InputEncoder]:
        from safetensors.torch import load_file

        from .network import Network

        network = Network(BUCKETS, WIDTH, drop=0.0)
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        return network.eval(), Encoder()  # type: ignore[return-value]
