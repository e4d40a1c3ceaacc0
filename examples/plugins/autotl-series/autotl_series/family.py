"""One candidate, whose weights follow from a seed, and an encoder that reads numbers."""

from dataclasses import dataclass

import numpy as np

from autotl.errors import ZooError
from autotl.plugins.contracts import Candidate, ModelFamily, Recipe, Unreadable

LONGEST, KERNELS, SEED = 1024, 256, 1


@dataclass(frozen=True)
class SeriesEncoder:
    """Numbers as the contract wants texts, ``[tokens] int32``: the bits of each as float32."""

    fingerprint: str = "series-float32-1"
    longest: int = LONGEST

    def encode(self, cells):
        return [self._numbers(cell) for cell in cells]

    def _numbers(self, cell):
        try:
            values = np.array(cell.split()[:LONGEST], np.float32)
        except ValueError:
            return Unreadable("not a series of numbers")
        return values.view(np.int32) if len(values) and np.isfinite(values).all() else Unreadable("no finite numbers")

    def batch(self, rows, *, augment=0.0, generator=None):
        import torch

        x, mask = np.zeros((2, len(rows), max(map(len, rows))), np.float32)
        for place, row in enumerate(rows):
            values = row.view(np.float32)
            x[place, : len(row)] = (values - values.mean()) / (values.std() + 1e-6)
            mask[place, : len(row)] = 1.0
        return {"x": torch.from_numpy(x[..., None]), "mask": torch.from_numpy(mask)}

    def views(self):
        return []


class SeriesFamily(ModelFamily):
    name, modality, augments = "series", "text", False

    def candidates(self, context):
        size = {"parameters": 10 * KERNELS, "width": 2 * KERNELS, "input_size": LONGEST}
        usual = {"licence": "none", "prior": 0.1, "recipe": Recipe(learning_rate=1e-3)}
        return [Candidate("random", self.name, "text", source="package", location=f"seed {SEED}", **size, **usual)]

    def encoder(self, candidate, sample):
        if 2 * sum(isinstance(row, Unreadable) for row in SeriesEncoder().encode(sample)) > len(sample):
            raise ZooError("these texts are not series of numbers")
        return SeriesEncoder()

    def load(self, candidate, *, drop=0.0, pretrained=True):
        import torch

        from autotl_series.network import Convolutions

        with torch.random.fork_rng(devices=[], enabled=pretrained):
            if pretrained:
                torch.manual_seed(SEED)
            return Convolutions(KERNELS).eval()  # without anything to drop

    def save(self, backbone, encoder, folder):
        from safetensors.torch import save_file

        save_file(backbone.state_dict(), folder / "weights.safetensors")

    def restore(self, folder):
        from safetensors.torch import load_file

        backbone = self.load(None)
        backbone.load_state_dict(load_file(folder / "weights.safetensors"))
        return backbone, SeriesEncoder()
