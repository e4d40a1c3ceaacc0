"""The shelf keeps the weights that may be needed, the answers of all, and a whole bundle at every moment."""

from __future__ import annotations

import dataclasses
import importlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from autotl.budget import Clock
from autotl.config import Limits
from autotl.data.task import InputColumn, Task
from autotl.plugins.contracts import Candidate, Recipe
from autotl.predictor.bundle import Member, read_card
from autotl.predictor.combination import decide
from autotl.search.again import Again
from autotl.search.costs import Costs
from autotl.search.disk import Disk
from autotl.search.incumbent import Incumbent, Judged
from autotl.search.judging import Judge
from autotl.search.pace import Pace
from autotl.search.shelf import KEPT, MOST_COMPARED, Model, Shelf
from autotl.search.space import Space

LABELS = np.arange(300) % 3
NO_LIMITS = Limits()


@pytest.fixture
def task():
    column = InputColumn(name="text", modality="text")
    return Task(targets=("label",), kind="multiclass", classes=("a", "b", "c"), metric="accuracy", inputs=(column,))


@pytest.fixture
def shelf(tmp_path, task):
    return Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(), {"autotl": "0"})


def free(limits=NO_LIMITS):
    """What predictions cost: one backbone of 1000 parameters that takes 10 ms a row."""
    recipe = Recipe(learning_rate=1e-3)
    candidate = Candidate("b", "f", "text", "folder", "b", 1000, 8, 16, "none", 0.5, recipe)
    costs = Costs(limits, [candidate])
    costs.learn_latency("f/b", 0.01)
    return costs


def a_model(folder, number, *, noise=1.0, permille=1000, alike=False):
    """A model whose answers are the truth under noise, with weights on disk."""
    random = np.random.default_rng(0 if alike else number)
    logits = np.eye(3)[LABELS] + noise * random.normal(size=(300, 3))
    probabilities = (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype(np.float32)
    score = float((probabilities.argmax(1) == LABELS).mean())
    name = f"{number:04d}"
    weights = folder / "trials" / name / f"{name}-{permille:04d}"
    (weights / "backbone").mkdir(parents=True)
    (weights / "backbone" / "model.safetensors").write_text(f"weights {number} {permille}")
    member = Member(
        folder=name, family="f", backbone="f/b", licence="", strategy="probe", settings={}, trial=str(number)
    )
    return Model(name, name, Judged(number, permille, score, np.arange(300), probabilities), member, weights, 100)


def weights_on_disk(folder):
    return {path.parent.parent.parent.name for path in (folder / "trials").rglob("model.safetensors")}


def test_one_model_becomes_the_bundle(shelf, tmp_path):
    model = a_model(tmp_path, 0)
    shelf.put(model)
    answer = shelf.answer(model.judged)
    card, decision = answer.card, answer.decision
    assert read_card(tmp_path / "best") == card
    assert [member.share for member in card.members] == [1.0]
    assert decision.optimism == 0
    assert (
        tmp_path / "best" / card.weights / "0000" / "backbone" / "model.safetensors"
    ).read_text() == "weights 0 1000"


def test_a_better_mixture_becomes_the_bundle_with_all_its_members(shelf, tmp_path):
    models = [a_model(tmp_path, number) for number in range(3)]
    for model in models:
        shelf.put(model)
    card = shelf.answer(models[0].judged).card
    assert len(card.members) == 3
    assert card.chosen_among == 3
    shares = [member.share for member in card.members]
    assert shares == sorted(shares, reverse=True)
    for member in card.members:
        assert (tmp_path / "best" / card.weights / member.folder / "backbone" / "model.safetensors").is_file()
    assert [path.name for path in (tmp_path / "best").iterdir() if path.is_dir()] == [card.weights]


@pytest.mark.parametrize("limits", [Limits(latency=0.025), Limits(parameters=2500), Limits(size=4 * 2500)])
def test_a_mixture_that_breaks_a_limit_gives_way_to_the_best_model(tmp_path, task, limits):
    shelf = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(limits), {"autotl": "0"})
    models = [a_model(tmp_path, number) for number in range(3)]
    for model in models:
        shelf.put(model)
    answer = shelf.answer(models[0].judged)
    assert [member.trial for member in answer.card.members] == ["0"]
    assert answer.card.latency == answer.single_latency == 0.01


