"""What regularizers do to a training: one object each, which the loop asks at a few places.

Nothing here imports torch, so that a regularizer's module need not either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

    from autotl.plugins.contracts import State
    from autotl.training.model import Classifier
    from autotl.training.trial import Trial


class Effect:
    """Leaves everything as it is; a regularizer's effect overrides what it changes.

    One object serves one training. Batches pass before the first step too, to be measured, so what it counts or keeps
    changes in `stepped` alone; and nothing of it is in a checkpoint. All that is drawn at random comes from the
    generator that is given, or from torch's global one, which is seeded before every step: so a training goes on from
    its checkpoint as if it had never stopped. What is changed after `begin` are numbers, not how the network computes,
    as accelerators play that from a recording.
    """

    mixes: bool = False  #: whether `batch` mixes rows, and their targets, with each other
    drop: float = 0.0  #: stochastic depth or dropout that the backbone is to be loaded with

    def begin(self, model: Classifier, trial: Trial) -> None:
        """Once, before the first step and before a checkpoint is restored; may change the model's weights.

        What the training will change requires gradients by then, and nothing else does.
        """

    def rows(self, indices: np.ndarray) -> None:
        """Which rows of the table the next batch, or the next piece of one, is made of: ``[batch] int64``."""

    def batch(self, state: State, targets: torch.Tensor, generator: torch.Generator) -> tuple[State, torch.Tensor]:
        """The input of the first trained stage, and what to learn from it, ``[batch, outputs] float32``."""
        return state, targets

    def logits(self, logits: torch.Tensor) -> torch.Tensor:
        """What the loss sees of the model's answer, ``[batch, outputs] float32``."""
        return logits

    def loss(self, logits: torch.Tensor, again: Callable[[], torch.Tensor]) -> torch.Tensor | None:
        """What is added to the mean loss of a batch, a scalar; `again` passes the batch through the model once more."""
        return None

    def stepped(self, step: int, progress: float) -> None:
        """After every update, `step` counted from 0; progress: of the training in it, as a share of the whole."""
