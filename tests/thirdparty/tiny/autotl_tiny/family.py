"""Candidates, encoder, and how weights are kept. Imports torch late, as a family must."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from autotl.plugins.contracts import Candidate, Recipe
from autotl_tiny import preprocess
from autotl_tiny.preprocess import BUCKETS, LONGEST, Inputs

WIDTH = 32


@dataclass(frozen=True)
class TinyEncoder:
    """Words to buckets by their checksum; bucket 0 is padding."""

    fingerprint: str = "tiny-crc32-512"
    longest: int = LONGEST

    def encode(self, cells):
        return Inputs(None).encode(cells)

    def batch(self, rows, *, augment=0.0, generator=None):
        import torch

        return {name: torch.from_numpy(array) for name, array in Inputs(None).batch(rows).items()}

    def write_portable(self, folder):
        code = Path(preprocess.__file__).read_text(encoding="utf-8")
        (folder / "preprocess.py").write_text(code, encoding="utf-8")
        return ["numpy"]

    def views(self):
        return []


class TinyFamily:
    name = "tiny"
    modality = "text"
    augments = False

    def candidates(self, context):
        folders = [inner for given in context.folders for inner in (given, *sorted(given.glob("*/")))]
        return [
            Candidate(
                name=folder.name,
                family=self.name,
                modality="text",
                source="folder",
                location=str(folder),
                parameters=BUCKETS * WIDTH + 4 * WIDTH * WIDTH,
                width=WIDTH,
                input_size=LONGEST,
                licence="none",
                prior=0.5,
                recipe=Recipe(learning_rate=3e-3, weight_decay=0.01, batch_size=16, epochs=2.0),
            )
            for folder in folders
            if (folder / "tiny.json").is_file()
        ]

    def encoder(self, candidate, sample):
        return TinyEncoder()

    def load(self, candidate, *, drop=0.0, pretrained=True):
        import torch

        from autotl_tiny.network import TinyBackbone

        facts = json.loads((Path(candidate.location) / "tiny.json").read_text(encoding="utf-8"))
        seed = facts["seed"] if pretrained else int(torch.randint(2**31, ()))
        return TinyBackbone(BUCKETS, WIDTH, seed=seed, drop=drop).eval()

    def save(self, backbone, encoder, folder):
        from safetensors.torch import save_file

        save_file({name: tensor.contiguous() for name, tensor in backbone.state_dict().items()}, folder / "tiny.st")

    def restore(self, folder):
        from safetensors.torch import load_file

        from autotl_tiny.network import TinyBackbone

        backbone = TinyBackbone(BUCKETS, WIDTH, seed=0, drop=0.0)
        backbone.load_state_dict(load_file(folder / "tiny.st"))
        return backbone.eval(), TinyEncoder()
