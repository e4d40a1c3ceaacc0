"""What the worker keeps from one request to the next, and what it can do with it."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autotl.budget import Clock
from autotl.config import cache_folder
from autotl.data.task import Task
from autotl.errors import DivergedError, TrialError
from autotl.features.bag_of_words import WordsFamily
from autotl.features.device import best_device
from autotl.features.frozen import FrozenBackbone
from autotl.features.heads import LinearHead, balanced, choose_and_fit, ridge_leave_one_out
from autotl.features.memory import limit_memory
from autotl.features.store import FeatureStore
from autotl.features.words import learn_words
from autotl.kinds.mixing import activated
from autotl.plugins.contracts import Candidate, Recipe, Value, ViewingEncoder, Work
from autotl.plugins.manager import plugins
from autotl.predictor import metrics
from autotl.predictor.predictor import Predictor
from autotl.runs.folder import TRIALS_FOLDER
from autotl.search.copies import copies
from autotl.search.fitting import fit
from autotl.search.line import Fitting, Message, WorkerEnd
from autotl.search.looks import ROWS_A_LOOK, Looks
from autotl.search.model_files import ModelFiles
from autotl.training.checkpoint import go_on_from
from autotl.training.forecast import forecast
from autotl.training.model import Classifier
from autotl.training.rungs import END, LATE
from autotl.training.settings import Settings
from autotl.training.trial import ProbeHeads, Trial
from autotl.zoo.words import BAG_OF_WORDS, mean_words, rows_in_memory, seconds_of_words

logger = logging.getLogger(__name__)  # the worker's, which ends in the run's worker.log

#: Rows that second opinions are formed on: they are asked about in the contract as taking about a second.
ROWS_OF_AN_OPINION = 2000

#: Of looking through a backbone once more, where the worker that did so has died; what it saw is in the store.
SECONDS_AGAIN = 2.0

#: Rows a class below which a screening score would be noise. In all `looks.FEWEST_ROWS` are enough: 113 classes used to
#: keep a busy machine from the first answer of a network for a minute.
FEWEST_ROWS_A_CLASS = 20

#: How far the head of a backbone has come that was in a hurry: it makes way for the one of all rows.
HURRIED = 500


@dataclass(frozen=True)
class _Fold:
    """Rows to fit to, rows to validate on, and the linear heads that were fitted so far."""

    train: np.ndarray
    valid: np.ndarray
    probes: ProbeHeads


class Workbench:
    """The rows, the split, and every backbone that was looked through."""

    def __init__(
        self, line: WorkerEnd, *, task: Message, targets: np.ndarray, weights: np.ndarray | None, seed: int,
        folder: str, teacher: str | None, max_memory: int | None, max_disk: int | None, cells: list[Any],
        row_names: list[str], seconds: float, skip_limit: float, found_by: str, **split: Any,
    ) -> None:  # fmt: skip
        """seconds: of the whole search. split: as the method of that name takes it. The rest as `Looks` has it."""
        self._line = line
        self._task = Task.model_validate(task)
        self._targets = np.asarray(targets, self._task.rules.dtype)
        self._strata = self._task.rules.strata(self._targets)
        self._weights = None if weights is None else np.asarray(weights, np.float32)
        self._seed, self._folder = seed, Path(folder)
        self._teacher = Path(teacher) if teacher else None
        self.device = best_device()
        if self.device.type != "cpu":
            torch.set_float32_matmul_precision("high")  # TF32, which convolutions have there by default
        limit_memory(max_memory)
        self._store = FeatureStore(cache_folder(), run=self._folder, max_disk=max_disk)
        self._models = ModelFiles(self._store, self._ask_for_room, self.device)
        self._looks = Looks(
            cells, row_names, modality=self._task.modality, device=self.device, store=self._store, seconds=seconds,
            skip_limit=skip_limit, found_by=found_by,
        )  # fmt: skip
        self.split(**split)

    def split(
        self, *, train: list[int], valid: list[int], in_turn: list[list[int]], groups: list[int] | None
    ) -> Message:
        """Settles which rows train and which validate; before any backbone has looked at them."""
        random = np.random.default_rng(self._seed)
        # in random order, so that any beginning is a fair sample
        learning, judging = random.permutation(np.array(train, np.int64)), np.array(valid, np.int64)
        self._groups = None if groups is None else np.array(groups, np.int64)
        everything = random.permutation(np.concatenate([learning, judging]))
        self._looks.train = learning
        self._holdout, self._everything = self._fold(learning, judging), self._fold(everything, judging)
        parts = [np.array(part, np.int64) for part in in_turn]
        self._in_turn = [self._fold(everything[~np.isin(everything, part)], part) for part in parts]
        return {}

    def _fold(self, train: np.ndarray, valid: np.ndarray) -> _Fold:
        return _Fold(
            train, valid, ProbeHeads(self._task, self._targets, train, self._seed, self._weights, self._groups)
        )

    def alike(self, *, candidate: Message, test: list[Any], seconds: float) -> Message:
        """As `copies` has it; images are decoded for the backbone that looks at them first, which then has them."""
        rows = self._look_through(candidate).rows
        self._line.say("loaded")
        classes = self._strata if self._task.rules.exclusive else None
        clock = Clock(seconds)
        found = copies(rows, rows.beside(test), classes, seed=self._seed, clock=clock)
        self._store.flush()
        return found

    def screen(
        self, *, candidate: Message, seconds: float, most_rows: int | None, opinions: bool, needed: bool
    ) -> Message:
        """How well a ridge head does on the features of as many training rows as the seconds allow.

        most_rows: a limit to them, where there is one. opinions: whether screeners are asked too. Raises `TrialError`
        for a backbone that is too slow for that, unless it is `needed`.
        """
        frozen = self._look_through(candidate)
        self._line.say("loaded")
        if not needed:
            self._looks.refuse_too_slow(frozen, seconds, fewest=self._fewest_rows)
        seen = self._see(frozen, seconds, most_rows)
        groups = self._groups_of(seen)
        ridge = ridge_leave_one_out(self._task, frozen.layers(seen), self._targets[seen], groups)
        # screeners know no groups: of each they see one row
        apart = seen if groups is None else seen[np.sort(np.unique(groups, return_index=True)[1])]
        return {
            "ridge_score": ridge.score,
            "metric": self._task.ranks_by,
            "opinions": self._opinions(frozen.features(apart), self._strata[apart]) if opinions else {},
            "rows": len(seen),
            "features": frozen.layered.width,
            "stages": frozen.last,
            "bytes_a_row": float(np.mean([row.nbytes for row in frozen.rows.gather(seen[:ROWS_A_LOOK])])),
            "seconds_a_row": frozen.seconds_a_row,
            "exact_seconds_a_row": frozen.exact_seconds_a_row,
            "reading_seconds_a_row": self._looks.seconds_a_row(frozen) - frozen.seconds_a_row,
            "latency": frozen.latency(self._looks.cells[int(seen[0])]),
            "precision": str(frozen.precision),
            "longest": frozen.rows.encoder.longest,
            "cut": self._looks.count_cut(frozen),
            "unreadable": self._looks.unreadable(frozen),
        }

    def forget(self, *, but: list[str]) -> Message:
        """Lets go of networks that nobody will train."""
        self._looks.forget(set(but))
        return {}

    def words(self, *, name: str, most_rows: int) -> Message:
        """Offers a bag of words, learned from the first `most_rows` training rows, as a model of its own."""
        rows = self._holdout.train[:most_rows]
        began = time.monotonic()
        model, frozen, count = self._bag_of_words(rows)
        fitting = time.monotonic() - began
        latency = frozen.latency(self._looks.cells[int(rows[0])])
        self._judge(
            model, frozen, permille=1000, name=name, training_rows=count,
            details={"latency": latency, "fitting": fitting},
        )  # fmt: skip
        return {}

    def _bag_of_words(self, rows: np.ndarray) -> tuple[Classifier, FrozenBackbone, int]:
        """Of these rows, or of the first that find room: a model, what reads for it, and how many they were."""
        rows = rows[: rows_in_memory(mean_words(self._looks.cells))]
        cells, weights = [self._looks.cells[index] for index in rows], self._weights
        learned = learn_words(
            self._task, cells, self._targets[rows], seed=self._seed, weights=None if weights is None else weights[rows],
            groups=self._groups_of(rows),
        )  # fmt: skip
        family, passing = WordsFamily(learned), FeatureStore(None)  # as wide as a vocabulary: nothing to keep
        encoder = family.encoder(BAG_OF_WORDS, [])
        frozen = FrozenBackbone(
            BAG_OF_WORDS, family, self._looks.encoded(encoder, passing), device=self.device, speeds=self._looks.speeds,
            store=passing,
        )  # fmt: skip
        model = Classifier(frozen.backbone, self._for_the_metric(learned.head, rows)).to(self.device)
        return model, frozen, len(rows)

    def _groups_of(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self._groups is None else self._groups[rows]

    @property
    def _fewest_rows(self) -> int:
        return FEWEST_ROWS_A_CLASS * (int(self._strata.max()) + 1)

    def _see(self, frozen: FrozenBackbone, seconds: float, most_rows: int | None) -> np.ndarray:
        """The training rows that a backbone has seen when it has looked for so long, or at so many."""
        most = len(self._holdout.train) if most_rows is None else max(most_rows, self._fewest_rows)
        return self._looks.see(frozen, seconds, most, fewest=self._fewest_rows)

    def _opinions(self, features: np.ndarray, strata: np.ndarray) -> dict[str, float]:
        """What each screener says; one that fails, or says nothing finite, is left out."""
        found, count = {}, int(self._strata.max()) + 1
        for screener in plugins().screeners:
            try:
                opinion = float(screener.score(features[:ROWS_OF_AN_OPINION], strata[:ROWS_OF_AN_OPINION], count))
            except Exception as error:  # a foreign plugin may fail in any way, and must cost its word only
                logger.warning("screener %s has no opinion (%s: %s)", screener.name, type(error).__name__, error)
                continue
            if math.isfinite(opinion):
                found[screener.name] = opinion
        return found

    def head(self, *, candidate: Message, name: str, quick: bool, seconds: float, most_rows: int | None) -> Message:
        """Offers the linear head on the training rows, as far as the seconds reach, as a model of its own.

        most_rows: a limit to them, where there is one. quick: on those that screening saw, judged by some, as the first
        state of that model.
        """
        frozen = self._look_through(candidate)
        seen = self._looks.seen(frozen)[1] if quick else self._see(frozen, seconds, most_rows)
        began = time.monotonic()
        if self._looks.seen(frozen)[0] >= len(self._holdout.train) and not quick:
            _, head = self._holdout.probes.layered(frozen, seconds)
        else:
            features, targets = frozen.layers(seen), self._targets[seen]
            weights = None if self._weights is None else self._weights[seen]
            _, head = choose_and_fit(
                self._task, features, targets, self._seed, weights, self._groups_of(seen), seconds=seconds
            )
        self._judge(
            Classifier(frozen.layered, self._for_the_metric(head, seen)), frozen,
            permille=HURRIED if quick else 1000, name=name, training_rows=len(seen),
            details={"fitting": time.monotonic() - began}, judged_within=seconds if quick else None,
        )  # fmt: skip
        saw_all = self._looks.seen(frozen)[0] >= len(self._holdout.train)
        return {"saw_all": saw_all, "unreadable": self._looks.unreadable(frozen)}

    def _for_the_metric(self, head: LinearHead, rows: np.ndarray) -> LinearHead:
        """A head that was fitted to these rows, as the metric wants it."""
        weights = None if self._weights is None else self._weights[rows]
        return balanced(head, self._targets[rows], self._task.balance, weights)

    def forecast(self, *, candidate: Message, work: Message, views_agree: bool) -> Message:
        """What a trial will take.

        views_agree: as states are kept by how rows are augmented.
        """
        trial = self._prepare(candidate, Settings({}), number=0, clock=Clock(), views_agree=views_agree)
        return dataclasses.asdict(forecast(trial, Work(**work)))

    def trial(
        self, *, candidate: Message, strategy: str, settings: dict[str, Value], number: int, name: str,
        views_agree: bool, seconds: float, fill_time: bool, judged_on_the_way: bool, share: float,
        checkpoint: str | None, late_checkpoint: str | None,
    ) -> Message:  # fmt: skip
        """Fits one trial, asking at each rung whether to go on. Raises `TrialError` for one that cannot be used."""
        clock, given = Clock(seconds), Settings(settings)
        trial = self._prepare(candidate, given, number=number, clock=clock, views_agree=views_agree)
        trial.fill_time, trial.judged_on_the_way, trial.share = fill_time, judged_on_the_way, share
        if checkpoint and late_checkpoint:
            trial.checkpoint, trial.late_checkpoint = Path(checkpoint), Path(late_checkpoint)
        frozen = trial.frozen
        permille = 0
        try:
            for progress in fit(trial, strategy):
                given.check_all_read()
                permille = progress.permille
                if trial.model is None:
                    raise TrialError(f"strategy {strategy!r} made no model", kind="plugin")
                if permille < 1000 and not trial.judged_on_the_way:
                    continue
                answer = self._judge(
                    trial.model, frozen, permille=permille, name=name, training_rows=len(trial.train),
                    details=progress.details, made=trial.made,
                )  # fmt: skip
                if not answer["go_on"]:
                    break
                left = clock.elapsed + answer["seconds_left"]  # the engine knows better by now what judging takes
                clock.seconds = left if trial.fill_time else min(left, clock.seconds)
        finally:
            self._store.let_states_make_way()
        if not permille:
            raise TrialError(f"strategy {strategy!r} ended without a model", kind="plugin")
        return {"permille": permille, "seconds": clock.elapsed}

    def teach(self, *, teacher: str) -> Message:
        """From now on there is this bundle to learn from."""
        self._teacher = Path(teacher)
        return {}

    def refit(self, *, fitting: Message, seconds: float, late_checkpoint: str | None) -> Message:
        """Fits a finished model once more, with the validation rows too, and saves it and its views.

        A training repeats its last third, from its late checkpoint; what is solved for is fitted anew. Raises
        `TrialError` where there is nothing to start from. The score returned is that of rows that it was trained on.
        """
        wanted = Fitting(**fitting)
        model, frozen, rows = self._fit_again(wanted, self._everything, seconds, late_checkpoint)
        valid = self._looks.readable(frozen, self._holdout.valid)
        place = self._folder / TRIALS_FOLDER / wanted.name / f"{wanted.name}-refit"
        answers = self._answers(self._models.logits_from_disk(model, frozen, valid, place))
        views = list(enumerate(frozen.rows.encoder.views(), start=1))
        for number, encoder in views:
            self._models.save(model, frozen.seen_by(encoder), _view_place(place, number))
        return {
            "score": metrics.score(self._task, self._targets[valid], answers),
            "valid": valid,
            "weights": place.name,
            "views": [_view_place(place, number).name for number, _ in views],
            "training_rows": rows,
        }

    def validate(self, *, fitting: Message, part: int, seconds: float) -> Message:
        """What a finished model answers to a part of the rows when it is fitted anew to all others; and its views."""
        fold = self._in_turn[part]
        model, frozen, _ = self._fit_again(Fitting(**fitting), fold, seconds)
        valid = self._looks.readable(frozen, fold.valid)

        def answers(seen: FrozenBackbone) -> np.ndarray:
            return self._answers(self._models.logits(model, seen, valid))

        views = [answers(frozen.seen_by(encoder)) for encoder in frozen.rows.encoder.views()]
        return {"valid": valid, "answers": answers(frozen), "views": views}

    def _fit_again(
        self, wanted: Fitting, fold: _Fold, seconds: float, late_checkpoint: str | None = None
    ) -> tuple[Classifier, FrozenBackbone, int]:
        """A finished model's settings on the rows of a fold: the model, its backbone, and how many rows it saw."""
        if wanted.candidate is None:
            words = mean_words(self._looks.cells)
            rows = min(len(fold.train), rows_in_memory(words))
            if seconds < seconds_of_words(rows, len(self._task.outputs), words):
                raise TrialError("too little time is left", kind="time")
            return self._bag_of_words(fold.train)
        trial = self._prepare(
            wanted.candidate, Settings(wanted.settings), number=wanted.number, clock=Clock(seconds),
            views_agree=wanted.views_agree, fold=fold,
        )  # fmt: skip
        if wanted.head:
            trial.model = Classifier(trial.frozen.layered, self._for_the_metric(trial.layered_head(), trial.known))
            return trial.model, trial.frozen, len(trial.known)
        begins, ends, trial.judged_on_the_way, trial.share = -1.0, math.inf, False, wanted.made
        if late_checkpoint:
            begins = go_on_from(trial, Path(late_checkpoint), rest=END / LATE - 1)
        try:
            for progress in fit(trial, wanted.strategy):
                ends = progress.details.get("steps", math.inf)
        finally:
            self._store.let_states_make_way()
        if trial.model is None:
            raise TrialError(f"strategy {wanted.strategy!r} made no model", kind="plugin")
        if ends <= begins:
            raise TrialError("no time was left for a step", kind="time")
        return trial.model, trial.frozen, len(trial.train)

    def test(self, *, cells: list[Any], targets: np.ndarray, groups: np.ndarray | None) -> Message:
        """Scores the bundle on rows that nothing else has used."""
        predictor = Predictor(self._folder)
        answers = predictor.answers(cells).answers
        readable = ~np.isnan(answers[:, 0])
        if not readable.any():
            raise TrialError("none of them can be read", kind="data")
        truth = np.asarray(targets, self._task.rules.dtype)[readable]
        evaluation = predictor.judged(truth, answers[readable], None if groups is None else groups[readable])
        return {
            "metric": evaluation.metric,
            "score": evaluation.score,
            "interval": evaluation.interval,
            "rows": evaluation.rows,
            "unlearned": evaluation.unlearned,
            "left_out": int((~readable).sum()),
        }

    def _prepare(
        self, candidate: Message, settings: Settings, *, number: int, clock: Clock, views_agree: bool = True,
        fold: _Fold | None = None,
    ) -> Trial:  # fmt: skip
        """views_agree: whether other views mean the same. fold: other rows than those that trials see."""
        fold = fold or self._holdout
        frozen = self._look_through(candidate)
        if not views_agree and isinstance(encoder := frozen.rows.encoder, ViewingEncoder):
            frozen = frozen.seen_by(encoder.without_views())
        self._looks.see_again(frozen, SECONDS_AGAIN, fewest=self._fewest_rows)
        looked, seen = self._looks.seen(frozen)
        known = None
        if 0 < looked < len(self._holdout.train):  # and the rows that judged its head
            known = np.concatenate([seen, self._looks.readable(frozen, self._holdout.valid)])
            known = known[np.isin(known, fold.train)]
        return Trial(
            settings=settings,
            frozen=frozen,
            probes=fold.probes,
            train=self._looks.trainable(frozen, fold.train),
            targets=self._targets,
            task=self._task,
            seed=self._seed * 100_003 + max(number, 0),  # heads count downwards
            clock=clock,
            seen=known,
            teacher=self._teacher,
            weights=self._weights,
            groups=self._groups,
        )

    def _look_through(self, candidate: Message) -> FrozenBackbone:
        found = Candidate(**{**candidate, "recipe": Recipe(**candidate["recipe"])})
        return self._looks.through(found)

    def _judge(
        self, model: Classifier, frozen: FrozenBackbone, *, permille: int, name: str, training_rows: int,
        details: Mapping[str, float], judged_within: float | None = None, made: float = 1.0,
    ) -> Message:  # fmt: skip
        """Scores the model on the validation rows, saves it when it is finished or wanted, and returns the answer.

        The score of a finished model is that of the saved weights, read from the disk again. It also says what it
        answers to other views of the rows. judged_within: seconds for the rows that judge it. made: as `Trial` has it.
        """
        valid = self._holdout.valid
        if judged_within is not None:
            few = self._looks.some_of(valid, frozen, judged_within)
            valid = few if self._task.rules.can_score(self._task, self._task.metric, self._targets[few]) else valid
        valid = self._looks.readable(frozen, valid)
        began = time.monotonic()  # reading them happens once
        # a head that sees more rows the second time is another model, until it is known to be no worse
        place = self._folder / TRIALS_FOLDER / name / f"{name}-{permille:04d}-{training_rows}"
        finished = permille == 1000
        if finished:
            logits = self._models.logits_from_disk(model, frozen, valid, place)
        elif judged_within is not None:  # what passes for it is known to the head that follows
            logits = self._models.logits(model, frozen, valid)
        else:
            logits = model.logits(frozen.rows, valid, frozen.precision, self.device)
        answers = self._answers(logits)
        score = metrics.score(self._task, self._targets[valid], answers)
        if not math.isfinite(score):
            raise DivergedError(f"its {self._task.metric} on the validation rows is {score}")
        views = frozen.rows.encoder.views() if finished else ()
        offer = {
            "permille": permille,
            "score": score,
            "details": dict(details),
            "valid": valid,
            "answers": answers,
            "views": [
                self._view(model, frozen.seen_by(encoder), valid, place, number)
                for number, encoder in enumerate(views, start=1)
            ],
            "training_rows": training_rows,
            "made": made,
            "name": name,
            "weights": place.name,
        }
        self._line.say("judged", **offer, seconds=time.monotonic() - began)
        answer = self._line.receive()
        if answer["keep"]:
            self._models.save(model, frozen, place)
            self._line.say("saved", **offer)
            answer |= self._line.receive()
        return answer

    def _view(self, model: Classifier, frozen: FrozenBackbone, valid: np.ndarray, place: Path, number: int) -> Message:
        """The same model before rows batched in another way, as a model of its own."""
        weights = _view_place(place, number)
        answers = self._answers(self._models.logits_from_disk(model, frozen, valid, weights))
        return {"weights": weights.name, "answers": answers}

    def _ask_for_room(self) -> None:
        """Has the engine remove what the run can do without."""
        self._line.say("full")
        self._line.receive()

    def _answers(self, logits: np.ndarray) -> np.ndarray:
        outputs = len(self._task.outputs)
        if logits.shape[1:] != (outputs,):
            raise TrialError(
                f"the model answers with {list(logits.shape)} in place of [rows, {outputs}] logits", kind="plugin"
            )
        if not np.isfinite(logits).all():
            raise DivergedError("the model's outputs are not finite")
        return activated(logits, self._task.rules.activation)


def _view_place(place: Path, number: int) -> Path:
    """Where a model's weights lie for one of the other views of the rows."""
    return place.with_name(f"{place.name}-view{number}")