def test_a_mixture_that_breaks_a_limit_teaches(tmp_path, task):
    shelf = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(Limits(parameters=2500)), {"autotl": "0"})
    models = [a_model(tmp_path, number) for number in range(3)]
    for model in models:
        shelf.put(model)
    shelf.answer(models[0].judged)
    assert {member.trial for member in read_card(shelf.teacher()).members} == {"0", "1", "2"}
    assert len(read_card(tmp_path / "best").members) == 1


def test_what_was_refitted_does_not_teach(tmp_path, task):
    shelf = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(Limits(parameters=500)), {"autotl": "0"})
    models = [a_model(tmp_path, number) for number in range(2)]
    for model in models:
        shelf.put(dataclasses.replace(model, refit=model is models[0]))
    assert {member.trial for member in read_card(shelf.teacher()).members} == {"1"}
    shelf.put(dataclasses.replace(models[1], refit=True))
    assert shelf.teacher() is None


def test_nobody_teaches_where_the_best_answer_keeps_the_limits(shelf, tmp_path):
    models = [a_model(tmp_path, number) for number in range(3)]
    for model in models:
        shelf.put(model)
    shelf.answer(models[0].judged)
    assert shelf.teacher() is None
    assert not (tmp_path / "teacher").exists()


def test_a_model_that_breaks_the_limits_by_itself_teaches_and_is_no_part_of_the_answer(tmp_path, task):
    recipe = Recipe(learning_rate=1e-3)
    large = Candidate("large", "f", "text", "folder", "large", 9000, 8, 16, "none", 0.5, recipe)
    small = Candidate("b", "f", "text", "folder", "b", 1000, 8, 16, "none", 0.5, recipe)
    shelf = Shelf(
        tmp_path, Disk(tmp_path), task, LABELS, Costs(Limits(parameters=2500), [small, large]), {"autotl": "0"}
    )
    allowed, barred = a_model(tmp_path, 0, noise=2.0), a_model(tmp_path, 1, noise=0.3)
    barred = dataclasses.replace(barred, member=barred.member.model_copy(update={"backbone": "f/large"}))
    for model in (allowed, barred):
        shelf.put(model)
    card = shelf.answer(allowed.judged).card
    assert ([member.backbone for member in card.members], card.chosen_among) == (["f/b"], 1)
    assert read_card(shelf.teacher()).members[0].backbone == "f/large"
    again = Shelf(
        tmp_path, Disk(tmp_path), task, LABELS, Costs(Limits(parameters=2500), [small, large]), {"autotl": "0"}
    )
    assert [judged.trial for judged in again.restore()] == [0]


def test_refitted_weights_take_the_place_of_those_that_were_judged(shelf, tmp_path, task):
    model = a_model(tmp_path, 0)
    shelf.put(model)
    before = shelf.answer(model.judged).card
    fresh = model.weights.with_name("0000-refit")
    shutil.copytree(model.weights, fresh)
    (fresh / "backbone" / "model.safetensors").write_text("refitted")
    shelf.refit(shelf.entries("0000")[0], fresh, 400)
    after, (low, high) = shelf.answer(model.judged).card, before.interval
    assert (after.refit, after.training_rows) == (True, 400)
    # of its rows 300 judged it, so that it may be better by now than these let expect
    assert (after.score, after.interval) == (before.score, (low, pytest.approx(1 - (1 - high) * 0.25**0.3)))
    assert (tmp_path / "best" / after.weights / "0000" / "backbone" / "model.safetensors").read_text() == "refitted"
    assert not model.weights.exists()
    again = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(), {"autotl": "0"})
    again.restore()
    assert again.entries("0000")[0].refit


def test_weights_of_the_best_stay_and_of_what_the_answer_is_made_of(shelf, tmp_path):
    models = [a_model(tmp_path, number, noise=0.5 + number / 10, alike=True) for number in range(KEPT + 4)]
    for model in models:
        shelf.put(model)
    worst = models[-1]
    card = shelf.answer(worst.judged).card
    kept = weights_on_disk(tmp_path)
    assert worst.name in kept
    assert {member.folder for member in card.members} <= kept
    assert len(kept) <= KEPT + len(card.members)
    assert card.chosen_among == KEPT + 4


