"""The tail of a budget with limits: what breaks them teaches the best backbone that keeps them.

The best answer without limits may be a mixture of too many models, or a backbone that is too large or too slow, which
is trained here for nothing else. It becomes a bundle beside the answer's, and strategies that learn from a teacher have
their turn. What they make is judged like anything: it is the answer only when it is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotl.errors import TrialError
from autotl.events import TUTOR
from autotl.plugins.contracts import Candidate
from autotl.search.judging import Subject
from autotl.search.pace import JUDGED_ON_THE_WAY
from autotl.search.screening import Screening
from autotl.search.session import Session
from autotl.search.space import Space, TrialConfig

#: With fewer full trials than this the student is better off with all of the time for itself.
ENOUGH_TRIALS = 4.0

#: Of the time for trials, where the teacher is there already, and where a backbone has to be trained to be one. A
#: student needs a trial's length after that.
TAIL, LONG_TAIL = 0.3, 0.5


class Teaching:
    """Finds a teacher, and tells everyone of it."""

    def __init__(self, session: Session, space: Space, barred: Sequence[Candidate], screening: Screening) -> None:
        """barred: what could be used but for the limits."""
        self._dialogue, self._judge = session.dialogue, session.judge
        self._pace, self._events = session.pace, session.events
        self._space, self._tutor = space, self._promising(barred, screening)

    def _promising(self, barred: Sequence[Candidate], screening: Screening) -> Candidate | None:
        """The strongest of them by its prior, where its features are better than those of all that keep the limits."""
        strongest = max(barred, key=lambda candidate: (candidate.prior, candidate.parameters), default=None)
        try:
            return strongest if strongest and screening.appraise(strongest) > max(screening.scores.values()) else None
        except TrialError:
            return None

    @property
    def share(self) -> float:
        """Of the time for trials that it takes."""
        return LONG_TAIL if self._tutor else TAIL

    def run(self) -> list[TrialConfig]:
        """What is to be tried now that there is a teacher; nothing where the answer is the best without limits too.

        Raises `OutOfTime` when the worker has to be cut.
        """
        if self._tutor is not None:
            self._train(self._tutor)
        teacher = self._judge.teacher()
        if teacher is None:
            return []
        lessons = self._space.lessons()
        self._dialogue.teach(teacher)
        self._space.teach()
        self._events.emit("note", text="the best answer breaks the limits: it teaches one that keeps them")
        return lessons

    def _train(self, tutor: Candidate) -> None:
        """By the published recipe, in half of the time that is left at most; the other half is the student's."""
        space = self._space.beside(tutor)
        published = next(space.portfolio())
        judging, views_agree = self._pace.judging_seconds(tutor.key), self._judge.views_agree
        self._events.emit("note", text=f"{tutor.key}, which breaks the limits, is trained to teach one that keeps them")
        subject, seconds, fill, share = Subject(TUTOR, tutor, published), math.inf, False, 1.0
        try:
            if self._pace.limited:
                work = space.work(published)
                forecast = self._dialogue.forecast(tutor.key, tutor, work, views_agree=views_agree)
                seconds = self._pace.seconds_of_training(tutor.key) / 2
                fill = forecast["seconds"] + JUDGED_ON_THE_WAY * judging > seconds
                share = min(seconds / forecast["seconds"], 1.0) if fill and forecast["seconds"] else 1.0
            ends = self._pace.clock.elapsed + seconds
            self._dialogue.trial(
                f"training of {tutor.key}",
                tutor,
                published,
                number=-TUTOR,  # of which its seed is made
                name="tutor",
                views_agree=views_agree,
                seconds=seconds,
                fill_time=fill,
                judged_on_the_way=True,
                share=share,
                checkpoint=None,  # it is neither continued nor refitted
                late_checkpoint=None,
                hearer=lambda offer: (
                    self._judge.hear(offer, subject, lambda judged: True)
                    | {"seconds_left": ends - self._pace.clock.elapsed}
                ),
                silence=self._pace.silence(seconds, looking=judging, times=1.0),
            )
        except TrialError as error:
            self._events.emit("note", text=f"{tutor.key} teaches nobody: {error}")
