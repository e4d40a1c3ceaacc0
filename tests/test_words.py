"""A bag of words: the floor that a network has to beat, and a model like any other."""

from __future__ import annotations

import json
from pathlib import Path

import made_tasks
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import autotl
from autotl.cli.main import main
from autotl.data.terms import terms_of
from autotl.errors import BundleError, TrialError
from autotl.events import read_events
from autotl.features.bag_of_words import WordsFamily, family_of
from autotl.features.precision import Precision
from autotl.features.rows import EncodedRows
from autotl.features.store import FeatureStore
from autotl.features.words import learn_words
from autotl.report.record import read_record
from autotl.report.words import floor_sentence
from autotl.testing.portable import check_portable
from autotl.training.model import Classifier, load_model, save_model
from autotl.zoo.words import BAG_OF_WORDS, mean_words, rows_in_memory, seconds_of_words


def learned(classes, texts, labels, **more):
    """A model, and how it reads."""
    words = learn_words(made_tasks.of_classes(classes), texts, np.array(labels), seed=0, **more)
    family = WordsFamily(words)
    return Classifier(family.load(BAG_OF_WORDS), words.head), family.encoder(BAG_OF_WORDS, [])


def probabilities(model, encoder, texts):
    rows = EncodedRows(encoder, texts, modality="text", store=FeatureStore(None))
    logits = model.logits(rows, rows.readable(np.arange(len(texts))), Precision(), torch.device("cpu"))
    return torch.from_numpy(logits).softmax(1).numpy()


def answers(classes, texts, labels, others, **more):
    return probabilities(*learned(classes, texts, labels, **more), others)


def test_a_word_that_tells_the_class_is_found(frame):
    codes = frame["label"].astype("category").cat.codes.to_numpy().astype(np.int64)
    texts = frame["text"].tolist()
    found = answers(3, texts[:150], codes[:150], texts[150:])
    assert found.shape == (50, 3)
    assert (found.argmax(1) == codes[150:]).mean() > 0.6  # guessing gets a third


def test_scripts_without_spaces_are_read_character_by_character():
    good, bad = (
        ["\u8fd9\u91cc\u5f88\u597d", "\u623f\u95f4\u5f88\u597d"],
        ["\u8fd9\u91cc\u5f88\u5dee", "\u623f\u95f4\u5f88\u5dee"],
    )
    labels = [0, 1] * 20
    texts = [(good, bad)[label][number % 2] for number, label in enumerate(labels)]
    found = answers(2, texts, labels, ["\u65e9\u9910\u5f88\u597d", "\u65e9\u9910\u5f88\u5dee"])
    assert found.argmax(1).tolist() == [0, 1]


def test_texts_without_a_known_word_get_what_is_common():
    labels = [0] * 30 + [1] * 10
    texts = ["alpha beta" if label == 0 else "gamma delta" for label in labels]
    found = answers(2, texts, labels, ["", "zeta"])
    assert np.isfinite(found).all()
    assert (found.argmax(1) == 0).all()


def test_rows_count_by_their_weights():
    texts, labels = ["alpha beta"] * 40, [0] * 20 + [1] * 20
    weights = np.array([3.0] * 20 + [1.0] * 20, np.float32)
    assert answers(2, texts, labels, ["alpha"], weights=weights)[0, 0] > 0.65


def test_texts_without_a_word_in_common_are_refused():
    with pytest.raises(TrialError, match="no word is in two rows"):
        learned(2, ["one", "two", "three", "four"], [0, 1, 0, 1])


def test_pairs_of_texts_are_read_as_the_words_of_both():
    pairs = [("alpha", "beta"), ("alpha", "gamma")] * 20
    found = answers(2, pairs, [0, 1] * 20, [("delta", "beta"), ("delta", "gamma")])
    assert found.argmax(1).tolist() == [0, 1]


@pytest.fixture
def model(frame):
    codes = frame["label"].astype("category").cat.codes.to_numpy().astype(np.int64)
    return learned(3, frame["text"].tolist(), codes)


def test_what_is_saved_is_what_is_restored(model, frame, tmp_path):
    save_model(model[0], WordsFamily(), model[1], tmp_path / "model")
    restored = load_model(family_of("words"), tmp_path / "model")
    assert restored[1] == model[1]
    texts = [*frame["text"].tolist()[:20], "", "nobody knows me"]
    np.testing.assert_array_equal(probabilities(*restored, texts), probabilities(*model, texts))


def test_its_encoder_can_be_had_without_autotl(model, frame):
    check_portable("words", model[1], frame["text"].tolist()[:20])


def test_one_text_at_a_time_gives_what_all_give(model, frame):
    texts = frame["text"].tolist()[:10]
    alone = np.concatenate([probabilities(*model, [text]) for text in texts])
    np.testing.assert_allclose(alone, probabilities(*model, texts), atol=1e-6)


@pytest.mark.parametrize("terms", [[1, 2], "words", ["one"], None])
def test_a_vocabulary_that_does_not_fit_is_refused(model, tmp_path, terms):
    save_model(model[0], WordsFamily(), model[1], tmp_path / "model")
    (tmp_path / "model" / "backbone" / "vocabulary.json").write_text(json.dumps({"terms": terms}))
    with pytest.raises(BundleError, match="the model cannot be loaded"):
        load_model(family_of("words"), tmp_path / "model")


