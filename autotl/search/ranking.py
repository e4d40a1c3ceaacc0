"""Which backbones go on from screening, and which need not be looked through at all. Arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from autotl.plugins.contracts import Candidate

#: Backbones that go on: never one, because proxies rank near equals by luck (Renggli et al. 2022); the best of ten was
#: always among the first three of LogME, NCE and the static prior on eight data sets (TLlib's tables).
SURVIVORS = 3

#: What fine-tuning has over a head at least, of a score's whole: on flowers, trec6 and sst2 it was 0.05 to 0.06.
TRAINING_GAINS = 0.05

#: A backbone that could train by less than a part of its recipe's passes in the time that is left leaves it to others:
#: the third trial of five minutes was a ViT that had time for a tenth.
PART_OF_A_RECIPE = 0.25

#: Of that of the one that comes furthest, from which on another comes as far: speeds are measured in passing.
_AS_FAR = 0.8

#: Deviations above what its prior lets expect up to which a backbone may turn out.
_SURPRISE = 2.0


@dataclass(frozen=True)
class Screened:
    """What was seen of a backbone."""

    head: float  #: score of a ridge head, leave-one-out, as the task's kind ranks; 1 at best
    rows: int
    prior: float  #: the candidate's
    opinions: Mapping[str, float] = field(default_factory=dict)  #: of screeners, larger is better
    parameters: int = 0  #: of the backbone

    @property
    def noise(self) -> float:
        share = min(max(self.head, 0.0), 1.0)
        return math.sqrt(share * (1 - share) / self.rows)

    @property
    def score(self) -> float:
        """That of the head, the prior deciding between near equals."""
        return self.head + self.noise * self.prior


def slow(parts: Mapping[str, float]) -> set[str]:
    """Backbones whose training would hardly begin; where that is so of all, those that come clearly less far.

    parts: of a recipe's passes, by backbone, that there is time for.
    """
    return {key for key, part in parts.items() if part < min(PART_OF_A_RECIPE, _AS_FAR * max(parts.values()))}


def trainable_first(
    candidates: Sequence[Candidate], scores: Mapping[str, float], slow: Collection[str]
) -> list[Candidate]:
    """Those that are `slow`, so that training could hardly begin, after those that are not and come near them by head.

    candidates: best first. scores: of their heads.
    """
    trainable = max((scores[candidate.key] for candidate in candidates if candidate.key not in slow), default=-math.inf)
    return sorted(
        candidates,
        key=lambda candidate: candidate.key in slow and scores[candidate.key] <= trainable + TRAINING_GAINS,
    )


def survivors(seen: Mapping[str, Screened]) -> list[str]:
    """Those that go on, best first: `SURVIVORS` by mean rank, and the one that the prior takes to be strongest.

    Frozen features say little of how well a network can be fine-tuned, so what is known of it in general has a rank
    as well, and a seat; where it knows no difference, the largest gets that. Ranks are means over `Screened.score`,
    each opinion that all have, and the prior; the head's score counts twice.
    """
    judges = [
        {key: backbone.score for key, backbone in seen.items()},
        {key: backbone.score for key, backbone in seen.items()},
        {key: backbone.prior for key, backbone in seen.items()},
    ]
    names = set.intersection(*(set(backbone.opinions) for backbone in seen.values()))
    judges += [{key: backbone.opinions[name] for key, backbone in seen.items()} for name in sorted(names)]
    ranks = {key: sum(_rank(judge, key) for judge in judges) for key in seen}
    by_score = sorted(seen, key=lambda key: -seen[key].score)
    chosen = set(sorted(by_score, key=ranks.__getitem__)[:SURVIVORS])
    chosen.add(max(by_score, key=lambda key: (seen[key].prior, seen[key].parameters)))
    return [key for key in by_score if key in chosen]


def hopeless(prior: float, seen: Sequence[Screened]) -> bool:
    """Whether a larger backbone of this prior cannot be among the survivors, by those that were seen.

    A line through scores over priors says what to expect of it; it is hopeless when even `_SURPRISE` deviations
    more would leave it behind the survivors so far.
    """
    if len(seen) <= SURVIVORS:
        return False
    priors, scores = np.array([s.prior for s in seen]), np.array([s.head for s in seen])
    if np.ptp(priors) == 0:
        return False
    slope, level = np.polyfit(priors, scores, 1)
    deviation = math.hypot(float(np.std(scores - slope * priors - level)), max(s.noise for s in seen))
    bar = sorted(scores)[-SURVIVORS]
    return bool(slope * prior + level + _SURPRISE * deviation < bar)


def _rank(judge: Mapping[str, float], key: str) -> float:
    """How many are better, and half of those that are as good."""
    better = sum(score > judge[key] for score in judge.values())
    return better + sum(score == judge[key] for score in judge.values()) / 2
