"""AdamW with a rate and a decay for each stage, and word embeddings updated where a batch has words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.adamw import adamw

if TYPE_CHECKING:
    from autotl.training.model import Classifier

#: AdamW's epsilon, as BERT and RoBERTa were trained with: with less, parameters whose gradient is only rounding (the
#: key biases of attention) wander as far as those that learn.
EPSILON = 1e-6

#: Kingma & Ba 2015, and every recipe of the models that are tuned.
BETAS = (0.9, 0.999)

#: The loss in fp16 is scaled by so much at first, and by twice as much after so many steps: as torch's scaler does.
FIRST_SCALE, STEPS_A_DOUBLING = 2.0**16, 2000

#: From so many rows on, an embedding is a vocabulary, of which a batch holds a hundredth: MiniLM's is half of its
#: parameters, and a quarter of a training step went into gradients that are zero.
VOCABULARY = 4096


def is_vocabulary(module: torch.nn.Module) -> bool:
    """Whether its weight holds the vectors of a vocabulary."""
    return isinstance(module, torch.nn.Embedding) and module.num_embeddings >= VOCABULARY


#: What is kept of each parameter: how often it was updated, and the means of its gradients and of their squares.
MOMENTS = frozenset({"steps", "mean", "square"})


class AdamW:
    """Fused AdamW, but rows of a vocabulary that are not in a batch stay as they are.

    Each row has moments and a step count of its own and sees Adam on the steps in which it occurs, as in torch's
    SparseAdam but for the count; words that the training rows never hold keep their published vectors.
    `grad_scale`, when set, divides the gradients, and `found_inf`, when not zero, has no dense weight moved by them:
    both are what torch's fused update reads. The update is torch's; its optimizers would load its compiler, 1.3 s.
    """

    grad_scale: torch.Tensor | None = None
    found_inf: torch.Tensor | None = None

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        """groups: each of ``params``, a list, their ``lr`` and ``weight_decay``, which may change between steps."""
        self.param_groups = groups
        #: `MOMENTS` of each parameter that had a gradient.
        self.state: dict[torch.Tensor, dict[str, torch.Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """One update; gradients of vocabularies are used up by it."""
        for group in self.param_groups:
            dense = []
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._update_rows(parameter, group)
                    parameter.grad = None
                elif parameter.grad is not None:
                    dense.append(parameter)
            if dense:
                self._update(dense, group)

    def zero_grad(self) -> None:
        """Frees all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def follow_layout(self) -> None:
        """Lays out the moments as the weights now are: on an accelerator the fused update refuses any other."""
        for parameter, state in self.state.items():
            for name, value in state.items():
                if value.shape == parameter.shape:
                    state[name] = laid_out_as(parameter, value)

    def _update(self, parameters: list[torch.Tensor], group: dict[str, Any]) -> None:
        states = [self._state(parameter, ()) for parameter in parameters]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["mean"] for state in states],
            [state["square"] for state in states],
            [],
            [state["steps"] for state in states],
            fused=True,
            grad_scale=self.grad_scale,
            found_inf=self.found_inf,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=EPSILON,
            maximize=False,
        )

    def _state(self, parameter: torch.Tensor, counts: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """What is kept of a parameter, its steps counted in this shape."""
        if parameter not in self.state:
            mean, square = torch.zeros_like(parameter), torch.zeros_like(parameter)
            self.state[parameter] = {"mean": mean, "square": square, "steps": mean.new_zeros(counts)}
        return self.state[parameter]

    def _update_rows(self, table: torch.Tensor, group: dict[str, Any]) -> None:
        first, second = BETAS
        state = self._state(table, (len(table), 1))
        sparse = table.grad.coalesce()  # type: ignore[union-attr]
        rows, gradient = sparse.indices()[0], sparse.values()
        if self.grad_scale is not None and self.found_inf is not None:
            gradient = (gradient / self.grad_scale).where(self.found_inf == 0, 0.0)
        steps = state["steps"][rows] + 1
        mean = state["mean"][rows].lerp_(gradient, 1 - first)
        square = state["square"][rows].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        state["steps"][rows], state["mean"][rows], state["square"][rows] = steps, mean, square
        scale = (square / (1 - second**steps)).sqrt_().add_(EPSILON)
        kept = table[rows] * (1 - group["lr"] * group["weight_decay"])
        table[rows] = kept.sub_(mean.div_(1 - first**steps).div_(scale), alpha=group["lr"])


def laid_out_as(other: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in the memory layout of `other`, which has the same shape."""
    if tensor.stride() == other.stride():
        return tensor
    return torch.empty_like(other, requires_grad=False).copy_(tensor)


class LossScale:
    """What losses are multiplied by in fp16, below whose smallest number gradients fall (Micikevicius et al. 2018).

    A step whose gradients overflow is left out and halves it; many in a row that do not double it.
    """

    def __init__(self, device: torch.device) -> None:
        self.value = torch.full((), FIRST_SCALE, device=device)
        self._without_overflow = torch.zeros((), dtype=torch.int32, device=device)

    def heed(self, overflow: torch.Tensor) -> None:
        """overflow: 1.0 where the step's gradients had one, or else 0.0."""
        torch._amp_update_scale_(self.value, self._without_overflow, overflow, 2.0, 0.5, STEPS_A_DOUBLING)


def clip(optimizer: AdamW, largest: float, scale: LossScale | None = None) -> torch.Tensor:
    """Has the update divide the gradients by what their norm exceeds `largest`, in its own pass over them.

    scale: by which they are too large. Returns the norm, a scalar; 0 for a step that an overflow leaves out.
    """
    gradients = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
                gradients.append(parameter.grad.values())
            elif parameter.grad is not None:
                gradients.append(parameter.grad)
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if scale is None:
        optimizer.grad_scale = (norm / largest).clamp(min=1.0)
        optimizer.found_inf = (~norm.isfinite()).float()  # a format that is tried must not touch the weights
        return norm
    norm = norm / scale.value
    overflow = (~norm.isfinite()).float()
    optimizer.grad_scale = (norm / largest).clamp(min=1.0) * scale.value
    optimizer.found_inf = overflow
    scale.heed(overflow)
    return norm.where((overflow == 0) | (scale.value < 1.0), 0.0)  # with a scale as low it is no overflow any more


def parameter_groups(
    model: Classifier,
    frozen_stages: int,
    *,
    learning_rate: float,
    layer_decay: float,
    weight_decay: float,
    trains: Callable[[int, str, torch.nn.Parameter], bool] | None = None,
) -> list[dict[str, Any]]:
    """Layer-wise decay from the head down; no weight decay on biases and norms; frozen stages left out.

    trains: says of each parameter above them, but the head's, whether it is trained; all are by default. Vocabularies
    that are trained are made to have sparse gradients.
    """
    stages = list(model.backbone.stages)
    groups: list[dict[str, Any]] = []
    for depth, stage in enumerate([*stages, model.head]):
        for name, parameter in stage.named_parameters():
            chosen_too = trains is None or stage is model.head or trains(depth, name, parameter)
            parameter.requires_grad_(depth >= frozen_stages and chosen_too)
        for module in stage.modules():
            if isinstance(module, torch.nn.Embedding):
                module.sparse = module.weight.requires_grad and is_vocabulary(module)
        rate = learning_rate * layer_decay ** (len(stages) - depth)
        parameters = [parameter for parameter in stage.parameters() if parameter.requires_grad]
        for chosen, decay in (
            ([parameter for parameter in parameters if parameter.ndim > 1], weight_decay),
            ([parameter for parameter in parameters if parameter.ndim <= 1], 0.0),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": 0.0, "peak": rate, "weight_decay": decay})
    return groups
