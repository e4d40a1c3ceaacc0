"""The strategy: where it applies, what it is beside fine-tuning, and that students learn what teachers say."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from autotl_distill.effect import Taught
from autotl_distill.strategy import Distill
from autotl_distill.teacher import Teacher

from autotl.budget import Clock
from autotl.kinds.mixing import activated
from autotl.plugins.contracts import StrategyContext, ZooContext
from autotl.regularizers.label_smoothing import LabelSmoothing
from autotl.regularizers.mixing import Mixup
from autotl.search.space import Space
from autotl.strategies.finetune import Finetune
from autotl.strategies.probe import Probe
from autotl.testing import check_plugin, check_strategy, make_bundle
from autotl.testing.bench import Bench
from autotl.training.rungs import RUNGS

ZOO = Path(__file__).parents[3] / "tests" / "thirdparty" / "zoo"


@pytest.fixture
def context(student):
    return StrategyContext(student.frozen.candidate, 150, (50, 50, 50), "accuracy", False, math.inf, teacher=True)


@pytest.fixture
def settings(context):
    """Of a student that learns by DIST, long enough to show what it learned."""
    return {**Distill().portfolio(context)[0], "epochs_multiplier": 2.0}


def finish(strategy, trial):
    """Fits a trial to its end; returns its rungs and its weights."""
    rungs = [progress.permille for progress in strategy.fit(trial)]
    trial.settings.check_all_read()
    return rungs, {name: tensor.detach().clone() for name, tensor in trial.model.state_dict().items()}


def test_without_a_teacher_there_is_nothing_to_choose(context):
    assert not Distill().parameters(replace(context, teacher=False))
    assert {"distillation_loss", "distillation_temperature"} <= {p.name for p in Distill().parameters(context)}


def test_plugin_and_strategy_keep_their_contracts(tiny, tmp_path):
    check_plugin("distill")
    texts = [f"{word} {number}" for number in range(20) for word in ("cat", "oak", "slate")]
    candidate = tiny.candidates(ZooContext((ZOO / "two",)))[0]
    classes = [f"class {code}" for code in range(3)]
    make_bundle(tiny, [candidate], texts, tmp_path / "teacher", classes=classes)
    check_strategy(Distill(), Bench(tiny, candidate, texts, [0, 1, 2] * 20, teacher=tmp_path / "teacher"))


def test_two_classes_are_left_to_kd(context):
    two = replace(context, class_rows=(75, 75))
    assert [settings["distillation_loss"] for settings in Distill().portfolio(two)] == ["kd"]
    (loss,) = [p for p in Distill().parameters(two) if p.name == "distillation_loss"]
    assert loss.options == ("kd",)


def test_the_first_two_trials_differ_in_the_teacher_alone(context):
    strategies = [Finetune(), Probe(), Distill()]
    space = Space([context.candidate], strategies, [], {context.candidate.key: context})
    alone, taught, *_ = space.portfolio()
    assert (alone.strategy, taught.strategy) == ("finetune", "distill")
    assert alone.settings.items() <= taught.settings.items()
    assert space.work(taught).twin == alone.strategy


@pytest.mark.parametrize("loss", ["dist", "kd"])
def test_a_student_comes_nearer_to_its_teacher_than_one_without(student, settings, loss):
    said = Teacher(student.teacher).answers(student.trial())[student.train]
    distances = []
    for strategy in (Finetune(), Distill()):
        own = {**settings, "distillation_loss": loss}
        if strategy.name == "finetune":
            own = {name: value for name, value in own.items() if not name.startswith("distillation")}
        trial = student.trial(own)
        finish(strategy, trial)
        logits = trial.model.logits(student.frozen.rows, student.train, student.frozen.precision, trial.device)
        distances.append(float(np.abs(activated(logits, "softmax") - said).mean()))
    assert distances[1] < distances[0]


def test_a_training_with_a_teacher_goes_on_as_if_it_had_not_been_put_down(student, settings, tmp_path):
    _, whole = finish(Distill(), student.trial(settings))
    file = tmp_path / "there" / "0001.safetensors"
    for progress in Distill().fit(student.trial(settings, checkpoint=file)):
        if progress.permille == 333:
            break
    rungs, ended = finish(Distill(), student.trial(settings, checkpoint=file))
    assert rungs == [permille for permille in RUNGS if permille > 333]
    assert all(torch.equal(whole[name], ended[name]) for name in whole)


def test_what_the_teacher_takes_is_part_of_the_time_and_not_of_the_schedule(student, settings, monkeypatch):
    asked = Teacher.answers

    def slow(self, trial, **options):
        time.sleep(0.5)
        return asked(self, trial, **options)

    monkeypatch.setattr(Teacher, "answers", slow)
    trial = student.trial(settings, clock=Clock(60.0))
    began = time.monotonic()
    next(Distill().fit(trial))
    assert trial.clock.elapsed < time.monotonic() - began - 0.4
    assert trial.clock.start + trial.clock.seconds == pytest.approx(began + 60.0, abs=0.1)


def test_rows_that_are_mixed_have_answers_that_are_mixed_alike():
    labels = torch.arange(32) % 4
    targets = torch.nn.functional.one_hot(labels, 4).float()
    mixing = Mixup().effect(0.4)
    taught = Taught(targets.numpy(), loss="dist", temperature=1.0, others=[mixing])
    changed = 0
    for seed in range(8):  # half of the batches are mixed
        state, generator = {"x": torch.randn(32, 3, 8, 8)}, torch.Generator().manual_seed(seed)
        taught.rows(np.arange(32))
        seen, kept = taught.batch(state, targets, generator)
        assert seen is state
        assert torch.equal(kept, targets)
        _, mixed = mixing.batch(state, targets, generator)
        torch.testing.assert_close(taught._expected, mixed)
        changed += not torch.equal(mixed, targets)
    assert changed


def test_a_teachers_answers_are_not_smoothed_as_labels_are():
    answers = np.full((8, 4), [0.97, 0.02, 0.008, 0.002], np.float32)
    taught = Taught(answers, loss="kd", temperature=1.0, others=[LabelSmoothing().effect(0.1)])
    taught.rows(np.arange(8))
    taught.batch({"x": torch.randn(8, 3)}, torch.eye(4)[[0] * 8], torch.Generator())
    np.testing.assert_allclose(taught._expected.numpy(), answers, atol=1e-6)


def test_a_batch_in_pieces_learns_each_piece_from_its_own_rows():
    answers = np.eye(4, dtype=np.float32)
    taught = Taught(answers, loss="kd", temperature=1.0, others=[])
    for row in range(4):
        taught.rows(np.array([row]))
        taught.batch({"x": torch.zeros(1, 1)}, torch.zeros(1, 4), torch.Generator())
        logits = taught.logits(20.0 * torch.from_numpy(answers[[row]]))
        assert float(taught.loss(logits, lambda answer=logits: answer)) == pytest.approx(0.0, abs=1e-4)
