"""What the worker must be told to fit a model of the shelf once more, on other rows than the first time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from autotl.plugins.contracts import Candidate
from autotl.search.line import Fitting
from autotl.search.shelf import Model
from autotl.search.space import Space
from autotl.zoo.words import BAG_OF_WORDS


class Again:
    """Knows every backbone that there was, as a head may be of one that did not come through screening."""

    def __init__(self, candidates: Sequence[Candidate], space: Space) -> None:
        self._candidates = {candidate.key: candidate for candidate in candidates}
        self._space = space

    def can_fit(self, model: Model) -> bool:
        """Whether its backbone and its strategy are here; they may have been removed since an earlier process."""
        backbone = model.member.backbone
        if model.judged.is_head:
            return backbone == BAG_OF_WORDS.key or backbone in self._candidates
        return self._space.still_fits(model.config)

    def is_training(self, model: Model) -> bool:
        """Whether fitting it is a training, and no closed form."""
        return not model.judged.is_head and not self._space.work(model.config).closed_form

    def fitting(self, model: Model, *, views_agree: bool) -> Fitting:
        """What is to be fitted. views_agree: whether other views mean the same."""
        member, head = model.member, model.judged.is_head
        words = member.backbone == BAG_OF_WORDS.key
        return Fitting(
            number=model.judged.trial,
            name=model.trial_folder,
            candidate=None if words else dataclasses.asdict(self._candidates[member.backbone]),
            strategy=member.strategy,
            settings=dict(member.settings),
            head=head,
            made=model.made,
            views_agree=views_agree or head,
        )


def named(model: Model) -> str:
    """As messages have it."""
    if model.member.backbone == BAG_OF_WORDS.key:
        return "the bag of words"
    return f"the head on {model.member.backbone}" if model.judged.is_head else f"trial {model.judged.trial}"
