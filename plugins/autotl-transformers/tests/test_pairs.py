"""Pairs of texts: two towers are two passes of the encoder, a cross-encoder is the library's, and both search."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from autotl_transformers.pairs import CrossEncoderFamily, TwoTowersFamily
from readmes import answers_of_readme
from short_trainings import train_briefly
from starlette.testclient import TestClient
from transformers import AutoModel

import autotl
from autotl.cli.main import main
from autotl.errors import DataError, ZooError
from autotl.plugins.contracts import Unreadable, ZooContext
from autotl.plugins.manager import plugins
from autotl.serving.app import make_app
from autotl.testing import check_exporter, check_family, check_stored_states, make_bundle

#: Of unlike lengths, and longer than ModernBERT's window here.
PAIRS = [
    ("good film", "the plot was very very boring and not short but it was a great film of the music"),
    ("the plot was very boring and not short", "bad"),
    ("", "a film"),
    ("the music of the film was great", "it was a very good film and the actors not bad"),
    ("it was a very good film and the actors not bad", "the music of the film was great"),
]

#: Encoders in which a token of one text cannot be kept from the other: in one piece, or with a convolution.
MIXING = ("albert", "deberta-v2")


def candidates(family, zoo):
    found = family.candidates(ZooContext(folders=(zoo,)))
    return {candidate.name: candidate for candidate in found if candidate.source == "folder"}


@torch.no_grad()
def features(family, candidate, cells):
    encoder, backbone = family.encoder(candidate, cells), family.load(candidate)
    return backbone.pool(backbone(encoder.batch(encoder.encode(cells))))


# -------------------------------------------------------------------- two towers


def test_two_towers_compare_what_the_encoder_makes_of_each_text(family, local, zoo, kind):
    towers = TwoTowersFamily()
    candidate = candidates(towers, zoo)[kind]
    if kind in MIXING:
        with pytest.raises(ZooError, match=f"^transformers-towers/{kind}: two texts cannot be kept apart"):
            towers.load(candidate)
        return
    long = "the film was a very good film and the music was not bad " * 5  # as long as the network takes, each
    pairs = [*PAIRS, (long, f"bad {long}")]
    texts = [text for pair in pairs for text in pair]
    u, v = features(family, local[kind], texts).view(len(pairs), 2, -1).unbind(1)
    expected = torch.cat([u, v, (u - v).abs(), u * v], 1)
    found = features(towers, candidate, pairs)
    assert candidate.width == found.shape[1]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_first_token_of_each_text_is_compared_where_the_publisher_says_so(family, zoo, tmp_path):
    folder = shutil.copytree(zoo / "bert", tmp_path / "bert")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    texts = [text for pair in PAIRS for text in pair]
    u, v = features(family, candidates(family, tmp_path)["bert"], texts).view(len(PAIRS), 2, -1).unbind(1)
    found = features(TwoTowersFamily(), candidates(TwoTowersFamily(), tmp_path)["bert"], PAIRS)
    torch.testing.assert_close(found, torch.cat([u, v, (u - v).abs(), u * v], 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "modernbert", "deberta-v3"])
def test_two_towers_keep_the_contract(zoo, kind):
    check_family(TwoTowersFamily(), candidates(TwoTowersFamily(), zoo)[kind], PAIRS)


def test_stored_states_of_two_towers_train_as_the_towers(zoo):
    check_stored_states(TwoTowersFamily(), candidates(TwoTowersFamily(), zoo)["roberta"], PAIRS * 2, stages=2)


# -------------------------------------------------------------------- cross-encoders


def test_a_cross_encoder_is_the_librarys_with_token_types_where_there_are_any(zoo, kind):
    family = CrossEncoderFamily()
    candidate = candidates(family, zoo)[kind]
    encoder, reference = family.encoder(candidate, PAIRS), AutoModel.from_pretrained(candidate.location).eval()
    state = encoder.batch(encoder.encode(PAIRS))
    types = {"token_type_ids": state["segment"]} if getattr(reference.config, "type_vocab_size", 0) > 1 else {}
    with torch.no_grad():
        hidden = reference(input_ids=state["x"], attention_mask=state["mask"].long(), **types).last_hidden_state
    expected = torch.stack([row[kept].mean(0) for row, kept in zip(hidden, state["mask"], strict=True)])
    found = features(family, candidate, PAIRS)
    assert candidate.width == found.shape[1]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found[3] - found[4]).abs().max() > 1e-3  # a pair is ordered


@pytest.mark.parametrize("kind", ["bert", "albert"])
def test_a_cross_encoder_keeps_the_contract(zoo, kind):
    check_family(CrossEncoderFamily(), candidates(CrossEncoderFamily(), zoo)[kind], PAIRS)


# -------------------------------------------------------------------- how pairs are read


def test_tokens_stand_beside_their_segments(zoo):
    (row,) = encoder_of(TwoTowersFamily(), zoo).encode([("good film", "bad")])
    assert row.dtype == np.int32
    assert row.T.tolist() == [[0, 4, 14, 2, 0, 5, 2], [0, 0, 0, 0, 1, 1, 1]]
    (row,) = encoder_of(CrossEncoderFamily(), zoo).encode([["good film", "bad"]])
    assert row.T.tolist() == [[0, 4, 14, 2, 5, 2], [0, 0, 0, 0, 1, 1]]


def test_the_longer_text_is_cut_and_the_other_stays_whole(zoo):
    short, long = "bad film", "the plot was very very boring and not short but it was a great film of the music"
    encoder = CrossEncoderFamily().encoder(candidates(CrossEncoderFamily(), zoo)["bert"], [(short, short)])
    for cell, segment in (((short, long), 0), ((long, short), 1)):
        (row,) = encoder.encode([cell])
        assert len(row) == encoder.longest == 8
        assert {5, 14} <= set(row[row[:, 1] == segment, 0].tolist())


@pytest.mark.parametrize("cell", [None, "a text", ("one",), ("one", None), ("one", "two", "three"), 7])
def test_what_is_no_pair_is_unreadable_and_its_neighbours_are_read(zoo, cell):
    for family in (TwoTowersFamily(), CrossEncoderFamily()):
        first, odd, last = encoder_of(family, zoo).encode([PAIRS[0], cell, PAIRS[1]])
        assert odd == Unreadable("no pair of texts")
        assert isinstance(first, np.ndarray)
        assert isinstance(last, np.ndarray)


def encoder_of(family, zoo):
    return family.encoder(candidates(family, zoo)["bert"], PAIRS)


def test_a_model_that_is_read_in_several_ways_is_packed_by_its_name(zoo, tmp_path, capsys):
    out = tmp_path / "zoo.tar"
    assert main(["models", "--models", str(zoo / "bert"), "--offline", "--json", "pack", "bert", "-o", str(out)]) == 0
    (packed,) = json.loads(capsys.readouterr().out)["models"]
    assert packed["backbone"] == "transformers/bert"


# -------------------------------------------------------------------- answers, exports, and a search


@pytest.fixture(params=[TwoTowersFamily(), CrossEncoderFamily()], ids=["towers", "cross"])
def make(request, zoo, tmp_path):
    """Makes an answer for pairs that nobody trained."""

    def made(*, layered=False):
        candidate = candidates(request.param, zoo)["bert"]
        return make_bundle(request.param, [candidate], PAIRS * 3, tmp_path / "run", layered=layered)

    return made


@pytest.fixture
def model(make):
    return make()


def test_pairs_by_themselves_are_predicted_like_a_table(model):
    frame = pd.DataFrame(PAIRS, columns=["text1", "text2"]).drop(index=2)
    pairs = list(zip(frame["text1"], frame["text2"], strict=True))
    np.testing.assert_array_equal(model.predict_proba(pairs), model.predict_proba(frame))
    np.testing.assert_array_equal(model.predict([list(pair) for pair in pairs]), model.predict(frame))
    assert model.predict([pairs[0], ("half", None), (" ", "half")]).tolist()[1:] == [None, None]
    for odd in ("a text", ("one", "two", "three")):
        with pytest.raises(DataError, match=r"row 2: Each input is a tuple of 2 cells, 'text1', 'text2', not .?'"):
            model.predict([pairs[0], odd])


def test_pairs_are_served(model):
    pair = ["good film", "the plot was bad"]
    with TestClient(make_app(model)) as client:
        (row,) = client.post("/predict", json={"texts": [pair]}).json()["predictions"]
        assert row["prediction"] == model.predict([pair])[0]
        for wrong, says in (
            (["one"], "input 0 has 1 texts, and 2 are read"),
            (["one", " "], "input 0 is empty in one"),
        ):
            answer = client.post("/predict", json={"texts": [wrong]})
            assert answer.status_code == 422
            assert says in answer.json()["detail"]
        assert "a text1" in client.get("/").text


@pytest.mark.parametrize("form", ["torch", "huggingface"])
def test_pairs_are_exported(model, form):
    check_exporter(plugins().exporter(form), model, [pair for pair in PAIRS if all(pair)])  # half of one is missing


@pytest.mark.parametrize("family", [TwoTowersFamily(), CrossEncoderFamily()], ids=["towers", "cross"])
def test_every_type_of_encoder_is_exported_to_its_own_library(family, zoo, kind, tmp_path):
    if family.name == TwoTowersFamily.name and kind in MIXING:
        pytest.skip("no two towers of it")
    model = make_bundle(family, [candidates(family, zoo)[kind]], PAIRS * 3, tmp_path / "run")
    check_exporter(plugins().exporter("huggingface"), model, PAIRS * 3)


@pytest.mark.parametrize("layered", [False, True])
def test_the_readme_says_how_pairs_are_answered(make, tmp_path, layered):
    model = make(layered=layered)
    frame = pd.DataFrame([pair for pair in PAIRS if all(pair)], columns=["text1", "text2"])
    autotl.export(model.folder, to="huggingface", out=tmp_path / "out", data=frame)
    pairs = list(frame.itertuples(index=False, name=None))
    answers = answers_of_readme(tmp_path / "out", '[("a text", "another")]', repr(pairs))
    assert answers
    for said in answers:
        np.testing.assert_allclose(said, model.predict_proba(frame), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_a_search_chooses_between_both_ways(zoo, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / "cache"))
    train_briefly(monkeypatch, tmp_path / "site")
    shutil.copytree(zoo / "bert", tmp_path / "zoo" / "bert")
    random, rows = np.random.default_rng(0), []
    for number in range(120):  # the same word is in both or not, among words that say nothing
        words = random.permutation(["good", "bad", "great", "boring"])
        filler = [" ".join(random.choice(["film", "plot", "music", "the", "was"], 6)) for _ in range(2)]
        rows.append((f"{words[0]} {filler[0]}", f"{filler[1]} {words[number % 2]}", ("same", "other")[number % 2]))
    table = pd.DataFrame(rows, columns=["text1", "text2", "label"])
    run = autotl.fit(table, models=tmp_path / "zoo", trials=1, out=tmp_path / "run", quiet=True)
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    screened = {event["backbone"] for event in events if event["kind"] == "screened"}
    assert screened == {"transformers-towers/bert", "transformers-cross/bert"}
    assert (run.task.modality, run.task.columns) == ("text_pair", ("text1", "text2"))
    assert len(run.predict(table)) == len(table)
