"""Models on disk, as the worker leaves them there: whole or not at all, and scored from what can be read again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.errors import DiskFullError
from autotl.features.frozen import weights_digest
from autotl.features.layers import Layered
from autotl.files import EqualFiles, is_disk_full, making_room, reach_the_disk
from autotl.training.model import Classifier, load_model, save_model

if TYPE_CHECKING:
    from autotl.features.frozen import FrozenBackbone
    from autotl.features.store import FeatureStore


class ModelFiles:
    """Writes the models of one run."""

    def __init__(self, store: FeatureStore, ask_for_room: Callable[[], None], device: torch.device) -> None:
        """store: makes way first where the disk is full. ask_for_room: has the run make way."""
        self._store, self._ask_for_room, self._device = store, ask_for_room, device
        self._equal = EqualFiles()

    def save(self, model: Classifier, frozen: FrozenBackbone, place: Path) -> None:
        """Writes a model, in the place of one that is there. Raises `DiskFullError`, and leaves that one then."""
        fresh, size = place.with_name(f".{place.name}"), sum(tensor.nbytes for tensor in model.state_dict().values())

        def write() -> None:
            self._store.claim(size)
            shutil.rmtree(fresh, ignore_errors=True)
            save_model(model, frozen.family, frozen.rows.encoder, fresh)
            for file in fresh.rglob("*"):
                if file.is_file():
                    reach_the_disk(file)

        try:
            making_room(write, [self._store.give_way, self._ask_for_room])
        except Exception as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if not is_disk_full(error):
                raise
            raise DiskFullError(f"{place} found no room ({error}): free some space there") from error
        shutil.rmtree(place, ignore_errors=True)
        fresh.rename(place)
        self._equal.share(place)  # what is frozen is the same in every model

    def logits_from_disk(self, model: Classifier, frozen: FrozenBackbone, rows: np.ndarray, place: Path) -> np.ndarray:
        """``[rows, outputs] float32`` of the weights that were saved, for readable rows."""
        self.save(model, frozen, place)
        loaded, _ = load_model(frozen.family, place)
        loaded.to(self._device)
        return self.logits(loaded, frozen, rows)

    def logits(self, model: Classifier, frozen: FrozenBackbone, rows: np.ndarray) -> np.ndarray:
        """``[rows, outputs] float32`` for readable rows, of what is known already where nothing but the head is new.

        The model is laid out for predicting, and of no other use then.
        """
        backbone, seen = model.backbone, frozen.features
        if isinstance(backbone, Layered):
            backbone, seen = backbone.plain, frozen.layers
        if weights_digest(backbone) == frozen.weights:
            return model.linear_head().logits(seen(rows))
        frozen.precision.arrange(model.backbone)
        return model.logits(frozen.rows, rows, frozen.precision, self._device)
