"""The finished models of a run: their answers, their weights while they may be needed, and the bundle made of them."""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autotl.data.groups import groups_among
from autotl.data.task import Task
from autotl.events import BAG_OF_WORDS_NUMBER
from autotl.files import write_durably
from autotl.predictor import metrics
from autotl.predictor.answers import SUFFIX, as_bytes, read_answers
from autotl.predictor.bundle import BUNDLE_FOLDER, BundleCard, Member, commit
from autotl.predictor.combination import Decision, decide
from autotl.runs.folder import TEACHER_FOLDER, TRIALS_FOLDER
from autotl.search.costs import Costs
from autotl.search.disk import Disk
from autotl.search.incumbent import Judged
from autotl.search.space import TrialConfig
from autotl.untrusted import is_plain_name, read_object, refuse_links

#: Trials and heads whose weights stay on disk: greedy selection rarely gives more than these a share. Views of a model
#: share its weights' room.
KEPT = 8

#: The power of the rows by which errors fall: 0.07 to 0.35 over the tasks of Hestness et al. (2017), and near the upper
#: end of these here, as it only says how high a score may be. Reckoned afterwards from what 30 searches had said, some
#: with a part taken out, their intervals are 0.8 points longer with it, and 26 of them hold what came, not 24.
_LEARNING = 0.3

#: Models without weights that still tell how much better the best of many looks. Whenever another one is judged, each
#: has its temperature fitted and is scored on forty halves, and in a day there are hundreds.
MOST_COMPARED = 50


@dataclass(frozen=True)
class Answer:
    """What the bundle is made of now."""

    card: BundleCard
    decision: Decision
    shares: Mapping[int, float]  #: of each trial, views together
    single_latency: float  #: seconds a row of the best model alone
    folders: Sequence[str]  #: of the trials that have a share, the largest first


@dataclass(frozen=True)
class Model:
    """A model that was judged; `weights` is its folder in that of its trial, None once it was taken away."""

    name: str  #: of its trial's folder, with an ending for a view of the model
    trial_folder: str
    judged: Judged
    member: Member
    weights: Path | None
    training_rows: int
    refit: bool = False  #: whether `weights` were trained on the validation rows too, after these had judged it
    folds: int = 1  #: parts of the table that judged it, all but the first by twins fitted to the other rows
    made: float = 1.0  #: of the passes that its settings say, where a training had less or more time

    @property
    def finished(self) -> bool:
        return self.judged.finished

    @property
    def hurried(self) -> bool:
        return self.judged.hurried

    @property
    def is_view(self) -> bool:
        """Whether it is a trial's model before another view of the rows."""
        return self.name != self.trial_folder

    @property
    def config(self) -> TrialConfig:
        """What it was made by; a head's says nothing that matters."""
        return TrialConfig(self.member.backbone, self.member.strategy, self.member.settings)


@dataclass(frozen=True)
class _Verdict:
    """What an answer is made of, before it is written."""

    decision: Decision
    members: list[Model]  #: the largest share first
    card: BundleCard


