"""The teacher: its answers are the bundle's, asked for once, within the time that a trial can spare."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from autotl_distill import teacher as module
from autotl_distill.teacher import Teacher

from autotl.budget import Clock
from autotl.errors import BundleError
from autotl.predictor.predictor import Predictor


def test_answers_are_those_of_the_bundle_for_training_rows_only(student, table, teacher):
    found = Teacher(teacher).answers(student.trial())
    said = Predictor(teacher).predict_proba(pd.read_csv(table))
    np.testing.assert_allclose(found[student.train], said[student.train], atol=1e-4)
    assert not found[150:].any()


def test_a_teacher_is_asked_once_and_found_again_by_another_search(
    student, tiny, table, teacher, tmp_path, monkeypatch
):
    first = Teacher(teacher).answers(student.trial())
    student.store.flush()

    def never(*arguments):
        pytest.fail("the teacher was asked again")

    monkeypatch.setattr(module, "load_model", never)
    np.testing.assert_array_equal(Teacher(teacher).answers(student.trial()), first)
    later = type(student)(tiny, table, teacher, tmp_path / "cache")
    np.testing.assert_array_equal(Teacher(teacher).answers(later.trial()), first)


def test_rows_that_the_time_does_not_reach_have_their_label_for_an_answer(student, teacher):
    found = Teacher(teacher).answers(student.trial(clock=Clock(0.0)))
    np.testing.assert_array_equal(found[student.train], np.eye(3)[student.targets[student.train]])


@pytest.fixture
def augmented(tiny, monkeypatch):
    """The strengths with which the tiny family was asked for batches; one leaves words out at random."""
    (encoder, strengths) = type(tiny.encoder(None, [])), []
    plain = encoder.batch

    def batch(self, rows, *, augment=0.0, generator=None):
        strengths.append(augment)
        if augment:
            kept = [torch.rand(len(row), generator=generator).numpy() >= augment for row in rows]
            rows = [row[keep] if keep.any() else row for row, keep in zip(rows, kept, strict=True)]
        return plain(self, rows)

    monkeypatch.setattr(encoder, "batch", batch)
    monkeypatch.setattr(type(tiny), "augments", True)
    return strengths


def test_the_answer_to_augmented_rows_is_the_mean_over_views(student, teacher, augmented, monkeypatch):
    exact = Teacher(teacher).answers(student.trial())
    assert not any(augmented)
    mean = Teacher(teacher).answers(student.trial(), augment=0.5)
    assert set(augmented) == {0.0, 0.5}
    far = np.abs(mean - exact)[student.train].max(1)
    assert (far > 1e-3).mean() > 0.5
    np.testing.assert_allclose(mean[student.train].sum(1), 1.0, atol=1e-5)
    first = Teacher(teacher).answers(student.trial(), augment=0.25)
    assert (np.abs(first - exact)[student.train].max(1) < far).mean() > 0.6  # other views than those of before
    monkeypatch.setattr(module, "load_model", lambda *arguments: pytest.fail("the teacher was asked again"))
    np.testing.assert_array_equal(Teacher(teacher).answers(student.trial(), augment=0.5), mean)


def test_a_view_that_the_time_does_not_reach_is_left_out(student, teacher, augmented):
    exact = Teacher(teacher).answers(student.trial())
    np.testing.assert_array_equal(Teacher(teacher).answers(student.trial(clock=Clock(0.0)), augment=0.5), exact)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    with pytest.raises(BundleError, match="no bundle here"):
        Teacher(tmp_path)