def test_models_of_the_answer_and_those_without_weights_take_no_place_of_others(shelf, tmp_path):
    def put(number):
        model = a_model(tmp_path, number, noise=0.5 + number / 10, alike=True)
        shelf.put(model)
        return model.judged

    *_, third = [put(number) for number in range(3)]
    shelf.answer(third)
    shelf.give_way()  # the disk is full for a moment
    for number in range(3, KEPT + 4):
        put(number)
    there = [model.name for model in shelf.models if model.weights]
    assert KEPT < len(there) < KEPT + 4
    shelf.answer(third)
    assert weights_on_disk(tmp_path) == set(there[:KEPT])


def test_a_later_state_of_a_trial_replaces_the_earlier(shelf, tmp_path):
    early, late = a_model(tmp_path, 5, permille=333), a_model(tmp_path, 5, noise=2.0)
    shelf.put(early)
    shelf.put(late)
    assert shelf.answer(late.judged).card.weights.startswith("0005-1000-")
    assert [path.name for path in (tmp_path / "trials" / "0005").iterdir() if path.is_dir()] == ["0005-1000"]


def test_another_process_finds_the_models_again(shelf, tmp_path, task):
    models = [a_model(tmp_path, number) for number in range(3)]
    for model in models:
        shelf.put(model)
    card = shelf.answer(models[1].judged).card
    (tmp_path / "trials" / "0009").mkdir()
    (tmp_path / "trials" / "0009" / "0009.json").write_text('{"trial": 9')  # a kill in the middle

    again = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(), {"autotl": "0"})
    found = again.restore()

    assert [judged.trial for judged in found] == [0, 1, 2]
    np.testing.assert_array_equal(found[1].answers, models[1].judged.answers)
    assert again.answer(found[1]).card.members == card.members
    assert not (tmp_path / "trials" / "0009").exists()


def test_models_that_could_not_read_the_same_rows_are_compared_on_those_they_share(shelf, tmp_path):
    whole, part = a_model(tmp_path, 0), a_model(tmp_path, 1)
    rows = np.arange(0, 300, 2)
    fewer = Judged(1, 1000, part.judged.score, rows, part.judged.answers[rows])
    shelf.put(whole)
    shelf.put(Model(part.name, part.name, fewer, part.member, part.weights, 100))
    assert shelf.answer(whole.judged).card.validation_rows == 150


def judged_by_a_quarter(model):
    judged = model.judged
    return dataclasses.replace(
        model, judged=dataclasses.replace(judged, valid=judged.valid[:75], answers=judged.answers[:75])
    )


def test_what_the_whole_table_judged_decides_and_the_choice_before_it_is_taken_off(shelf, tmp_path, task):
    models = [a_model(tmp_path, number) for number in range(4)]
    for model in models:
        shelf.put(judged_by_a_quarter(model))
    first = shelf.answer(shelf.models[0].judged)
    assert first.card.folds == 1
    assert first.card.validation_rows == 75
    for model in models[:2]:
        shelf.judge_by_more(next(known for known in shelf.models if known.name == model.name), model.judged, 4)

    card = shelf.answer(models[0].judged).card
    assert card.folds == 4
    assert card.validation_rows == 300
    assert card.chosen_among == 4
    assert {member.trial for member in card.members} == {"0", "1"}
    whole = Shelf(tmp_path / "whole", Disk(tmp_path), task, LABELS, free(), {"autotl": "0"})
    two = [a_model(tmp_path / "whole", number) for number in range(2)]
    for model in two:
        whole.put(model)
    alone = whole.answer(two[0].judged).card
    assert card.optimism == pytest.approx(alone.optimism + first.card.optimism / 4)
    assert card.score == pytest.approx(alone.score - first.card.optimism / 4)

    again = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(), {"autotl": "0"})
    again.restore()
    assert [model.folds for model in again.models] == [4, 4, 1, 1]


def test_a_head_can_be_fitted_again_whether_or_not_screening_chose_its_backbone(tmp_path):
    recipe = Recipe(learning_rate=1e-3)
    chosen, other = (Candidate(n, "f", "text", "folder", n, 1000, 8, 16, "none", 0.5, recipe) for n in "ab")
    again = Again([chosen, other], Space([chosen], [], [], {}))
    head = a_model(tmp_path, 2)
    judged = dataclasses.replace(head.judged, trial=-2)
    head = dataclasses.replace(head, judged=judged, member=head.member.model_copy(update={"backbone": "f/b"}))
    assert not again.is_training(head)
    fitting = again.fitting(head, views_agree=False)
    assert fitting.candidate["name"] == "b"
    assert fitting.head
    assert fitting.views_agree


