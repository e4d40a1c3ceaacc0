"""What a trial will take, before it starts: rows that pass each way, times what a row takes on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autotl.features.boundary import Boundary, stage_at
from autotl.features.heads import LinearHead
from autotl.training.model import Classifier
from autotl.training.optimizer import AdamW, parameter_groups
from autotl.training.step import Stepper, train_key

if TYPE_CHECKING:
    from autotl.plugins.contracts import Work
    from autotl.training.trial import Trial


@dataclass(frozen=True)
class Forecast:
    """Of one trial."""

    seconds: float = 0.0  #: of training, without judging
    states: float = 0.0  #: bytes in the store that a trial with the same frozen stages and augmentation shares
    trained: int = 0  #: parameters of the stages that are trained
    rows: int = 0  #: that it trains on


def forecast(trial: Trial, work: Work) -> Forecast:
    """What `work` takes on the rows of `trial`.

    Speeds that the speed book does not know yet are measured on two batches, as the trial would have to do anyway.
    """
    if work.closed_form:
        return Forecast()
    frozen, size = trial.frozen, trial.frozen.candidate.recipe.batch_size
    stage = stage_at(work.frozen_fraction, frozen.backbone)
    boundary = Boundary(frozen, stage, trial.train, augment=work.augment, passes=work.passes)
    key, own = train_key(frozen, stage, size), train_key(frozen, stage, size, work.method)
    if frozen.speeds.known(own) is not None:
        key = own  # before its first trial, another method is taken to be as fast as plain steps
    elif frozen.speeds.known(key) is None:
        backbone = frozen.family.load(frozen.candidate)
        head = LinearHead.zeros(backbone.width, trial.outputs)
        model = Classifier(backbone, head).to(trial.device)
        groups = parameter_groups(model, stage, learning_rate=0.0, layer_decay=1.0, weight_decay=0.0)
        Stepper(model, trial, boundary).settle(AdamW(groups), size)
    speed = frozen.speeds.known(key)
    above = work.passes * len(trial.train) * (speed.seconds_a_row if speed else 0.0) * work.step_cost
    below = boundary.rows_below(trial.train, work.passes) * boundary.seconds_a_row
    trained = sum(p.numel() for part in frozen.backbone.stages[stage:] for p in part.parameters())
    return Forecast(above + below, boundary.size if boundary.kept else 0.0, trained, len(trial.train))
