"""The floor: what can be had without any network. A model that does not beat it is not worth its passes.

A bag of words is more than a floor: it is a model on the shelf like any other, alone where backbones know little of the
language, and with a share in a mixture where it knows something that they do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from autotl.data.task import Task
from autotl.errors import TrialError
from autotl.events import BAG_OF_WORDS_NUMBER, HEAD_STRATEGY, Event
from autotl.plugins.contracts import TEXTUAL, Candidate
from autotl.predictor import metrics
from autotl.search.incumbent import Judged
from autotl.search.judging import Subject
from autotl.search.line import Message
from autotl.search.pace import Pace
from autotl.search.session import Session
from autotl.search.space import TrialConfig
from autotl.zoo.words import BAG_OF_WORDS, rows_in_memory, seconds_of_words

#: The share of what is left that it may cost: a second or two of a minute for what may be the answer.
SHARE = 0.04

#: However long the budget is: until then there is no model on disk, and 60,000 texts say most of what more would.
MOST_SECONDS = 30.0

#: The same where no network comes to train on all rows: of long texts a bag of words of all may be the best that can be
#: had. Not for less than twice the rows that it has seen.
FURTHER_SHARE, WORTH = 0.15, 2.0

#: And more where they come to less than a quarter. 56,386 docstrings of fourteen packages, three minutes: a training of
#: 95 s saw 3300 of them and had 0.776 of the validation rows, the bag of words of 30,000 0.864.
LARGER_SHARE, SMALL_PART = 0.35, 0.25

#: Where no training fits at all, it has what is left for less: 17 of 60 s were not used.
LAST_SHARE = 0.6

#: And so many times its share before it is given up: where a machine is slower than was reckoned, what still fits is
#: not thrown away.
LATE = 1.3

#: The larger share is for a bag of words that won so much of what the best model wins over one answer for all: of pairs
#: that only the order of words tells apart, more rows would teach it nothing.
KEEPS_UP = 0.9

#: Seconds by forecast, of which less says nothing of a machine's speed.
LEAST_TOLD = 0.5

#: Fewer rows would make a floor that is none.
FEWEST_ROWS = 500

#: Of the model's folder.
NAME = "words"


class Floor:
    """Says what one answer for all gets, and offers a bag of words where the inputs are texts."""

    def __init__(self, session: Session, task: Task, targets: np.ndarray, *, words: float, contends: bool) -> None:
        """targets ``[kept, …]``. words: of a text, where inputs are such. contends: whether a bag of words may be the
        answer; else it is only scored.
        """
        self._dialogue, self._judge = session.dialogue, session.judge
        self._pace, self._events = session.pace, session.events
        self._costs, self._task, self._targets = session.costs, task, targets
        self._textual = task.modality in TEXTUAL
        self._contends = contends and self._textual
        self._words_a_row = words
        self._majority = math.nan  #: what one answer for all gets
        self._words: float | None = None
        self._learned_from = 0  #: rows
        self._slower = 1.0  #: than is reckoned, as far as this machine was seen to be

    def take_up(self, known: Event, train: np.ndarray, valid: np.ndarray) -> None:
        """What an earlier process measured. known: its last event of that."""
        self._majority, self._words = known.data["majority"], known.data["words"]
        if self._majority is None:
            self._majority = math.nan
        models = [model for model in self._judge.models if model.judged.trial == BAG_OF_WORDS_NUMBER]
        self._learned_from = max((model.training_rows for model in models), default=0)
        self._learn_refit(train, valid)

    def measure(self, train: np.ndarray, valid: np.ndarray) -> None:
        """train, valid ``[rows] int64``: positions in `targets`. Raises `OutOfTime`."""
        same = self._task.rules.constant(self._targets[train], len(self._task.outputs))
        self._majority = metrics.score_if_any(self._task, self._targets[valid], np.tile(same, (len(valid), 1)))
        if not self._task.rules.exclusive and self._task.metric == self._task.rules.ranks_by:
            # rows that are few have another mean than those that train, and all rows alike have no order
            self._majority = max(self._majority, self._task.rules.guess(self._targets[valid]))
        if self._textual and (rows := self._affordable_rows(self._pace, len(train), SHARE, MOST_SECONDS)):
            self._learn(rows, silence=self._pace.silence(self._seconds(rows)))
            self._learn_refit(train, valid)
        self._tell()

    def _tell(self) -> None:
        # a metric of somebody else's may have no score for one answer to all, as correlations do
        majority = self._majority if math.isfinite(self._majority) else None
        self._events.emit("floor", majority=majority, words=self._words)

    def _learn_refit(self, train: np.ndarray, valid: np.ndarray) -> None:
        """What a model of all rows takes.

        None is made where memory holds no more rows than it saw, nor for the few that validate where a table is large,
        as trainings are not repeated for these.
        """
        if not self._learned_from:
            return
        most = self._most(len(train) + len(valid))
        few = self._learned_from >= self._most(len(train)) and not self._pace.refits_trainings
        worthless = few or self._learned_from >= most
        self._pace.durations.learn_refit(BAG_OF_WORDS.key, math.inf if worthless else self._seconds(most))

    def go_on(
        self, survivors: Sequence[Candidate], train: np.ndarray, valid: np.ndarray, *, share: float = FURTHER_SHARE
    ) -> None:
        """Learns from more of the training rows, where no network comes to pass them all. Raises `OutOfTime`.

        share: of what is left, that it may take.
        """
        share = self._further_share(self._pace, survivors, len(train), share)
        if rows := self._further_rows(self._pace, len(train), share, learned=self._learned_from):
            silence = LATE * share * self._pace.seconds_to_the_end()
            self._learn(rows, silence=silence + self._pace.judging_seconds(BAG_OF_WORDS.key))
            self._learn_refit(train, valid)
            self._tell()

    def seconds_to_go_on(self, pace: Pace, survivors: Sequence[Candidate], train: int) -> float:
        """What that would take a search of another pace, which has learned from as many rows first as it affords."""
        learned = self._affordable_rows(pace, train, SHARE, MOST_SECONDS)
        share = self._further_share(pace, survivors, train, FURTHER_SHARE)
        return self._seconds(self._further_rows(pace, train, share, learned=learned))

    def _further_share(self, pace: Pace, survivors: Sequence[Candidate], train: int, share: float) -> float:
        """Of what is left, that more rows may take: `share`, or more; 0 where they would not be worth it."""
        passes = max((pace.passes(one.key, train) for one in survivors), default=0.0)
        if self._words is None or not self._contends or passes >= 1:
            return 0.0
        best, noise = self._judge.best, self._judge.noise
        guess = self._majority if math.isfinite(self._majority) else -math.inf
        if self._words <= guess + noise:
            return 0.0
        keeps_up = best is None or not self._words - guess < KEEPS_UP * (best.score - guess)
        return max(share, LARGER_SHARE) if keeps_up and passes < SMALL_PART else share

    def _further_rows(self, pace: Pace, train: int, share: float, *, learned: int) -> int:
        """Of so many to train on, 0 where the model of the `learned` ones stays."""
        rows = self._affordable_rows(pace, train, share, math.inf) if share else 0
        return rows if 0 < WORTH * learned <= rows else 0

    def _seconds(self, rows: int) -> float:
        return self._slower * seconds_of_words(rows, len(self._task.outputs), self._words_a_row)

    def _most(self, rows: int) -> int:
        """As many of so many as memory holds."""
        return min(rows, rows_in_memory(self._words_a_row))

    def _learn(self, rows: int, *, silence: float) -> None:
        """silence: seconds after which it is given up, where there is a budget."""
        silence = silence if self._pace.limited else math.inf
        try:
            self._dialogue.words(name=NAME, most_rows=rows, hearer=self._hear, silence=silence)
        except TrialError as error:
            what = "the bag of words stays that of fewer rows" if self._learned_from else "no bag of words"
            self._events.emit("note", text=f"{what} ({error})")

    def _hear(self, offer: Message) -> Message:
        self._learned_from = offer["training_rows"]
        reckoned = seconds_of_words(self._learned_from, len(self._task.outputs), self._words_a_row)
        self._slower = max(offer["details"]["fitting"] / max(reckoned, LEAST_TOLD), 1.0)
        if not self._contends:
            self._words = offer["score"]
            return {"do": "answer", "keep": False, "go_on": False}
        latency = offer["details"]["latency"]
        self._costs.learn_latency(BAG_OF_WORDS.key, latency)

        def tell(judged: Judged) -> bool:
            self._words = judged.score
            self._events.emit(
                "head", trial=BAG_OF_WORDS_NUMBER, score=judged.score, backbone=BAG_OF_WORDS.key, latency=latency
            )
            return True

        subject = Subject(BAG_OF_WORDS_NUMBER, BAG_OF_WORDS, TrialConfig(BAG_OF_WORDS.key, HEAD_STRATEGY, {}))
        return self._judge.hear(offer, subject, tell)

    def _affordable_rows(self, pace: Pace, rows: int, share: float, most: float) -> int:
        """How many of so many training rows a bag of words can be learned from; 0 for too few.

        share: of what is left, that it may take. most: seconds.
        """
        rows = self._most(rows)
        if pace.limited:
            seconds = min(share * pace.seconds_to_the_end(), most)
            affordable = int(seconds / self._seconds(1))
            return min(rows, affordable) if affordable >= min(FEWEST_ROWS, rows) else 0
        return rows