def test_weights_that_were_written_again_are_in_the_bundle_too(shelf, tmp_path):
    first = a_model(tmp_path, 0)
    shelf.put(first)
    shelf.answer(first.judged)
    shutil.rmtree(first.weights)  # as a resumed search does that screens again
    (first.weights / "backbone").mkdir(parents=True)
    (first.weights / "backbone" / "model.safetensors").write_text("other weights")
    again = Model(
        first.name,
        first.name,
        Judged(0, 1000, 1.0, first.judged.valid, first.judged.answers),
        first.member,
        first.weights,
        9,
    )
    shelf.put(again)
    card = shelf.answer(again.judged).card
    assert (tmp_path / "best" / card.weights / "0000" / "backbone" / "model.safetensors").read_text() == "other weights"


class Told:
    """Hears events, and keeps no books."""

    def __init__(self):
        self.events = []

    def emit(self, kind, **data):
        self.events.append((kind, data))


def test_the_model_that_held_the_place_has_it_again_though_those_that_it_beat_are_gone(shelf, tmp_path, task):
    """By the rule alone 12 would have it: 37 is ahead of it by less than a standard error, and beat another one."""
    models = {number: a_model(tmp_path, number, noise=noise) for number, noise in ((12, 0.60), (37, 0.585))}
    for model in models.values():
        shelf.put(model)
    lead, error = Incumbent(task, LABELS, training_rows=100).lead(models[37].judged, models[12].judged)
    assert 0 < lead < error
    for told, expected in ((37, 37), (None, 12), (40, 12)):
        again = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(), {"autotl": "0"})
        judge = Judge(Incumbent(task, LABELS, training_rows=100), again, Pace(Clock()), Told(), None)
        judge.restore(told)
        assert judge.best.trial == expected


def test_a_view_that_the_head_is_far_worse_on_means_something_else(shelf, tmp_path, task):
    """As mirrored pictures do where what is asked is which side something is on."""
    judge = Judge(Incumbent(task, LABELS, training_rows=100), shelf, None, None, None)
    known = a_model(tmp_path, 0, noise=0.6)
    assert judge.views_agree  # nobody has looked
    for noise, same in ((0.65, True), (30.0, False)):
        head = dataclasses.replace(known, judged=dataclasses.replace(known.judged, trial=-1))  # with the views anew
        seen = a_model(tmp_path / "view", 0, noise=noise, permille=int(noise)).judged
        shelf.put(head)
        view = dataclasses.replace(seen, trial=-1)
        shelf.put(dataclasses.replace(head, name=f"{head.name}-view1", judged=view, weights=None))
        assert judge.views_agree == same


def test_a_hurried_head_that_few_rows_judged_has_no_part_in_what_more_rows_judge(shelf, tmp_path, task):
    """Not even as a rival: what all models are compared by are the rows that judged each of them."""
    hurried = a_model(tmp_path, 1, noise=0.5)
    few = dataclasses.replace(
        hurried.judged, trial=-1, permille=500, valid=hurried.judged.valid[::4], answers=hurried.judged.answers[::4]
    )
    shelf.put(dataclasses.replace(hurried, judged=few))
    assert shelf.answer(few).card.validation_rows == len(few.valid)
    whole = a_model(tmp_path, 0, noise=0.6)
    shelf.put(whole)
    card = shelf.answer(whole.judged).card
    assert card.validation_rows == len(whole.judged.valid)
    assert [member.folder for member in card.members] == [whole.name]


def test_of_two_heads_on_a_backbone_the_one_of_more_rows_is_found_last(shelf, tmp_path, task):
    quick, whole = (
        dataclasses.replace(model, judged=dataclasses.replace(model.judged, trial=-1))
        for model in (a_model(tmp_path, 1, noise=0.6), a_model(tmp_path, 0, noise=0.5))
    )
    place = tmp_path / "trials" / "head-1-quick"
    shutil.copytree(quick.weights, place / "head-1-quick-1000")
    quick = dataclasses.replace(
        quick, name="head-1-quick", trial_folder="head-1-quick", weights=place / "head-1-quick-1000", training_rows=50
    )
    for model in (whole, quick):
        shelf.put(model)
    again = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(), {"autotl": "0"})
    assert [judged.score for judged in again.restore()] == [quick.judged.score, whole.judged.score]


