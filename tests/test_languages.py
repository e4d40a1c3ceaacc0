"""Texts in other languages than English: they are told, and backbones of English alone stand back."""

from __future__ import annotations

import dataclasses

import pytest

from autotl.zoo.languages import FOREIGN, share_of_english, suited
from autotl.zoo.words import BAG_OF_WORDS

ENGLISH = [
    "What is the name of the river that runs through the city?",
    "a film that is as funny as it is moving, and the best of the year",
    "chest pain since this morning, pt denies fever, hx of htn",
]
OTHERS = {
    "German": "Das Zimmer war sauber und das Frühstück ist sehr gut, aber die Betten sind nicht bequem",
    "French": "Le restaurant est très bon et les serveurs sont gentils, mais pas pour les enfants",
    "Spanish": "El hotel es muy bueno pero la comida no me gusta y el servicio es lento",
    "Turkish": "bu ürün çok güzel ve ucuz, bir tane daha alacağım",
    "Chinese": "房间很干净，服务员也很热情",
    "Russian": "Отель был очень хороший, но завтрак так себе",
    "Arabic": "الفندق نظيف والخدمة ممتازة",
}


def test_english_is_told():
    assert share_of_english(ENGLISH) > 0.9


@pytest.mark.parametrize("language", OTHERS)
def test_other_languages_are_told(language):
    assert share_of_english([OTHERS[language]]) < 0.2


def test_of_a_mixture_the_share_is_between():
    assert 0.2 < share_of_english([*ENGLISH, OTHERS["Russian"], OTHERS["German"], OTHERS["Chinese"]]) < 0.9


@pytest.mark.parametrize("texts", [["Dell XPS laptop silver 16GB", "Bosch GSR drill"], ["12 34", ""], []])
def test_names_and_numbers_are_of_no_language(texts):
    assert share_of_english(texts) == 1.0


def test_what_was_made_of_english_alone_stands_back_elsewhere():
    english = dataclasses.replace(BAG_OF_WORDS, prior=0.8, language="en")
    several = dataclasses.replace(BAG_OF_WORDS, prior=0.6)
    assert suited([english, several], 1.0) == [english, several]
    one, other = suited([english, several], 0.0)
    assert (one.prior, other.prior) == (pytest.approx(FOREIGN * 0.8), 0.6)
    assert one.prior < other.prior
