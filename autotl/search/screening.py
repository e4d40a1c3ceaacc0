"""Screening: backbones look through the data once, the best go on, and the first answers come of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

from autotl.config import BYTES_A_PARAMETER
from autotl.errors import TrialError, UnreadableError, ZooError
from autotl.events import HEAD_STRATEGY, Event
from autotl.plugins.contracts import Candidate
from autotl.search.dialogue import OutOfTime, WorkerStuck
from autotl.search.incumbent import Judged
from autotl.search.judging import Subject
from autotl.search.line import Message
from autotl.search.pace import SHORTEST_SCREENING
from autotl.search.ranking import SURVIVORS, Screened, hopeless, survivors
from autotl.search.session import Session
from autotl.search.space import TrialConfig
from autotl.zoo.inventory import DOWNLOAD_BYTES_A_SECOND
from autotl.zoo.words import BAG_OF_WORDS

#: Rows that each backbone sees first where there are more of them than can go on: an accuracy on so many is known to a
#: point, and what goes on sees the rest.
FIRST_LOOK = 1000

#: Rows, and seconds at most, that the very first answer is made of: a model is there soon, whatever follows.
FIRST_ANSWER, FIRST_SECONDS = 500, 2.0

#: A backbone that is looked through where no training fits may take this share of what is left: it has to be loaded
#: besides, and to answer the rows that judge it.
LATE_SHARE = 0.4

#: Of the time for screening, the strongest backbone may take so much to come over a common line; more, and the download
#: would end with it: at 20 Mbit/s 346 MB take longer than the screening of ten minutes, by arithmetic.
DOWNLOADED = 0.5

#: So many downloads that fail before one does not, and the hub is taken to be gone: each may take a minute to fail.
MOST_GONE = 2

#: What is left for the whole look of a candidate whose first answer took all of its time.
LEAST_SECONDS = 0.1

#: Unreadable rows that are named one by one; beyond that a count is easier to read.
NAMED = 5


class Screening:
    """One pass over the candidates: the cheapest, which gives the first answer, then the strongest, then by cost.

    So that the one that is known to transfer best is among those that a short budget reaches.
    """

    def __init__(self, session: Session, candidates: Sequence[Candidate], heads: Sequence[str], *, rows: int) -> None:
        """heads: keys of the candidates in the order of their heads' numbers, which outlive this process.

        rows: to train on.
        """
        self._dialogue, self._judge = session.dialogue, session.judge
        self._pace, self._events = session.pace, session.events
        self._costs, self._candidates, self._heads = session.costs, list(candidates), list(heads)
        self._rows = rows
        self._seen: dict[str, Screened] = {}  #: by key
        self._refused: list[str] = []  #: why
        self._unread: dict[str, UnreadableError] = {}  #: by the family that cannot read the rows
        self._gone = 0  #: downloads that failed before there was one that did not
        self.unreadable: dict[int, str] = {}  #: why, by the place among the rows that the audit left
        self._put_off: list[Candidate] = []  #: that there was no time for
        self._hungry: dict[str, Candidate] = {}  #: whose heads have not seen all rows, by key
        self.stages: dict[str, int] = {}  #: of each backbone that was looked through
        self.scores: dict[str, float] = {}  #: of the heads on those that were screened, leave-one-out
        self.too_slow: list[Candidate] = []  #: what could be used but for the limits

    def take_up(self, past: Sequence[Event], chosen: Sequence[str]) -> None:
        """What an earlier process learned of backbones, and the models that it left.

        past: its events. chosen: keys of the backbones that it chose, best first.
        """
        for event in past:
            if event.data.keys() >= {"backbone", "latency"}:
                known = event.data
                self._costs.remember(known["backbone"], known["latency"], known.get("parameters"))
        here = {candidate.key for candidate in self._candidates}
        for best in [key for key in chosen if key in here][:1]:
            self._judge.favour(self.head_number(best))
        told = [event.data["trial"] for event in past if event.kind == "incumbent"]
        self._judge.restore(next(reversed(told), None))
        for gone in sorted({model.member.backbone for model in self._judge.models} - here - {BAG_OF_WORDS.key}):
            self._note(f"{gone} is not here any more: its models stay as they are")

    def run(self, known: Sequence[str]) -> list[Candidate]:
        """The backbones that the search chooses from, best first.

        known: keys of those that an earlier process chose; only they are looked through then. Empty where none
        can be used and there is an answer without; raises `ZooError` where there is no answer either.
        """
        known = [key for key in known if any(key == candidate.key for candidate in self._candidates)]
        room = DOWNLOADED * DOWNLOAD_BYTES_A_SECOND * self._pace.seconds_left_for_screening
        candidates = _in_order([c for c in self._candidates if c.key in known or not known], room=room)
        for position, candidate in enumerate(candidates):
            needed = not self._seen or bool(known)
            seconds = self._pace.seconds_for_a_look(len(candidates) - position, needed=needed)
            if self._is_worth_a_look(candidate, seconds, chosen=bool(known)):
                self._try(candidate, seconds, chosen=bool(known), choosing=len(candidates) > SURVIVORS, needed=needed)
        self._put_off = [candidate for candidate in self._put_off if candidate.family not in self._unread]
        if not self._seen:
            return self._none()
        self.scores = {key: screened.head for key, screened in self._seen.items()}
        best_first = known or survivors(self._seen)
        going_on = [one for key in best_first for one in candidates if one.key == key and key in self._seen]
        if not known:
            self._offer_heads(going_on)
        self._let_go(going_on)
        return going_on

    def _is_worth_a_look(self, candidate: Candidate, seconds: float, *, chosen: bool) -> bool:
        """chosen: whether an earlier process chose it."""
        if not chosen and hopeless(candidate.prior, list(self._seen.values())):
            self._note(f"{candidate.key} was not screened: by its prior it cannot win here")
            return False
        if seconds <= 0:
            self._note(f"{candidate.key} is looked at only if time is left: there is too little for it in this budget")
            self._put_off.append(candidate)
            return False
        return candidate.family not in self._unread and (self._gone < MOST_GONE or candidate.source != "hub")

    def _try(self, candidate: Candidate, seconds: float, *, chosen: bool, choosing: bool, needed: bool) -> None:
        """Has a candidate look through the rows; one that cannot costs itself.

        chosen: whether an earlier process chose it. choosing: whether not all can go on. needed: as `_screen` has it.
        """
        choosing = choosing and not chosen
        most_rows = FIRST_LOOK if choosing else self._pace.enough_rows
        try:
            self._seen[candidate.key] = self._screen(
                candidate, seconds, first=not self._seen and not chosen, most_rows=most_rows, opinions=choosing,
                needed=needed,
            )  # fmt: skip
            if chosen:  # it has seen as many as its head, and does so again
                most_rows = self._pace.rows_of_a_head(candidate.key, self._rows)
                self._look(candidate, seconds, most_rows=most_rows, opinions=False, needed=needed)
        except UnreadableError as error:
            self._unread[candidate.family] = error
            self._note(f"the family {candidate.family!r} is left out: {error}")
        except TrialError as error:
            self._refuse(candidate, error)
        except OutOfTime:
            if not self._seen:
                self._note(f"{candidate.key} had not come to an answer when the time was up")
            raise

    def _refuse(self, candidate: Candidate, error: TrialError) -> None:
        self._refused.append(str(error))
        hub = {one.key for one in self._candidates if one.source == "hub"}
        if candidate.key in hub and hub.isdisjoint(self.stages):
            self._gone += 1
        if self._gone == MOST_GONE:
            self._note("the hub answers and gives nothing: what else is on it is not tried")
        if error.kind == "time" and not isinstance(error, WorkerStuck):
            self._put_off.append(candidate)
            self._note(f"{candidate.key} is looked at only if time is left ({error})")
        else:
            self._note(f"{candidate.key} cannot be used: {error}")

    def _none(self) -> list[Candidate]:
        """No backbone could be used. Raises what `run` does."""
        for unreadable in self._unread.values():
            raise unreadable
        if self._judge.best is None:
            raise ZooError("no backbone could be used: " + "; ".join(self._refused))
        self._note("no backbone could be used, so the answer stays what it is")
        return []

    def _let_go(self, going_on: Sequence[Candidate]) -> None:
        """Has the worker forget the networks that neither go on nor have a share in the answer."""
        used = {candidate.key for candidate in going_on} | {model.member.backbone for model in self._judge.members()}
        if not used.issuperset(self.stages):  # what goes on has their memory
            with suppress(TrialError):  # a new worker has none
                self._dialogue.forget(used)

    def _screen(
        self, candidate: Candidate, seconds: float, *, first: bool, most_rows: int | None, opinions: bool,
        needed: bool,
    ) -> Screened:  # fmt: skip
        """first: whether no network has answered yet, so that it should soon.

        opinions: whether second ones matter. needed: whether it is looked through however slow it is.
        """
        began = self._pace.clock.elapsed
        if first:
            look = FIRST_SECONDS if self._pace.limited else math.inf
            self._check(candidate, self._look(candidate, look, most_rows=FIRST_ANSWER, opinions=False, needed=needed))
            self._offer_head(candidate, quick=True, seconds=look)
            seconds = max(seconds - (self._pace.clock.elapsed - began), LEAST_SECONDS)
        reply = self._look(candidate, seconds, most_rows=most_rows, opinions=opinions, needed=needed)
        self._check(candidate, reply)
        score, rows = reply["ridge_score"], reply["rows"]
        self._note_unreadable(reply["unreadable"])
        if reply["cut"]:
            cut, longest = reply["cut"], reply["longest"]
            self._note(f"{candidate.key} reads {longest} tokens of an input: {cut} of {rows} are cut there")
        self._events.emit(
            "screened", backbone=candidate.key, score=score, metric=reply["metric"], rows=rows,
            precision=reply["precision"], parameters=candidate.parameters, licence=candidate.licence,
            opinions=reply["opinions"], features=reply["features"], bytes_a_row=reply["bytes_a_row"],
            latency=self._costs.latency([candidate.key]), seconds=self._pace.clock.elapsed - began,
            memory=self._dialogue.memory,
        )  # fmt: skip
        return Screened(score, rows, candidate.prior, reply["opinions"], candidate.parameters)

    def _look(
        self, candidate: Candidate, seconds: float, *, most_rows: int | None, opinions: bool, needed: bool
    ) -> Message:
        """What the worker saw of the rows, beside those that it had seen before."""
        if candidate.source == "hub" and candidate.key not in self.stages:
            self._note(f"downloading {candidate.key}, {BYTES_A_PARAMETER * candidate.parameters / 1e6:.0f} MB at most")
        reply = self._dialogue.screen(
            candidate, seconds=seconds, most_rows=most_rows, opinions=opinions, needed=needed,
            loading=self._pace.loading_seconds(needed=needed),
        )  # fmt: skip
        self.stages[candidate.key] = reply["stages"]
        self._pace.durations.learn_forward(
            candidate.key, reply["seconds_a_row"], exact=reply["exact_seconds_a_row"],
            reading=reply["reading_seconds_a_row"],
        )  # fmt: skip
        return reply

    def use_time_left(self) -> None:
        """Where no training fits, backbones that were put off for its sake are looked through: a head may be better.

        Then heads that have seen a part of the rows see the others, the best backbone's first.
        Raises `OutOfTime` when the worker has to be cut.
        """
        while self._put_off and (seconds := LATE_SHARE * self._pace.seconds_to_the_end()) >= SHORTEST_SCREENING:
            candidate = self._put_off.pop(0)
            try:
                self._screen(candidate, seconds, first=False, most_rows=None, opinions=False, needed=False)
                self._offer_head(candidate, quick=False, seconds=seconds)
            except TrialError as error:
                self._note(f"{candidate.key} cannot be used: {error}")
        for candidate in self._hungry.copy().values():
            if (seconds := self._pace.seconds_of_training(candidate.key)) >= SHORTEST_SCREENING:
                with suppress(TrialError):  # the one of fewer rows stands
                    self._offer_head(candidate, quick=False, seconds=seconds)

    def appraise(self, candidate: Candidate) -> float:
        """Accuracy of a head on a backbone that breaks the limits, leave-one-out. Raises `TrialError`."""
        seconds = self._pace.seconds_for_a_look(1, needed=True)
        score: float = self._look(candidate, seconds, most_rows=FIRST_LOOK, opinions=False, needed=False)["ridge_score"]
        return score

    def _check(self, candidate: Candidate, reply: Message) -> None:
        """Raises `TrialError` for a backbone that takes too long for a row."""
        if reason := self._costs.learn_latency(candidate.key, reply["latency"]):
            self.too_slow.append(candidate)
            raise TrialError(f"{candidate.key}: {reason}")

    def _offer_heads(self, survivors: Sequence[Candidate]) -> None:
        """The best one's head is always among the contenders, the others' where they take little time."""
        self._judge.favour(self.head_number(survivors[0].key))
        for position, candidate in enumerate(survivors):
            if position == 0 or self._pace.time_for_a_head(candidate.key):
                self._offer_whole_head(candidate, len(survivors) - position)
        best = self._judge.best
        if best and best.hurried:  # the first head is better than those of all who go on
            (candidate,) = (one for one in self._candidates if self.head_number(one.key) == best.trial)
            self._offer_whole_head(candidate, 1)

    def _offer_whole_head(self, candidate: Candidate, left: int) -> None:
        """On all rows that heads see. left: backbones that share what is left for screening."""
        seconds = self._pace.seconds_for_a_look(left, needed=True)
        most_rows = self._pace.rows_of_a_head(candidate.key, self._rows)
        with suppress(TrialError):  # the first one stands
            self._offer_head(candidate, quick=False, seconds=seconds, most_rows=most_rows)

    def _offer_head(self, candidate: Candidate, *, quick: bool, seconds: float, most_rows: int | None = None) -> None:
        """A head on what screening saw of a backbone: the first bundle, or a better one, which takes its place.

        most_rows: that it is fitted to, if screening saw no more.
        """
        number = self.head_number(candidate.key)
        subject = Subject(number, candidate, TrialConfig(candidate.key, HEAD_STRATEGY, {}))

        def tell(judged: Judged) -> bool:
            latency = self._costs.latency([candidate.key])
            self._events.emit("head", trial=number, score=judged.score, backbone=candidate.key, latency=latency)
            return True

        reply = self._dialogue.head(
            candidate, name=f"head{number}", quick=quick, seconds=seconds, most_rows=most_rows,
            hearer=lambda offer: self._judge.hear(offer, subject, tell),
        )  # fmt: skip
        self._note_unreadable(reply["unreadable"])
        self._hungry.pop(candidate.key, None)
        if not quick and not reply["saw_all"]:
            self._hungry[candidate.key] = candidate

    def head_number(self, backbone: str) -> int:
        """Of the head on a candidate, by its key: from -1 downwards, as trials count from 0."""
        return -1 - self._heads.index(backbone)

    def _note(self, text: str) -> None:
        self._events.emit("note", text=text)

    def _note_unreadable(self, rows: Sequence[tuple[int, str, str]]) -> None:
        """Names rows that are left out because they cannot be read, once; rows: place, name and reason."""
        fresh = [(name, why) for place, name, why in rows if place not in self.unreadable]
        for name, why in fresh[:NAMED]:
            self._note(f"left out: {name}: {why}")
        if len(fresh) > NAMED:
            self._note(f"left out: {len(fresh) - NAMED} more rows that cannot be read")
        self.unreadable |= {place: why for place, _, why in rows}


def _in_order(candidates: Sequence[Candidate], *, room: float) -> list[Candidate]:
    """candidates: those on this machine first, of these and of the others the cheapest first.

    room: bytes that may be downloaded for the strongest one.
    """
    here = [candidate for candidate in candidates if candidate.source != "hub"]
    fitting = here or [one for one in candidates if BYTES_A_PARAMETER * one.parameters <= room]
    strongest = max(
        (one for one in fitting if one != candidates[0]), key=lambda candidate: candidate.prior, default=None
    )
    return [*candidates[:1], *sorted(candidates[1:], key=lambda candidate: candidate is not strongest)]