class Shelf:
    """Everything is on disk too, in a folder a model: a resumed run finds what it had."""

    def __init__(
        self, folder: Path, disk: Disk, task: Task, targets: np.ndarray, costs: Costs, versions: Mapping[str, str]
    ) -> None:
        """folder: of the run. targets ``[table rows, …]``, indexed by `Judged.valid`."""
        self._disk = disk
        self._needed: set[str] = set()  #: models that the answer is made of, or may be in a moment
        self._trials, self._bundle, self._teacher = (
            folder / TRIALS_FOLDER,
            folder / BUNDLE_FOLDER,
            folder / TEACHER_FOLDER,
        )
        self._task, self._targets, self._costs, self._versions = task, targets, costs, versions
        self.groups: np.ndarray | None = None  #: ``[table rows] int64``, where rows of one are alike
        self._models: dict[str, Model] = {}

    def restore(self) -> list[Judged]:
        """Finds the models of an earlier process.

        Returns those that may be the answer and have weights: a bag of words, then heads, each of fewer rows before the
        other of its backbone, then by trial.
        """
        for file in sorted(self._trials.glob("*/*.json")):
            try:
                known = read_object(file)
                valid, answers = read_answers(
                    file.with_suffix(SUFFIX), rows=len(self._targets), outputs=len(self._task.outputs)
                )
                judged = Judged(known["trial"], known["permille"], known["score"], valid, answers)
                member, there = Member.model_validate(known["member"]), self._weights(file.parent, known["weights"])
                rows, refit = known["training_rows"], known["refit"]
                folds, made = int(known.get("folds", 1)), float(known.get("made", 1.0))  # older runs have none
                model = Model(file.stem, file.parent.name, judged, member, there, rows, refit, folds, made)
            except (OSError, ValueError, KeyError, TypeError):  # a kill came between two files; the trial is run again
                continue
            self._models[model.name] = model
        found = [
            (not model.judged.is_head, trial != BAG_OF_WORDS_NUMBER, abs(trial), model.training_rows, model.name)
            for model in self._models.values()
            if model.weights and not model.is_view and self.may_answer(model.member.backbone)
            for trial in [model.judged.trial]
        ]
        return [self._models[name].judged for *_, name in sorted(found)]

    @staticmethod
    def _weights(folder: Path, name: str) -> Path | None:
        """A folder of weights in that of its trial, whole and nowhere else; None where there is none."""
        if not is_plain_name(name) or not (folder / name).is_dir():
            return None
        try:
            refuse_links(folder / name)
        except ValueError:
            return None
        return folder / name

    def put(self, model: Model) -> None:
        """Takes a model whose weights are on disk, in the place of an earlier state of the same trial."""
        earlier = self._models.get(model.name)
        self._keep(model)
        if earlier and earlier.weights != model.weights:
            shutil.rmtree(earlier.weights or "", ignore_errors=True)

    def refit(self, model: Model, weights: Path, training_rows: int) -> None:
        """Other weights for a model of the answer, trained on all rows; what it was judged by stays."""
        self._keep(replace(model, weights=weights, training_rows=training_rows, refit=True))
        shutil.rmtree(model.weights or "", ignore_errors=True)

    def judge_by_more(self, model: Model, judged: Judged, folds: int) -> None:
        """What its twins answered to the other parts of the table is taken for its own."""
        self._keep(replace(model, judged=judged, folds=folds))

    def _keep(self, model: Model) -> None:
        self._models[model.name] = model
        self._needed.add(model.name)
        judged, place = model.judged, self.place(model.trial_folder)
        answers = as_bytes(judged.valid, judged.answers)
        self._disk.keep(lambda: write_durably(place / f"{model.name}{SUFFIX}", answers))
        known = {
            "trial": judged.trial,
            "permille": judged.permille,
            "score": judged.score,
            "weights": model.weights.name if model.weights else "",
            "training_rows": model.training_rows,
            "refit": model.refit,
            "folds": model.folds,
            "made": model.made,
            "member": model.member.model_dump(),
        }
        self._disk.keep(lambda: write_durably(place / f"{model.name}.json", json.dumps(known, indent=1)))

    @property
    def models(self) -> list[Model]:
        """All that were judged."""
        return list(self._models.values())

    def entries(self, trial_folder: str) -> list[Model]:
        """A trial's model, and itself before each other view of the rows."""
        found = [model for model in self._models.values() if model.trial_folder == trial_folder]
        return sorted(found, key=lambda model: model.name)

    def place(self, trial_folder: str) -> Path:
        """Where the weights of a trial's models are."""
        return self._trials / trial_folder

    def may_answer(self, backbone: str) -> bool:
        """Whether a model of this backbone keeps the limits; another can be a teacher at most."""
        return self._costs.allow([backbone])

    def answer(self, best: Judged) -> Answer:
        """Makes the bundle of the model `best`, or of a mixture that is better, and lets go of what nobody needs."""
        models = [model for model in self._models.values() if self.may_answer(model.member.backbone)]
        single = next(model for model in models if model.judged is best)
        verdict = self._decide(models, best)
        if not self._keeps_limits(verdict):
            verdict = self._decide(models, best, alone=True)
        self._needed = {model.name for model in verdict.members} | {single.name}
        self._commit(self._bundle, verdict)
        self._make_room()
        shares: dict[int, float] = {}
        for model, member in zip(verdict.members, verdict.card.members, strict=True):
            number = model.judged.trial
            shares[number] = shares.get(number, 0.0) + member.share
        folders = list(dict.fromkeys(model.trial_folder for model in verdict.members))
        latency = self._costs.latency([single.member.backbone])
        return Answer(verdict.card, verdict.decision, shares, latency, folders)

    def _keeps_limits(self, verdict: _Verdict) -> bool:
        networks = {model.trial_folder: model.member.backbone for model in verdict.members}
        return self._costs.allow([model.member.backbone for model in verdict.members], list(networks.values()))

    def teacher(self) -> Path | None:
        """Makes a bundle of the best answer without limits, for others to learn from; None where it keeps them."""
        # what was refitted before a run was resumed has learned from the rows that are to judge the students
        models = [model for model in self._models.values() if not (model.refit or model.hurried)]
        usable = [model for model in models if model.weights is not None]
        if not usable:
            return None
        verdict = self._decide(models, max(usable, key=lambda model: model.judged.score).judged)
        if self._keeps_limits(verdict):
            return None
        self._commit(self._teacher, verdict)
        return self._teacher

    def _decide(self, known: Sequence[Model], best: Judged, *, alone: bool = False) -> _Verdict:
        """Among those of the `known` models that as many rows judged as the best one.

        alone: whether it must be the answer by itself.
        """
        folds = next(model.folds for model in known if model.judged is best)
        chosen_among = len({model.judged.trial for model in known})
        known = _in_the_running(known, best)
        models = [model for model in known if model.folds >= folds]
        rows, decision = self._mix(models, best, alone=alone)
        if len(models) < len(known):  # it was chosen among all by a part of these rows
            before, choice = self._mix(known, best, alone=alone)
            decision = decision.less(choice.optimism * len(before) / len(rows))
        task, targets = self._task, self._targets[rows]
        order = _by_share(decision)
        members = tuple(
            models[i].member.model_copy(
                update={
                    "share": round(float(decision.combination.shares[i]), 6),
                    "temperature": float(decision.combination.temperatures[i]),
                }
            )
            for i in order
        )
        groups = groups_among(self.groups, rows)
        low, high = metrics.interval(task, targets, decision.answers, groups)
        card = BundleCard(
            weights=self._weights_name([models[i] for i in order]),
            task=task,
            members=members,
            temperature=decision.combination.temperature,
            score=decision.score,
            optimism=decision.optimism,
            standard_error=metrics.standard_error(task, targets, decision.answers, groups),
            interval=(low - decision.optimism, self._highest(high, [models[i] for i in order], rows)),
            calibration=task.rules.calibrate(task, targets, decision.answers, groups),
            chosen_among=chosen_among,
            validation_rows=len(rows),
            folds=folds,
            training_rows=min(models[i].training_rows for i in order),
            refit=any(models[i].refit for i in order),
            latency=self._costs.latency([member.backbone for member in members]),
            versions=dict(self._versions),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        return _Verdict(decision, [models[i] for i in order], card)

    def _highest(self, high: float, members: Sequence[Model], rows: np.ndarray) -> float:
        """Of what the answer may score, given the upper end of its interval on the rows that judged it.

        The optimism is an estimate, and is not taken off here. What was refitted has learned from these rows since.
        """
        after, judged = min(model.training_rows for model in members), len(rows) / members[0].folds
        up_to_one = 0 <= high <= 1 and not self._task.metric.startswith("neg_")
        if not (up_to_one and judged < after and all(model.refit for model in members)):
            return high
        error: float = (1 - judged / after) ** _LEARNING  # that is left, of what it was
        return 1 - (1 - high) * error

    def _mix(self, models: Sequence[Model], best: Judged, *, alone: bool) -> tuple[np.ndarray, Decision]:
        """The rows that judged all of these models, and what these say."""
        rows = best.valid
        for model in models:
            rows = np.intersect1d(rows, model.judged.valid)
        each = np.stack([model.judged.answers[np.searchsorted(model.judged.valid, rows)] for model in models])
        chosen = next(i for i, model in enumerate(models) if model.judged is best)
        usable = np.array([model.weights is not None for model in models])
        if alone:
            usable = np.arange(len(models)) == chosen
        return rows, decide(self._task, self._targets[rows], each, chosen, usable, groups_among(self.groups, rows))

    def _commit(self, folder: Path, verdict: _Verdict) -> None:
        sources = {model.name: model.weights for model in verdict.members if model.weights}
        self._disk.keep(lambda: commit(folder, sources, verdict.card))

    @staticmethod
    def _weights_name(models: list[Model]) -> str:
        """Another one for other weights: a search that is resumed may write a head again."""
        folders = [model.weights for model in models if model.weights]
        written = [f"{folder.name} {folder.stat().st_mtime_ns}" for folder in folders]
        digest = hashlib.sha256(" ".join(written).encode()).hexdigest()[:8]
        return f"{folders[0].name if len(folders) == 1 else 'mean'}-{digest}"

    def give_way(self) -> None:
        """Removes the weights of all models outside the answer."""
        self._take_away(self._needed)

    def _take_away(self, keep: Set[str]) -> None:
        """The weights of all models but these."""
        for model in self.models:
            if model.weights and model.name not in keep:
                shutil.rmtree(model.weights, ignore_errors=True)
                self._models[model.name] = replace(model, weights=None)

    def _make_room(self) -> None:
        """Takes away the weights of all but the best models and the answer's, and what failed trials left."""
        needed = {self._models[name].trial_folder for name in self._needed}
        usable = sorted((model for model in self.models if model.weights), key=lambda model: -model.judged.score)
        others = [model.trial_folder for model in usable if model.trial_folder not in needed]
        kept = {*needed, *list(dict.fromkeys(others))[: max(KEPT - len(needed), 0)]}
        self._take_away({model.name for model in usable if model.trial_folder in kept})
        known = {model.trial_folder for model in self._models.values()}
        for folder in self._trials.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


def _in_the_running(models: Sequence[Model], best: Judged) -> list[Model]:
    """Those with weights, the best one, and of the others, that tell what luck does, the first `MOST_COMPARED`."""
    models = [model for model in models if not model.hurried or model.judged is best]
    others = [model for model in models if model.weights is None and model.judged is not best]
    far = {id(model) for model in sorted(others, key=lambda model: -model.judged.score)[MOST_COMPARED:]}
    return [model for model in models if id(model) not in far]


def _by_share(decision: Decision) -> list[int]:
    """The models that have a share, the largest first."""
    shares = decision.combination.shares
    return [int(i) for i in np.argsort(-shares, kind="stable") if shares[i]]
