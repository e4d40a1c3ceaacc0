"""Cross-validation: the other parts of a small table validate too what a quarter of it has chosen.

A quarter of 150 rows tells an accuracy to 6 points, and of two models it prefers the lucky one. So what the answer is
made of, and every head, is fitted anew to all rows but those of each other part, and answers these; shares,
temperatures and the score come of all rows then. The weights stay: the refit follows, which trains on all rows anyway.
"""

from __future__ import annotations

import math
from contextlib import suppress

from autotl.errors import TrialError
from autotl.search.again import Again, named
from autotl.search.line import Message
from autotl.search.session import Session
from autotl.search.shelf import Model
from autotl.search.twins import Twins

#: A training on other rows that is no faster than it was is ended when it takes so much longer, and not begun where it
#: would have so much less time: its answers would not be the model's.
SLOWER = 1.3


class CrossValidation:
    """Goes through the models that the answer is made of, all or none, and then through the heads beside them."""

    def __init__(self, session: Session, again: Again, twins: Twins) -> None:
        self._again, self._twins = again, twins
        self._dialogue, self._judge = session.dialogue, session.judge
        self._pace, self._events = session.pace, session.events

    def run(self) -> bool:
        """Whether there was anything to do and it came to an end; the answer is whole at any moment.

        Raises `OutOfTime` when the worker is cut.
        """
        answer, heads = self._judge.contenders()
        if not all(model.finished and self._again.can_fit(model) for model in answer):
            return False
        due = [model for model in answer if model.folds == 1]
        beside = [head for head in heads if head.folds == 1 and self._again.can_fit(head)]
        if sum(map(self._seconds, due)) > self._pace.seconds_to_the_end():
            return False
        try:
            found = [(model, self._parts_of(model)) for model in due]
        except TrialError:
            return False
        card = self._judge.take_folds(found) if found else None  # an end among other heads would lose the longer part
        more = []
        try:
            for head in beside:
                if self._seconds(head) <= self._pace.seconds_to_the_end():
                    with suppress(TrialError):
                        more.append((head, self._parts_of(head)))
            if more:
                card, found = self._judge.take_folds(more), found + more
        finally:
            if card is not None:
                self._events.emit(
                    "cross_validated", trials=[model.judged.trial for model, _ in found], folds=card.folds,
                    rows=card.validation_rows, score=card.score,
                )  # fmt: skip
        self._twins.let_go()
        return card is not None

    def _parts_of(self, model: Model) -> list[Message]:
        """What it answers to each other part. Raises `TrialError` where one fails, which is told."""
        try:
            return [self._ask(model, part) for part in range(self._pace.folds)]
        except TrialError as error:
            self._events.emit("note", text=f"{named(model)} was judged by one part of the rows only ({error})")
            raise

    def _seconds(self, model: Model) -> float:
        """What the parts will take that an earlier process has not asked."""
        asked = [part for part in range(self._pace.folds) if self._known(model, part) is not None]
        return (self._pace.folds - len(asked)) * self._seconds_of_a_part(model)

    def _seconds_of_a_part(self, model: Model) -> float:
        """A trial's as long as it took."""
        if model.judged.is_head:
            return self._pace.seconds_of_a_head_again(model.member.backbone)
        return self._pace.seconds_of_trial(model.judged.trial)

    def _known(self, model: Model, part: int) -> Message | None:
        views = sum(other.is_view and other.trial_folder == model.trial_folder for other in self._judge.models)
        return self._twins.known(model, part, views=views)

    def _ask(self, model: Model, part: int) -> Message:
        if (known := self._known(model, part)) is not None:
            return known
        usual, training = self._seconds_of_a_part(model), self._again.is_training(model)
        left = self._pace.seconds_of_training(model.member.backbone)
        silence = self._pace.silence(usual) if training else math.inf
        if training and left < usual / SLOWER:
            raise TrialError("too little time was left for all of them", kind="time")
        reply = self._dialogue.validate(
            named(model),
            self._again.fitting(model, views_agree=self._judge.views_agree),
            part=part,
            seconds=min(SLOWER * usual if training else left, left) if self._pace.limited else math.inf,
            silence=silence,
        )
        self._twins.keep(model, part, reply)
        return reply
