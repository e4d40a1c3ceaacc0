"""A bag of words, the floor that a network has to beat."""

from __future__ import annotations

import made_tasks
import numpy as np

from autotl.features.words import bag_of_words


def test_a_word_that_tells_the_class_is_found(frame):
    codes = frame["label"].astype("category").cat.codes.to_numpy().astype(np.int64)
    texts = frame["text"].tolist()
    found = bag_of_words(made_tasks.of_classes(3), texts[:150], codes[:150], texts[150:], seed=0)
    assert found.shape == (50, 3)
    np.testing.assert_allclose(found.sum(1), 1.0, rtol=1e-5)
    assert (found.argmax(1) == codes[150:]).mean() > 0.6  # guessing gets a third


def test_scripts_without_spaces_are_read_character_by_character():
    good, bad = (
        ["\u8fd9\u91cc\u5f88\u597d", "\u623f\u95f4\u5f88\u597d"],
        ["\u8fd9\u91cc\u5f88\u5dee", "\u623f\u95f4\u5f88\u5dee"],
    )
    labels = np.array([0, 1] * 20)
    texts = [(good, bad)[label][number % 2] for number, label in enumerate(labels)]
    found = bag_of_words(
        made_tasks.of_classes(2), texts, labels, ["\u65e9\u9910\u5f88\u597d", "\u65e9\u9910\u5f88\u5dee"], seed=0
    )
    assert found.argmax(1).tolist() == [0, 1]


def test_texts_without_a_known_word_get_what_is_common():
    labels = np.array([0] * 30 + [1] * 10)
    texts = ["alpha beta" if label == 0 else "gamma delta" for label in labels]
    found = bag_of_words(made_tasks.of_classes(2), texts, labels, ["", "zeta"], seed=0)
    assert np.isfinite(found).all()
    assert (found.argmax(1) == 0).all()


def test_words_that_occur_once_make_no_vocabulary():
    found = bag_of_words(
        made_tasks.of_classes(2), ["one", "two", "three", "four"], np.array([0, 1, 0, 1]), ["one"], seed=0
    )
    np.testing.assert_allclose(found, 0.5, atol=1e-3)
