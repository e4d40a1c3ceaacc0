"""What rows, models and trials have taken so far, backbone by backbone, and what the next should take by that."""

from __future__ import annotations

from collections.abc import Iterable

#: Saving and loading a model, which scoring it on the way does not show.
SAVING = 0.3

#: Judging a model, where nobody knows of any.
UNKNOWN = 1.5


class Durations:
    """In seconds."""

    def __init__(self) -> None:
        self.judges = 0  #: rows that judge a model
        self.views = 0  #: of the rows that a finished model answers to besides
        self.reading = 0.0  #: of a new row, its encoding included
        self._forward: dict[str, float] = {}  #: a row
        self._exact: dict[str, float] = {}  #: the same in fp32
        self._closed_forms: dict[tuple[str, str], float] = {}  #: a trial of a strategy on a backbone
        self._judging: dict[str, float] = {}
        self._heads: dict[str, float] = {}  #: for a head, whose features are there, to be fitted and judged
        self._refits: dict[str, float] = {}  #: as `learn_refit` has them
        self._trained: set[str] = set()  #: backbones of which a training was judged
        self._trials: dict[int, float] = {}  #: by number

    def learn_forward(self, backbone: str, seconds_a_row: float, *, exact: float, reading: float = 0.0) -> None:
        """exact: in fp32. reading: what a new row took to be read and encoded, as the last look saw it."""
        self._forward[backbone], self._exact[backbone] = seconds_a_row, exact
        self.reading = max(self.reading, reading)  # rows that were known already say nothing

    def learn_judging(
        self, backbone: str, seconds: float, *, views: int | None, head: bool = False, fitting: float = 0.0,
        deciding: float = 0.0,
    ) -> None:  # fmt: skip
        """seconds: what scoring a model of this backbone took. head: whether it was one, whose features were there.

        fitting: seconds that a head took before it was scored. deciding: those of `seconds` that went by while it was
        settled what the answer is.

        views: how many other views of the rows a finished model answered to besides, all of them saved and loaded; None
        for a model on its way, which was not saved and will answer to as many views as the last that was.
        """
        if head:
            self._heads[backbone] = fitting + deciding + SAVING * (1 + (views or 0))  # what passed for it is known
        else:
            self._trained.add(backbone)
        if views is None:
            self._judging[backbone] = (seconds + SAVING) * (1 + self.views)
        else:
            self._judging[backbone], self.views = seconds, views

    def learn_closed_form(self, backbone: str, strategy: str, seconds: float) -> None:
        """seconds: what a trial took whose strategy is one."""
        self._closed_forms[backbone, strategy] = seconds

    def learn_trial(self, number: int, seconds: float) -> None:
        """seconds: what a trial took in all."""
        self._trials[number] = seconds

    def learn_refit(self, backbone: str, seconds: float) -> None:
        """seconds: what a head takes at least that is fitted to all rows."""
        self._refits[backbone] = seconds

    def of_trial(self, number: int) -> float | None:
        """None before its end."""
        return self._trials.get(number)

    def knows_forward(self, backbone: str) -> bool:
        """Whether rows have passed through it."""
        return backbone in self._forward

    def forward(self, backbone: str) -> float:
        """A row, as far as it was learned."""
        return self._forward[backbone]

    def exact(self, backbones: Iterable[str]) -> float:
        """A row through each of them in fp32; through the slowest that is known where there are none."""
        members = list(backbones) or [max(self._exact, key=self._exact.__getitem__, default="")]
        return sum(self._exact.get(member, 0.0) for member in members)

    def head(self, backbone: str, default: float) -> float:
        """Fitting one on features that are there, and judging it; `default` where none was."""
        return max(self._heads.get(backbone, default), self._refits.get(backbone, 0.0))

    def closed_form(self, backbone: str, strategy: str) -> float:
        """A trial of it; what judging it takes where there was none."""
        return self._closed_forms.get((backbone, strategy), self.judging(backbone))

    @property
    def judged(self) -> set[str]:
        """Backbones of which something is known by which to say what judging takes."""
        return {*self._forward, *self._judging}

    def judging(self, backbone: str) -> float:
        """The last act of a trial: by what it took for this backbone, or else by its speed beside another's."""
        if backbone in self._judging:
            passing = 0.0 if backbone in self._trained else self.judges * self._forward.get(backbone, 0.0)
            return max(self._judging[backbone], (1 + self.views) * passing)
        others = ((seconds, self._forward.get(other)) for other, seconds in self._judging.items())
        scaled = (seconds * max(self._forward[backbone] / speed, 1.0) for seconds, speed in others if speed)
        return max(scaled, default=UNKNOWN)

    def judging_on_the_way(self, backbone: str) -> float:
        """The same of a model that is not saved, and answers to one view of the rows."""
        return max(self.judging(backbone) / (1 + self.views) - SAVING, 0.0)
