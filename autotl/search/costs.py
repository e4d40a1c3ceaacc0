"""What a prediction costs by the backbones that make it, and what it may."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autotl.config import Limits
from autotl.plugins.contracts import Candidate


class Costs:
    """Parameters are known beforehand, latency once a backbone was screened; until then it counts as nothing.

    Nothing that a trial chooses changes either, so what breaks a limit is left out of the search, instead of being
    proposed and marked as infeasible.
    """

    def __init__(self, limits: Limits, candidates: Iterable[Candidate]) -> None:
        self._limits = limits
        self._parameters = {candidate.key: candidate.parameters for candidate in candidates}
        self._latency: dict[str, float] = {}

    def learn_latency(self, backbone: str, seconds: float) -> str:
        """seconds: from one cell to its features, in fp32. Returns what is wrong with that, or nothing.

        The least that was ever measured counts, as all else that a machine does only makes it more: models of a
        backbone that kept the limit may be the answer already.
        """
        least = self._latency[backbone] = min(seconds, self._latency.get(backbone, seconds))
        return self._limits.too_slow(least)

    def remember(self, backbone: str, seconds: float, parameters: int | None) -> None:
        """What an earlier process learned of a backbone, which may be gone by now while its models are there."""
        self._latency[backbone] = min(seconds, self._latency.get(backbone, seconds))
        if parameters is not None:
            self._parameters.setdefault(backbone, parameters)

    def latency(self, backbones: Sequence[str]) -> float:
        """Seconds a row when one answer is made by these in turn."""
        return sum(self._latency.get(backbone, 0.0) for backbone in backbones)

    def allow(self, backbones: Sequence[str], networks: Sequence[str] | None = None) -> bool:
        """Whether an answer that is made by these in turn keeps the limits.

        networks: the backbone of each that has weights, where a network passes more than once, before other views of
        the rows.
        """
        parameters = sum(self._parameters.get(backbone, 0) for backbone in networks or backbones)
        if self._limits.passes is not None and len(backbones) > self._limits.passes:
            return False
        return not (self._limits.too_slow(self.latency(backbones)) or self._limits.too_large(parameters))
