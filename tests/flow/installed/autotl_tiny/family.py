"""Texts as hashed words, through an embedding and two small blocks; weights follow from a seed in ``tiny.json``."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

import numpy as np

from autotl.plugins.contracts import Candidate, Recipe, Unreadable

BUCKETS, WIDTH = 512, 32


@dataclass(frozen=True)
class WordEncoder:
    longest: int = 16

    @property
    def fingerprint(self):
        return f"words {self.longest}"

    def encode(self, cells):
        return [self._encode(cell) for cell in cells]

    def _encode(self, cell):
        if cell == "UNREADABLE":
            return Unreadable("it says so")
        words = [zlib.crc32(word.encode()) % BUCKETS for word in cell.split()[: self.longest]]
        return np.array(words or [0], np.int32)

    def batch(self, rows, *, augment=0.0, generator=None):
        import torch

        longest = max(len(row) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.int64)
        mask = torch.zeros(len(rows), longest)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.from_numpy(row.astype(np.int64))
            mask[place, : len(row)] = 1
        return {"x": ids, "mask": mask}


def make_backbone(seed):
    import torch

    class TinyBackbone(torch.nn.Module):
        width = WIDTH

        def __init__(self):
            super().__init__()
            block = [torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh()) for _ in range(2)]
            self.stages = torch.nn.ModuleList([torch.nn.Embedding(BUCKETS, WIDTH), *block])

        def forward(self, state, start=0, stop=None):
            x = state["x"]
            for stage in self.stages[start:stop]:
                x = stage(x)
            return {**state, "x": x}

        def pool(self, state):
            mask = state["mask"].unsqueeze(-1)
            return (state["x"] * mask).sum(1) / mask.sum(1)

    torch.manual_seed(seed)
    return TinyBackbone().eval()


class TinyFamily:
    name = "tiny"
    modality = "text"
    augments = False

    def candidates(self, context):
        paths = [path for folder in context.folders for path in sorted(folder.glob("*/tiny.json"))]
        return [
            Candidate(
                name=path.parent.name,
                family="tiny",
                modality="text",
                source="folder",
                location=str(path.parent),
                parameters=BUCKETS * WIDTH + json.loads(path.read_text())["seed"],
                width=WIDTH,
                input_size=16,
                licence="mit",
                prior=0.5,
                recipe=Recipe(learning_rate=1e-2, epochs=4.0),
            )
            for path in paths
        ]

    def encoder(self, candidate, sample):
        return WordEncoder()

    def load(self, candidate, *, drop=0.0):
        from pathlib import Path

        return make_backbone(json.loads((Path(candidate.location) / "tiny.json").read_text())["seed"])

    def save(self, backbone, encoder, folder):
        from safetensors.torch import save_file

        save_file(
            {name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}, folder / "t.safetensors"
        )

    def restore(self, folder):
        from safetensors.torch import load_file

        backbone = make_backbone(0)
        backbone.load_state_dict(load_file(folder / "t.safetensors"))
        return backbone, WordEncoder()
