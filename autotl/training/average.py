"""The running mean of a model's weights, which is what is judged and kept."""

from __future__ import annotations

import torch

from autotl.training.optimizer import laid_out_as

#: Steps between two updates: neighbours are alike, and a pass over all weights is not free.
EVERY = 4

#: The mean reaches back over this part of the steps so far, so that it means the same for short and long trials.
REACH = 1 / 9


class Average:
    """An exponential mean of the trained weights and of batch statistics (Polyak and Juditsky 1992).

    Even after the rate has cooled down it is worth half a point to a point: MobileNetV2-1.0 on 1900 photographs,
    200 s, half frozen, 1300 test rows: 0.766 against 0.762 and 0.775 against 0.765 at twice and once the rate.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        """Follows what is trained when this is made."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        moving = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        # not detached: a network that is laid out anew gives its parameters other memory
        self.followed: list[torch.Tensor] = [*trained, *moving]
        self.mean = [tensor.detach().clone() for tensor in self.followed]
        self.steps = 0

    def follow_layout(self) -> None:
        """Lays out the mean as the model now is, which is faster to go through together."""
        self.mean = [laid_out_as(own, mean) for own, mean in zip(self.followed, self.mean, strict=True)]

    @torch.no_grad()
    def update(self) -> None:
        """Called after every step."""
        self.steps += 1
        if self.steps % EVERY == 0:
            updates = self.steps / EVERY
            share = 1 / (REACH * updates + 1)  # of the newest: all of it at first
            torch._foreach_lerp_(self.mean, self.followed, share)

    @torch.no_grad()
    def swap(self) -> None:
        """Gives the model the mean of its weights, or takes it back again."""
        for tensor, mean in zip(self.followed, self.mean, strict=True):
            own = tensor.detach().clone()
            tensor.copy_(mean)
            mean.copy_(own)