def test_views_of_one_network_have_its_weights_once(tmp_path, task):
    limits = Limits(parameters=1500)  # one and a half of what the backbone has
    shelf = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(limits), {"autotl": "0"})
    model, seen = a_model(tmp_path, 0), a_model(tmp_path / "view", 1)
    shelf.put(model)
    shelf.put(dataclasses.replace(model, name=f"{model.name}-view1", judged=seen.judged, weights=seen.weights))
    assert len(shelf.answer(model.judged).card.members) == 2
    shelf.put(a_model(tmp_path, 2, noise=0.9))
    assert len({member.trial for member in shelf.answer(model.judged).card.members}) == 1


def test_the_benchmark_without_combination_answers_with_one_model(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr("autotl.search.shelf.decide", decide)  # put back at the end
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    without = importlib.import_module("without")
    for number in range(2):
        shelf.put(a_model(tmp_path, number))
    best = shelf.entries("0000")[0].judged
    assert len(shelf.answer(best).card.members) == 2
    without.PARTS["combination"]()
    assert len(shelf.answer(best).card.members) == 1


def test_a_backbone_that_kept_the_limit_once_keeps_it_on_a_busy_machine():
    costs = free(Limits(latency=0.005))
    assert not costs.learn_latency("f/b", 0.0049)
    assert not costs.learn_latency("f/b", 0.0051)
    assert costs.allow(["f/b"])
    assert costs.learn_latency("f/c", 0.0051)
    assert not costs.learn_latency("f/c", 0.0049)


def test_of_hundreds_of_models_those_tell_of_luck_that_could_have_had_it(shelf, tmp_path):
    first = a_model(tmp_path, 0, noise=0.5)
    shelf.put(first)
    for number in range(1, MOST_COMPARED + 20):
        if number % 10 == 9:  # weights are taken away from time to time, and right before the last model
            shelf.answer(first.judged)
        shelf.put(a_model(tmp_path, number, noise=0.5 + number / 100))
    answer = shelf.answer(first.judged)
    assert answer.card.chosen_among == MOST_COMPARED + 20
    assert answer.card.optimism > 0


def test_a_refit_of_fewer_rows_or_gone_wrong_is_not_taken(shelf, tmp_path, task):
    incumbent = Incumbent(task, LABELS, training_rows=100)
    judge = Judge(incumbent, shelf, None, None, None)
    model = a_model(tmp_path, 0, noise=0.5)
    shelf.put(model)
    incumbent.held_by = model.judged
    for answer in ({"score": 1.0, "training_rows": 50}, {"score": 0.1, "training_rows": 300}):
        refitted = tmp_path / "trials" / "0000" / "0000-refit"
        refitted.mkdir()
        assert not judge.take_refit(model, {**answer, "weights": refitted.name, "views": [], "valid": np.arange(300)})
        assert not refitted.exists()
        (kept,) = shelf.entries("0000")
        assert not kept.refit
        assert kept.weights.is_dir()


def test_views_of_a_model_do_not_take_the_places_of_others(shelf, tmp_path):
    for number in range(KEPT):
        model = a_model(tmp_path, number, noise=0.5 + number / 20, alike=True)
        view = dataclasses.replace(
            model, name=f"{model.name}-view1", weights=tmp_path / "trials" / model.name / "view1"
        )
        shutil.copytree(model.weights, view.weights)
        shelf.put(model)
        shelf.put(view)
    shelf.answer(shelf.models[0].judged)
    assert all(model.weights and model.weights.is_dir() for model in shelf.models)


def test_a_model_is_fitted_again_for_as_long_as_its_training_was(shelf, tmp_path, task):
    """One that had no time for its recipe would be judged on the other parts by twins that had."""
    cut = dataclasses.replace(a_model(tmp_path, 0), made=0.4)
    shelf.put(cut)
    shelf.put(a_model(tmp_path, 1))
    again = Shelf(tmp_path, Disk(tmp_path), task, LABELS, free(), {"autotl": "0"})
    again.restore()
    candidate = Candidate("b", "f", "text", "folder", "b", 1000, 8, 16, "none", 0.5, Recipe(learning_rate=1e-3))
    asked = [Again([candidate], None).fitting(model, views_agree=True).made for model in again.models]
    assert asked == [0.4, 1.0]
