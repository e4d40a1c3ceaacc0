"""The training loop: one optimizer, one schedule, a frozen prefix, a deadline looked at before every step.

It never stops early by itself: judging is the search's business, and `train` yields wherever that is possible.
A trial that runs slower than planned moves along its schedule by time instead of steps, so that the rate has
cooled down when the time is over; without a time limit only steps count and a seed gives the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from autotl.errors import TrialError
from autotl.features.precision import Precision, options_for
from autotl.plugins.contracts import Progress
from autotl.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from autotl.training.model import Classifier
    from autotl.training.trial import Trial

#: Where a trial can be judged, in permille of its own length: thirds of thirds, as successive halving with a
#: factor of three wants them, and one more so that a long trial leaves its model on disk on the way.
RUNGS = (111, 333, 667, 1000)

#: Rows are shuffled, then sorted by length within this many batches: little padding, and still random batches.
BATCHES_SORTED_TOGETHER = 32

#: The norm to which gradients are clipped: the common value of BERT's and timm's fine-tuning recipes.
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class Plan:
    """What `train` is to do; learning rates are peak values, `epochs` passes over the training rows."""

    epochs: float
    batch_size: int
    learning_rate: float
    layer_decay: float
    weight_decay: float
    schedule: str
    frozen_stages: int
    label_smoothing: float
    augment: float


def train(model: Classifier, trial: Trial, plan: Plan) -> Iterator[Progress]:
    """Trains `model` in place, yielding at each of `RUNGS`. Raises `TrialError` when the loss is not finite.

    Dropout and stochastic depth draw from torch's global generator, which is seeded here.
    """
    generator = torch.Generator().manual_seed(trial.seed)
    groups = _parameter_groups(model, plan)
    optimizer = torch.optim.AdamW(groups, fused=True)
    precision = _race(model, trial, plan)
    torch.manual_seed(trial.seed)  # after the race, which draws from it too, and only where it is run
    precision.arrange(model.backbone)
    steps = max(round(plan.epochs * len(trial.train) / plan.batch_size), len(RUNGS))
    schedule = SCHEDULES[plan.schedule]
    batches = _batches(trial, plan.batch_size, generator)
    rungs = iter(RUNGS)
    rung, step = next(rungs), 0
    losses: list[torch.Tensor] = []
    while True:
        progress = trial.clock.elapsed / trial.clock.seconds
        if not trial.fill_time:
            progress = max(progress, step / steps)
        if 1000 * progress >= rung:
            mean = float(torch.stack(losses).mean()) if losses else float("nan")
            if losses and not np.isfinite(mean):
                raise TrialError(f"the loss is not finite after {step} steps")
            yield Progress(rung, {"loss": mean, "steps": step})
            if rung == RUNGS[-1]:
                return
            losses.clear()
            rung = next(rungs)
            continue
        _train_mode(model, plan.frozen_stages)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * schedule(min(progress, 1.0))
        batch = next(batches)
        state = trial.frozen.rows.encoder.batch(
            trial.frozen.rows.gather(batch), augment=plan.augment, generator=generator
        )
        losses.append(_step(model, optimizer, precision.place(state, trial.device), trial, batch, precision, plan))
        step += 1


def _step(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    state: dict[str, torch.Tensor],
    trial: Trial,
    batch: np.ndarray,
    precision: Precision,
    plan: Plan,
) -> torch.Tensor:
    targets = torch.from_numpy(trial.labels[batch]).to(trial.device)
    with precision.autocast(trial.device):
        with torch.no_grad():
            state = model.backbone(state, 0, plan.frozen_stages)
        logits = model(state, plan.frozen_stages)
    loss = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=plan.label_smoothing)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(
        (parameter for group in optimizer.param_groups for parameter in group["params"]), LARGEST_GRADIENT
    )
    optimizer.step()
    return loss.detach()


def _parameter_groups(model: Classifier, plan: Plan) -> list[dict[str, object]]:
    """Layer-wise decay from the head down; no weight decay on biases and norms; frozen stages left out."""
    stages = list(model.backbone.stages)
    groups: list[dict[str, object]] = []
    for depth, module in enumerate([*stages, model.head]):
        module.requires_grad_(depth >= plan.frozen_stages)
        if depth < plan.frozen_stages:
            continue
        rate = plan.learning_rate * plan.layer_decay ** (len(stages) - depth)
        parameters = list(module.parameters())
        for chosen, decay in (
            ([parameter for parameter in parameters if parameter.ndim > 1], plan.weight_decay),
            ([parameter for parameter in parameters if parameter.ndim <= 1], 0.0),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": 0.0, "peak": rate, "weight_decay": decay})
    return groups


def _train_mode(model: Classifier, frozen_stages: int) -> None:
    """Training mode above the frozen stages; below, dropout and batch statistics stay as in prediction."""
    model.train()
    for stage in model.backbone.stages[:frozen_stages]:
        stage.eval()


def _batches(trial: Trial, size: int, generator: torch.Generator) -> Iterator[np.ndarray]:
    """Row indices, batch after batch without end; what fills no batch waits for the next shuffle."""
    lengths = np.array([trial.frozen.rows[int(index)].shape[0] for index in trial.train])
    uneven = bool((lengths != lengths[0]).any())
    size = min(size, len(trial.train))
    while True:
        order = torch.randperm(len(trial.train), generator=generator).numpy()
        if uneven:
            pools = [
                order[start : start + size * BATCHES_SORTED_TOGETHER]
                for start in range(0, len(order), size * BATCHES_SORTED_TOGETHER)
            ]
            order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
        starts = torch.arange(0, len(order) - size + 1, size)
        for start in starts[torch.randperm(len(starts), generator=generator)].tolist():
            yield trial.train[order[start : start + size]]


def _race(model: Classifier, trial: Trial, plan: Plan) -> Precision:
    """Two steps forward and back in each precision, without touching the weights."""
    batch = trial.train[: plan.batch_size]
    state = trial.frozen.rows.encoder.batch(trial.frozen.rows.gather(batch))
    targets = torch.from_numpy(trial.labels[batch]).to(trial.device)
    _train_mode(model, plan.frozen_stages)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def step(precision: Precision) -> None:
        precision.arrange(model.backbone)
        with precision.autocast(trial.device):
            logits = model(precision.place(state, trial.device))
        torch.nn.functional.cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]

    frozen = trial.frozen
    key = f"train {frozen.candidate.key} {frozen.rows.encoder.fingerprint} from stage {plan.frozen_stages}"
    precision = frozen.precisions.choose(key, options_for(state), step)
    model.zero_grad(set_to_none=True)
    for name, buffer in model.named_buffers():  # batch statistics moved during the race
        buffer.copy_(before[name])
    return precision
