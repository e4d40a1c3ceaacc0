"""How far a student's answers are from its teacher's: DIST and KD.

Both take probabilities ``[batch, classes] float32`` that were softened by the same temperature, and return a scalar.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

#: What each part of DIST counts beside the labels' loss, which counts 1: the paper's value.
WEIGHT_OF_DIST = 2.0

#: What KD counts beside the labels' loss: nine to one, the share that distilled BERTs have (torchdistill on GLUE).
WEIGHT_OF_KD = 9.0

#: Keeps the correlation of answers that are all alike from dividing by zero.
_SMALLEST = 1e-8


def dist(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Correlation in place of equality (Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher").

    Within each row (which classes are alike) and within each class (which rows are alike). How sure the teacher is does
    not matter, which a student of another size could not copy, and which says little of rows that it was trained on.
    """
    relations = unrelatedness(student, teacher) + unrelatedness(student.T, teacher.T)
    return WEIGHT_OF_DIST * temperature**2 * relations


def kd(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """The divergence from the teacher's answers (Hinton, Vinyals and Dean 2015)."""
    divergence = torch.nn.functional.kl_div((student + _SMALLEST).log(), teacher, reduction="batchmean")
    return WEIGHT_OF_KD * temperature**2 * divergence


def unrelatedness(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """1 less the mean of the rows' Pearson correlations: 0 where each row is the other's, scaled and shifted."""
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    return 1 - torch.nn.functional.cosine_similarity(one, other, dim=1, eps=_SMALLEST).mean()


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]] = {"dist": dist, "kd": kd}