def test_a_vocabulary_beyond_all_measure_is_refused(model, tmp_path):
    save_model(model[0], WordsFamily(), model[1], tmp_path / "model")
    many = 30_000
    (tmp_path / "model" / "backbone" / "vocabulary.json").write_text(json.dumps({"terms": ["a"] * many}))
    save_file({"rarity": torch.ones(many)}, tmp_path / "model" / "backbone" / "rarity.safetensors")
    with pytest.raises(BundleError, match="the model cannot be loaded"):
        load_model(family_of("words"), tmp_path / "model")


@pytest.fixture
def ordered(tmp_path):
    """A table whose classes have the same words in another order, which a mean over words cannot tell."""
    random, rows = np.random.default_rng(0), []
    for number in range(200):
        words = [f"word{word}" for word in random.integers(0, 40, 6)]
        words[2:4] = ["cat", "dog"] if number % 2 else ["dog", "cat"]
        rows.append({"text": " ".join(words), "label": ("after", "before")[number % 2]})
    path = tmp_path / "ordered.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_it_is_the_answer_where_no_network_does_better(here, ordered, zoo, capsys):
    command = ["search", "--data", ordered, "--models", zoo, "--trials", 1, "--out", "run"]
    assert main([str(part) for part in command]) == 0
    assert "by a bag of words, which is the answer: no pretrained model did better" in " ".join(
        capsys.readouterr().out.split()
    )
    model = autotl.load("run")
    assert [member.backbone for member in model.card.members] == [BAG_OF_WORDS.key]
    assert model.card.refit
    assert model.predict(["a cat dog", "a dog cat"]).tolist() == ["before", "after"]
    assert main(["resume", "run", "--trials", "+1"]) == 0
    resumed = autotl.load("run").card
    assert [member.backbone for member in resumed.members] == [BAG_OF_WORDS.key]
    assert resumed.latency == model.card.latency > 0


def test_it_answers_only_where_no_backbone_was_named(here, ordered, zoo):
    run = autotl.fit(ordered, models=zoo, backbones=["one"], trials=1, out="run")
    assert {member.family for member in run.card.members} == {"tiny"}
    (floor,) = [event.data for event in read_events(Path("run/events.jsonl")) if event.kind == "floor"]
    assert floor["words"] > 0.9


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9 olé", "cafe\u0301 ole\u0301"),
        ("İyi", "iyi"),
        ("ﾃｽﾄ", "テスト"),
        ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
    ],
)
def test_words_are_the_same_however_their_letters_are_made(one, other):
    assert list(terms_of(one)) == list(terms_of(other))


def test_longer_texts_take_longer_up_to_what_is_read():
    short, long, longest = (["word " * count] * 3 for count in (20, 400, 9000))
    seconds = [seconds_of_words(1000, 2, mean_words(texts)) for texts in (short, long, longest)]
    assert 0.1 < seconds[0] < seconds[1] < seconds[2] == seconds_of_words(1000, 2, 512.0)
    assert mean_words([("two words", "and three more")]) == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Free!! Don't wait: 3.5% or £1,000", ["free", "!!", "don't", "wait", ":", "3.5", "%", "or", "£", "1,000"]),
        ("हिन्दी में है।", ["हिन्दी", "में", "है", "।"]),
        ("还算,干净。", ["还", "算", ",", "干", "净", "。"]),
        ("so :-) 😀😀", ["so", ":-)", "😀😀"]),
    ],
)
def test_marks_are_no_part_of_words(text, words):
    assert [term for term in terms_of(text) if " " not in term] == words


def test_texts_without_spaces_are_as_long_as_what_is_read_of_them():
    compact = json.dumps({str(number): number for number in range(400)}, separators=(",", ":"))
    assert mean_words([compact]) == 512
    assert rows_in_memory(mean_words([compact])) < 20_000


def test_a_table_that_no_network_passes_has_a_bag_of_words_of_more_rows(here, ordered, zoo, monkeypatch):
    monkeypatch.setattr("autotl.search.pace.STEP_COST", 10**9)
    monkeypatch.setattr("autotl.search.floor.SHARE", 0.0004)
    monkeypatch.setattr("autotl.search.floor.FEWEST_ROWS", 40)
    run = autotl.fit(ordered, models=zoo, budget="20s", out="run", quiet=True)
    events = read_events(Path("run/events.jsonl"))
    first, last = [event.data["words"] for event in events if event.kind == "floor"]
    assert first <= last
    assert len([event for event in events if event.data.get("backbone") == BAG_OF_WORDS.key]) == 2
    assert f"{last:.4f} by a bag of words" in floor_sentence(read_record(Path("run")))
    assert len([*Path("run/trials/words").glob("words-*/")]) == 1
    assert run.card.score > 0.8
    assert main(["resume", "run", "--budget", "+10s", "--quiet"]) == 0
    assert autotl.load("run").predict(["a cat dog", "a dog cat"]).tolist() == ["before", "after"]
    assert len(bags(Path("run"))) == 2  # nothing is learned again from the rows that the last one had


def bags(run):
    """What was told of bags of words that could be the answer."""
    events = read_events(run / "events.jsonl")
    return [event for event in events if event.kind == "head" and event.data["backbone"] == BAG_OF_WORDS.key]


def test_what_says_no_more_than_the_largest_class_is_not_learned_from_more_rows(here, ordered, zoo, monkeypatch):
    monkeypatch.setattr("autotl.search.pace.STEP_COST", 10**9)
    monkeypatch.setattr("autotl.search.floor.SHARE", 0.0008)
    monkeypatch.setattr("autotl.search.floor.FEWEST_ROWS", 40)
    frame = pd.read_csv(ordered)
    frame["label"] = np.random.default_rng(1).permutation(frame["label"])
    autotl.fit(frame, models=zoo, budget="10s", out="run", quiet=True)
    assert len(bags(Path("run"))) == 1
