"""What comes of a model that was judged: a place on the shelf, the incumbent, another answer."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autotl.events import TUTOR, EventLog, is_head
from autotl.plugins.contracts import Candidate
from autotl.predictor.bundle import BundleCard, Member
from autotl.search.incumbent import Incumbent, Judged
from autotl.search.ledger import Ledger
from autotl.search.line import Message
from autotl.search.pace import AnswerSoFar, Pace
from autotl.search.shelf import Model, Shelf
from autotl.search.space import TrialConfig

#: A refit of less than this share of a model's rows has seen fewer. It may have missed some that cannot be read.
FEWER = 0.9


@dataclass(frozen=True)
class Subject:
    """Whose model it is: a trial's, a head's or the tutor's, as `events` numbers them."""

    number: int
    candidate: Candidate
    config: TrialConfig


class Judge:
    """Hears what the worker offers. A model is finished at 1000 permille, and saved then in any case."""

    def __init__(self, incumbent: Incumbent, shelf: Shelf, pace: Pace, events: EventLog, ledger: Ledger) -> None:
        self._incumbent, self._shelf = incumbent, shelf
        self._pace, self._events, self._ledger = pace, events, ledger
        self._folders: Sequence[str] = ()  #: of the trials that have a share in the answer so far
        self.answer_trials: Set[int] = frozenset()  #: of the same, and of the best one alone
        self._looked_at: dict[str, tuple[Judged, bool]] = {}  #: heads, and whether another view is far worse for them

    @property
    def best(self) -> Judged | None:
        """The incumbent's answers; None before there is a model."""
        return self._incumbent.held_by

    def keep_together(self, groups: np.ndarray | None) -> None:
        """groups ``[table rows] int64``: rows of one are alike, so that they say less than as many by themselves."""
        self._incumbent.groups = self._shelf.groups = groups

    def lead(self, ours: Judged, theirs: Judged) -> tuple[float, float]:
        """Our score less theirs on the rows that judged both, and its standard error."""
        return self._incumbent.lead(ours, theirs)

    def score(self, judged: Judged) -> float:
        """Of its answers, by the task's metric."""
        return self._incumbent.score(judged)

    @property
    def noise(self) -> float:
        """The standard error of the incumbent's score."""
        return self._incumbent.noise

    def favour(self, head: int) -> None:
        """Lets a head be the incumbent where another is no better, as screening ranks its backbone first."""
        self._incumbent.favoured = head

    def restore(self, incumbent: int | None) -> None:
        """Finds what an earlier process left. incumbent: the trial that it told of last, which has the place first.

        Of those that it had to beat for it some may be missing, and others would win against what is left.
        """
        for judged in sorted(self._shelf.restore(), key=lambda judged: judged.trial != incumbent):
            if self._incumbent.yields_to(judged):
                self._incumbent.held_by = judged
        if self.best is not None:
            self._renew_answer()

    def hear(self, offer: Message, subject: Subject, goes_on: Callable[[Judged], bool]) -> Message:
        """The answer to an offer; `goes_on` hears the score of one that is not finished, and says what follows."""
        judged = Judged(
            trial=subject.number,
            permille=offer["permille"],
            score=offer["score"],
            valid=offer["valid"],
            answers=offer["answers"],
        )
        backbone = subject.candidate.key
        if offer["say"] == "saved":
            self._take(judged, offer, subject)
            return {"do": "answer", "seconds_left": self._pace.seconds_of_this_training(backbone)}
        views = len(offer["views"]) if judged.finished else None
        began = time.monotonic()
        if judged.finished:
            self._take(judged, offer, subject)  # before the study hears that it is: only the shelf can give it again
        deciding = time.monotonic() - began  # with many classes our part is the longer one
        seconds = offer["seconds"] + deciding
        fitting = offer["details"].get("fitting", 0.0)
        self._pace.durations.learn_judging(
            backbone, seconds, views=views, head=judged.is_head, fitting=fitting, deciding=deciding
        )
        go_on = goes_on(judged)
        keep = not judged.finished and self._shelf.may_answer(backbone) and self._incumbent.yields_to(judged)
        # by what is known now: a larger answer takes longer to be tested
        left = self._pace.seconds_of_this_training(backbone)
        return {"do": "answer", "keep": keep, "go_on": go_on, "seconds_left": left}

    def give_way(self) -> None:
        """Removes the weights of all models outside the answer."""
        self._shelf.give_way()

    @property
    def usable(self) -> Set[int]:
        """The trials whose weights are here: each may have a share in the answer again."""
        return {model.judged.trial for model in self.models if model.weights}

    @property
    def models(self) -> list[Model]:
        """All that were judged, with other views of the rows."""
        return self._shelf.models

    def teacher(self) -> Path | None:
        """The bundle of the best answer without limits; None where it keeps them, and so is the answer."""
        with self._ledger.book("selecting"):
            return self._shelf.teacher()

    @property
    def views_agree(self) -> bool:
        """Whether the other views of the rows may be trained on, and asked: whether no head is far worse on them.

        They may where nobody has looked: heads that were in a hurry have no views.
        """
        for model in self._shelf.models:
            if model.judged.is_head and not model.is_view:
                known, far_worse = self._looked_at.get(model.name, (None, False))
                if known is not model.judged:  # a bootstrap for every trial would be seconds of many labels
                    _, *views = self._shelf.entries(model.trial_folder)
                    far_worse = any(self._incumbent.is_clearly_worse(view.judged, model.judged) for view in views)
                    self._looked_at[model.name] = model.judged, far_worse
                if far_worse:
                    return False
        return True

    def members(self) -> list[Model]:
        """The models of the answer, the largest share first, each without its other views."""
        return [self._shelf.entries(folder)[0] for folder in self._folders]

    def contenders(self) -> tuple[list[Model], list[Model]]:
        """Without their other views: the models of the answer and the best one alone, and heads that may be either."""
        answer, best = self.members(), self.best
        first = [model for model in self._shelf.models if model.weights and not model.is_view]
        answer += [model for model in first if model.judged is best and model.trial_folder not in self._folders]
        named = {model.name for model in answer}
        heads = [model for model in first if model.judged.is_head and model.finished and model.name not in named]
        return answer, [head for head in heads if self._shelf.may_answer(head.member.backbone)]

    def take_folds(self, found: Sequence[tuple[Model, Sequence[Message]]]) -> BundleCard:
        """What twins of these models, and of their views, answered to the other parts of the table judges them too.

        found: each with a message a part: ``valid`` rows, ``answers`` to them and those of the ``views``. Returns the
        card of the answer that comes of it.
        """
        with self._ledger.book("selecting"):
            for model, parts in found:
                for place, entry in enumerate(self._shelf.entries(model.trial_folder)):
                    known = [[part["answers"], *part["views"]] for part in parts]
                    if all(place < len(answers) for answers in known):
                        more = [(part["valid"], answers[place]) for part, answers in zip(parts, known, strict=True)]
                        self._judge_by_more(entry, more)
            for model, _ in found:
                (entry, *_) = self._shelf.entries(model.trial_folder)
                if entry.weights and entry.judged is not self.best and self._incumbent.yields_to(entry.judged):
                    self._replace(entry.judged)
            return self._renew_answer()

    def _judge_by_more(self, entry: Model, more: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        before = entry.judged
        rows = np.concatenate([before.valid, *(valid for valid, _ in more)])
        answers = np.concatenate([before.answers, *(answers for _, answers in more)])
        order = np.argsort(rows)
        judged = dataclasses.replace(before, valid=rows[order], answers=answers[order])
        judged = dataclasses.replace(judged, score=self._incumbent.score(judged))
        self._shelf.judge_by_more(entry, judged, folds=1 + len(more))
        if self.best is before:
            self._incumbent.held_by = judged

    def take_refit(self, model: Model, reply: Message) -> bool:
        """Puts what the worker refitted in the place of a model and its views, and renews the bundle.

        Unless it saw clearly fewer rows than before, or does clearly worse on those that validate than before it was
        trained on them, which only a training that went wrong does; returns whether it did not. The rows that chose the
        answer say nothing new of it.
        """
        rows = np.intersect1d(reply["valid"], model.judged.valid)  # other parts may have judged it since
        before = self._incumbent.score(model.judged.on(rows))
        names = [reply["weights"], *reply["views"]]
        if reply["score"] < before - self._incumbent.noise or reply["training_rows"] < FEWER * model.training_rows:
            for name in names:
                shutil.rmtree(self._shelf.place(model.trial_folder) / name, ignore_errors=True)
            return False
        with self._ledger.book("selecting"):
            entries = self._shelf.entries(model.trial_folder)
            for entry, name in zip(entries, names, strict=False):  # a head that had to be quick has no views
                self._shelf.refit(entry, self._shelf.place(entry.trial_folder) / name, reply["training_rows"])
            self._renew_answer()
        return True

    def _take(self, judged: Judged, offer: Message, subject: Subject) -> None:
        """Takes a saved model into account: it may be the incumbent, and it may change the answer."""
        with self._ledger.book("selecting"):
            models, holder = self._models(judged, offer, subject), self.best
            better = self._shelf.may_answer(subject.candidate.key) and self._incumbent.yields_to(judged)
            if holder and holder.trial == judged.trial and not better:  # the training went wrong after its last state
                for model in models:
                    shutil.rmtree(model.weights or "", ignore_errors=True)
                return
            for model in models:
                self._shelf.put(model)
            if better:
                self._replace(judged)
            if self.best is not None:
                self._renew_answer()

    def _replace(self, judged: Judged) -> None:
        self._incumbent.held_by = judged
        self._events.emit("incumbent", trial=judged.trial, permille=judged.permille, score=judged.score)

    def _renew_answer(self) -> BundleCard:
        best = self.best
        assert best is not None
        answer = self._shelf.answer(best)
        card, decision = answer.card, answer.decision
        self._folders, self.answer_trials = answer.folders, answer.shares.keys() | {best.trial}
        heads = [model for model in self.members() if model.judged.is_head and not model.refit]
        so_far = AnswerSoFar(
            members=[member.backbone for member in card.members],
            trials=[number for number in answer.shares if not is_head(number)],
            heads=[head.member.backbone for head in heads],
            folded={model.judged.trial for model in self.models if model.folds > 1},
            refitted={model.judged.trial for model in self.models if model.refit},
            on_their_way={model.judged.trial for model in self.members() if not model.finished},
        )
        self._pace.learn_answer(so_far)
        self._events.emit(
            "answer", members=[{"trial": number, "share": share} for number, share in answer.shares.items()],
            score=card.score, optimism=decision.optimism, lead=decision.lead, error=decision.error,
            models=card.describe(), latency=card.latency, single_score=decision.single_score,
            single_latency=answer.single_latency,
        )  # fmt: skip
        return card

    def _models(self, judged: Judged, offer: Message, subject: Subject) -> list[Model]:
        """A model, and itself before each other view of the rows."""
        candidate, name = subject.candidate, offer["name"]
        member = Member(
            folder=name,
            family=candidate.family,
            backbone=candidate.key,
            licence=candidate.licence,
            strategy=subject.config.strategy,
            settings=dict(subject.config.settings),
            trial="head" if judged.is_head else "tutor" if judged.trial == TUTOR else str(judged.trial),
        )
        entries = [(name, judged, offer["weights"])]
        for number, view in enumerate(offer["views"], start=1):
            seen = dataclasses.replace(judged, answers=view["answers"])
            entries.append((f"{name}-view{number}", seen, view["weights"]))
        return [
            Model(
                name=entry,
                trial_folder=name,
                judged=answers,
                member=member.model_copy(update={"folder": entry}),
                weights=self._shelf.place(name) / weights,
                training_rows=offer["training_rows"],
                made=offer["made"],
            )
            for entry, answers, weights in entries
        ]
