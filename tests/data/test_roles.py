"""Roles: plausible columns are found with their evidence, and doubt is a refusal that names the way out."""

from __future__ import annotations

import datetime
import uuid

import pandas as pd
import pytest

from autotl.data.inspection import inspect_table
from autotl.data.roles import Overrides, infer_roles
from autotl.data.tables import read_table
from autotl.data.task import input_columns
from autotl.errors import DataError, TaskError

NONE = Overrides()
N = 40
TEXTS = [f"review number {n} was written" for n in range(N)]
LABELS = ["good", "bad"] * (N // 2)


def roles(columns, overrides=NONE):
    found = infer_roles(read_table(pd.DataFrame(columns)), overrides)
    assert [role.name for role in found] == list(columns)
    assert all(role.evidence and 0 <= role.confidence <= 1 for role in found)
    return {role.name: role.role for role in found}


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"p{n}.jpg" for n in range(N)]
    for name in names:
        (tmp_path / name).touch()
    return names


def test_a_column_that_says_which_part_a_row_is_of_is_no_target():
    splits = ["train", "train", "val", "test"] * (N // 4)
    assert roles({"text": TEXTS, "species": LABELS, "part": splits})["species"] == "target"
    assert roles({"text": TEXTS, "species": LABELS, "Fold": [0, 1] * (N // 2)})["species"] == "target"


def test_one_of_several_columns_of_yes_and_no_is_not_taken_for_the_target():
    flags = {name: [0, 1, 1, 0] * (N // 4) for name in ("toxic", "obscene", "insult")}
    with pytest.raises(TaskError, match=r"3 columns hold yes and no.*'toxic', 'obscene', 'insult'.*--target insult,"):
        roles({"comment": TEXTS, **flags})
    assert roles({"comment": TEXTS, "checked": flags["toxic"], "spam": flags["insult"]})["spam"] == "target"
    assert roles({"comment": TEXTS, **flags, "label": LABELS})["label"] == "target"


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("unixReviewTime", [1_252_800_000 + 86_400 * (n % 30) for n in range(N)]),
        ("timestamp", [1_588_687_728_923 + 86_400_000 * (n % 30) for n in range(N)]),
        ("reviewTime", [f"09 {n % 28 + 1:02d}, 2009" for n in range(N)]),
    ],
)
def test_times_at_the_end_of_a_table_are_not_asked(name, times):
    columns = {"text": TEXTS, "overall": [1, 2, 3, 4] * (N // 4), name: times}
    with pytest.raises(TaskError, match=rf"the last one, '{name}', does not look like classes.*--target NAME"):
        roles(columns)
    assert roles(columns, Overrides(target=(name,)))[name] == "target"


def test_a_target_by_name_that_is_the_same_everywhere_gives_way():
    columns = {"category": ["food"] * N, "review": TEXTS, "rating": [1, 2] * (N // 2)}
    assert roles(columns)["rating"] == "target"
    assert roles({"review": TEXTS, "rating": [1, 2] * (N // 2), "category": ["food"] * N})["rating"] == "target"
    assert roles({"label": ["spam"] * N, "message": TEXTS, "trust": [1, 2] * (N // 2)})["label"] == "target"


def test_of_a_topic_and_a_stance_a_person_says_which():
    with pytest.raises(TaskError, match="2 columns could be the target"):
        roles({"Target": LABELS, "Tweet": TEXTS, "Stance": LABELS[::-1]})
    assert roles({"Tweet": TEXTS, "Stance": LABELS, "id": list(range(N))})["Stance"] == "target"
    assert roles({"Tweet": TEXTS, "Stance": LABELS, "label": LABELS})["label"] == "target"


@pytest.mark.parametrize("name", ["label", "Target", "CLASS", "category", "y", "Sentiment"])
def test_target_is_found_by_name_wherever_it_stands(name):
    assert roles({name: LABELS, "review": TEXTS, "stars": [1, 2] * 20})[name] == "target"


@pytest.mark.parametrize("name", ["Finding Labels", "gold_label", "airline_sentiment", "productCategory"])
def test_target_is_found_by_the_end_of_its_name_where_one_column_has_it(name):
    assert roles({name: LABELS, "review": TEXTS, "stars": [1, 2] * 20})[name] == "target"
    assert roles({name: LABELS, "review": TEXTS, "other_label": [1, 2] * 20, "stars": [1, 2] * 20})["stars"] == "target"


def test_a_column_of_one_value_is_no_target_for_the_end_of_its_name():
    assert roles({"review": TEXTS, "product_category": ["shoes"] * N, "stars": [1, 2] * 20})["stars"] == "target"


def test_days_are_no_classes_however_often_they_repeat():
    for days in (["2023-04-01", "2023-04-02"], [datetime.date(2023, 4, 1), datetime.date(2023, 4, 2)]):
        with pytest.raises(TaskError, match=r"the last one, 'day', does not look like classes.*--target NAME"):
            roles({"review": TEXTS, "stars": [1, 2] * 20, "day": days * 20})


def test_others_that_could_be_meant_are_told_where_the_last_column_is_learned():
    found = inspect_table(pd.DataFrame({"text": TEXTS, "race": LABELS, "service": LABELS[::-1]}), NONE)
    (note,) = (note for note in found.notes if "last column" in note)
    assert note == "'service' is learned (the last column); 'race' could be meant too: --target race"
    found = inspect_table(pd.DataFrame({"text": TEXTS, "image_class": LABELS, "stars": [1, 2] * 20}), NONE)
    assert "'image_class' is learned (the end of its name); 'stars' could be meant too: --target stars" in found.notes
    found = inspect_table(pd.DataFrame({"text": TEXTS, "race": LABELS, "label": LABELS}), NONE)
    assert not [note for note in found.notes if "last column" in note]


def test_last_column_is_the_target_when_it_looks_like_classes():
    assert roles({"review": TEXTS, "verdict": LABELS}) == {"review": "text", "verdict": "target"}


@pytest.mark.parametrize(
    "columns",
    [
        {"verdict": LABELS, "review": TEXTS},
        {"review": TEXTS, "number": list(range(N))},
        {"review": TEXTS[:12], "author": [f"Anna {n}" for n in range(12)]},
        {"review": TEXTS, "nothing": [None] * N},
    ],
)
def test_last_column_that_is_no_class_is_not_taken_for_the_target(columns):
    with pytest.raises(TaskError, match=r"DataFrame: no column is named like a target.*--target NAME"):
        roles(columns)


def test_images_as_last_column_are_not_the_target(pictures):
    with pytest.raises(TaskError, match=r"--target"):
        roles({"kind": LABELS, "picture": pictures[:4] * 10})


@pytest.mark.parametrize(
    "others",
    [
        {"kind": LABELS},
        {"kind": [["a"], ["a", "b"]] * 20},
        {"kind": [n / 7 for n in range(N)]},
        {"number": list(range(100, 100 + N)), "kind": LABELS, "source": ["museum"] * N},
    ],
    ids=["classes", "labels", "numbers", "beside an id and a constant"],
)
def test_the_one_column_beside_images_at_the_end_is_the_target(pictures, others):
    found = roles({**others, "picture": pictures})
    assert found.pop("kind") == "target"
    assert found.pop("picture") == "image"
    assert set(found.values()) <= {"ignore"}


@pytest.mark.parametrize(
    "others",
    [
        {"kind": LABELS, "place": ["north", "south"] * 20},
        {"kind": LABELS, "size": [n / 7 for n in range(N)]},
        {"number": list(range(N))},
        {"source": ["museum"] * N},
    ],
    ids=["two of classes", "classes and numbers", "an id", "a constant"],
)
def test_what_images_at_the_end_leave_open_is_asked(pictures, others):
    with pytest.raises(TaskError, match=r"the last one, 'picture', does not look like.*--target NAME"):
        roles({**others, "picture": pictures})


def test_the_one_column_beside_an_input_that_was_named_is_the_target():
    found = roles({"verdict": LABELS, "review": TEXTS}, Overrides(text="review"))
    assert found == {"verdict": "target", "review": "text"}
    with pytest.raises(TaskError, match="--target NAME"):
        roles({"verdict": LABELS, "place": LABELS, "review": TEXTS}, Overrides(text="review"))


def test_two_named_targets_are_refused():
    with pytest.raises(TaskError, match=r"'label', 'category'.*--target label or --target category"):
        roles({"review": TEXTS, "label": LABELS, "category": LABELS})


def test_override_settles_two_named_targets():
    found = roles({"review": TEXTS, "label": LABELS, "category": LABELS}, Overrides(target=("label",)))
    assert found == {"review": "text", "label": "target", "category": "ignore"}


def test_image_paths_are_found_relative_to_the_table_and_absolute(pictures, tmp_path):
    assert roles({"picture": pictures, "label": LABELS})["picture"] == "image"
    assert roles({"picture": [str(tmp_path / name) for name in pictures], "label": LABELS})["picture"] == "image"


def test_half_of_the_images_may_be_missing_but_no_more(pictures):
    half = [name if n % 2 else f"no{name}" for n, name in enumerate(pictures)]
    assert roles({"picture": half, "label": LABELS})["picture"] == "image"
    with pytest.raises(DataError, match=r"row 1: column 'picture' names .*nop0\.jpg.*19 of 40"):
        roles({"picture": [*half[:-1], "no.jpg"], "label": LABELS})


def test_files_are_looked_for_all_over_the_table(pictures):
    sorted_names = pictures * 4 + [f"no{name}" for name in pictures] * 4
    table = read_table(pd.DataFrame({"picture": sorted_names, "label": LABELS * 8}))
    assert infer_roles(table, NONE)[0].confidence == 0.5


def test_image_addresses_on_the_web_are_refused():
    urls = [f"https://example.org/{n}.jpg" for n in range(N)]
    with pytest.raises(DataError, match=r"row 1: column 'picture' holds web addresses.*Download"):
        roles({"picture": urls, "label": LABELS})


def test_a_table_of_texts_with_addresses_of_images_is_told_how_to_be_read():
    urls = [f"https://example.org/{n}.jpg" for n in range(N)]
    with pytest.raises(DataError, match="name it, with --text"):
        roles({"review": TEXTS, "photo": urls, "label": LABELS})
    with pytest.raises(DataError) as refusal:
        roles({"review": TEXTS, "photo": urls, "label": LABELS}, Overrides(image=("photo",)))
    assert "--text" not in str(refusal.value)


def test_text_that_speaks_of_images_is_text():
    texts = [*TEXTS[:-1], "see holiday.jpg"]
    assert roles({"review": texts, "label": LABELS})["review"] == "text"


def test_text_in_a_column_named_like_an_id_is_text_when_it_repeats():
    assert roles({"row": TEXTS[:30] + TEXTS[:10], "label": LABELS})["row"] == "text"


def test_chinese_without_spaces_is_text():
    assert roles({"评论": [f"房间很干净{n}" for n in range(N)], "label": LABELS})["评论"] == "text"


@pytest.mark.parametrize(
    ("name", "cells", "evidence"),
    [
        ("id", [f"long text id {n}" for n in range(N)], "id"),
        ("Unnamed: 0", list(range(N)), "id"),
        ("serial", [str(n) for n in range(N)], "unique whole numbers"),
        ("price", [n % 7 + 0.5 for n in range(N)], "numbers; tabular inputs are not used"),
        ("key", [str(uuid.UUID(int=n)) for n in range(N)], "UUID"),
        ("user", [f"user{n}" for n in range(N)], "id"),
        ("city", ["New York", "Den Haag"] * (N // 2), "category"),
        ("tags", [["a"]] * N, "list"),
        ("void", [None, " "] * (N // 2), "empty"),
        ("created_at", [f"2024-01-{n % 28 + 1:02} 10:11:{n:02}" for n in range(N)], "dates"),
        ("seen", [f"{n % 28 + 1}.3.2024 8:{n:02}" for n in range(N)], "dates"),
        ("cost", [f"{n}.50 EUR" for n in range(N)], "numbers of 'EUR'"),
    ],
)
def test_other_columns_are_ignored_with_their_reason(name, cells, evidence):
    table = read_table(pd.DataFrame({name: pd.Series(cells, dtype=object), "review": TEXTS, "label": LABELS}))
    found = infer_roles(table, NONE)[0]
    assert found.role == "ignore"
    assert evidence in found.evidence


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": TEXTS, "b": TEXTS[::-1], "label": LABELS}, r"'a' \(text\), 'b' \(text\).*--text a or --text b"),
        (
            {"a b": TEXTS, "c": TEXTS[::-1], "label": LABELS},
            r"one text with --text 'a b' c.*two with --pair 'a b' c\.$",
        ),
        (
            {"note": TEXTS, "text2": TEXTS, "text1": TEXTS[::-1], "label": LABELS},
            r"3 columns could be the input.*--text note text2 text1.*--pair text1 text2",
        ),
        (
            {"text1": TEXTS, "text2": TEXTS, "text3": TEXTS[::-1], "label": LABELS},
            r"3 columns could be the input.*--pair text1 text2",
        ),
        ({"a b": TEXTS, "c": TEXTS[::-1], "label": LABELS}, r"--text 'a b' or --text c"),
        ({"stars": [1, 2] * 20, "label": LABELS}, "no column looks like images or text .'stars': numbers"),
        ({"label": LABELS}, "there is only the target"),
    ],
)
def test_no_input_or_several_are_refused(columns, message):
    with pytest.raises(TaskError, match=message):
        roles(columns)


def test_image_beside_text_is_settled_by_an_override(pictures):
    columns = {"picture": pictures, "review": TEXTS, "label": LABELS}
    with pytest.raises(TaskError, match=r"--image picture or --text review"):
        roles(columns)
    assert roles(columns, Overrides(image="picture")) == {"picture": "image", "review": "ignore", "label": "target"}
    assert roles(columns, Overrides(text="review")) == {"picture": "ignore", "review": "text", "label": "target"}


def test_several_columns_of_images_are_one_input_in_the_order_in_which_they_were_named(pictures):
    columns = {"side": pictures, "front": pictures[::-1], "note": TEXTS, "label": LABELS}
    overrides = Overrides(image=("front", "side"))
    assert roles(columns, overrides) == {"side": "images", "front": "images", "note": "ignore", "label": "target"}
    found = infer_roles(read_table(pd.DataFrame(columns)), overrides)
    assert [column.name for column in input_columns(found)] == ["front", "side"]
    assert {role.name: role.evidence.partition(";")[0] for role in found[:2]} == {
        "front": "chosen with --image, as image 1 of 2",
        "side": "chosen with --image, as image 2 of 2",
    }
    assert roles(columns, Overrides(image=("front",)))["front"] == "image"


def test_several_columns_of_images_are_never_guessed(pictures):
    columns = {"a b": pictures, "c": pictures[::-1], "label": LABELS}
    meant = r"--image 'a b' or --image c, or take the images of a row together with --image 'a b' c\.$"
    with pytest.raises(TaskError, match=meant):
        roles(columns)
    with pytest.raises(TaskError, match=r"one text with --text n m.*--pair n m, or take .* with --image 'a b' c\.$"):
        roles({"n": TEXTS, "m": TEXTS[::-1], **columns})


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (("picture", "gone"), DataError, r"row 1: column 'gone' names .*no0\.jpg"),
        (("picture", "review"), DataError, "row 1: column 'review' names"),
        (("picture", "picture"), TaskError, "'picture' is named twice as the input"),
        (("picture", "picure"), DataError, "no column 'picure'. Did you mean 'picture'"),
        (("picture", "label"), TaskError, "column 'label' cannot be both the target and the input"),
    ],
)
def test_columns_that_are_no_images_are_refused_by_name(pictures, image, error, message):
    columns = {"picture": pictures, "gone": [f"no{n}.jpg" for n in range(N)], "review": TEXTS, "label": LABELS}
    with pytest.raises(error, match=message):
        roles(columns, Overrides(image=image, target=("label",)))
    with pytest.raises(TaskError, match="--image picture gone and --text review are 2 inputs"):
        roles(columns, Overrides(image=("picture", "gone"), text="review"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("Sentence A", "Sentence B"), ("text_a", "text_b"),
        ("question1", "question2"), ("questionA", "questionB"), ("premise", "hypothesis"), ("query", "passage"),
        ("query_text", "passage_text"), ("left review", "right review"), ("FIRST_TEXT", "SECOND_TEXT"), ("s0", "s1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_two_texts_named_like_a_pair_are_one_in_the_order_of_their_names(first, second, turned):
    columns = {first: TEXTS, second: TEXTS[::-1]}
    columns = dict(reversed(columns.items())) if turned else columns
    table = read_table(pd.DataFrame(columns | {"label": LABELS}))
    found = [role for role in infer_roles(table, NONE) if role.role == "text_pair"]
    assert [role.name for role in sorted(found, key=lambda role: role.place)] == [first, second]
    assert all("those of a pair" in role.evidence and role.confidence < 1 for role in found)


@pytest.mark.parametrize("queries", [["shoes", "red shoes"] * 20, [f"shoe{n}" for n in range(N)]])
def test_half_of_a_pair_may_look_like_a_category_or_like_names(queries):
    columns = {"query": queries, "passage": TEXTS, "label": LABELS}
    assert roles(columns) == {"query": "text_pair", "passage": "text_pair", "label": "target"}
    assert roles(columns, Overrides(group="query"))["passage"] == "text"


@pytest.mark.parametrize("other", [list(range(N)), [str(uuid.UUID(int=n)) for n in range(N)], [None] * N])
def test_what_holds_no_words_is_no_half_of_a_pair(other):
    assert roles({"text1": TEXTS, "text2": other, "label": LABELS})["text1"] == "text"


@pytest.mark.parametrize(
    "names", [("title", "body"), ("text", "text2"), ("sentence1", "question2"), ("note1", "note3"), ("a", "b")]
)
def test_other_names_make_no_pair(names):
    with pytest.raises(TaskError, match="2 columns could be the input"):
        roles(dict.fromkeys(names, TEXTS) | {"label": LABELS})


def test_one_of_a_pair_may_be_chosen():
    columns = {"text1": TEXTS, "text2": TEXTS[::-1], "label": LABELS}
    assert roles(columns, Overrides(text="text2")) == {"text1": "ignore", "text2": "text", "label": "target"}


def test_columns_of_an_input_keep_the_order_in_which_they_were_named():
    columns = {"body": TEXTS, "title": TEXTS[::-1], "note": TEXTS, "label": LABELS}
    for overrides, kind in (
        (Overrides(text=("title", "body")), "text"),
        (Overrides(pair=("title", "body")), "text_pair"),
    ):
        assert roles(columns, overrides) == {"body": kind, "title": kind, "note": "ignore", "label": "target"}
        found = infer_roles(read_table(pd.DataFrame(columns)), overrides)
        assert [column.name for column in input_columns(found)] == ["title", "body"]


def test_chosen_text_spares_broken_image_paths_beside_it():
    columns = {"picture": [f"gone{n}.jpg" for n in range(N)], "review": TEXTS, "label": LABELS}
    assert roles(columns, Overrides(text="review"))["picture"] == "ignore"


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (Overrides(target=("lable",)), DataError, "no column 'lable'. Did you mean 'label'"),
        (Overrides(text="Reveiw"), DataError, "Did you mean 'review'"),
        (Overrides(image="review", text="review"), TaskError, "--image review and --text review are 2 inputs"),
        (Overrides(pair=("review", "void"), text=("review",)), TaskError, "--text review and --pair review void are 2"),
        (Overrides(pair=("review",)), TaskError, "--pair takes two columns"),
        (Overrides(pair=("review", "review")), TaskError, "'review' is named twice"),
        (Overrides(text=("review", "label"), target=("label",)), TaskError, "both the target and the input"),
        (Overrides(pair=("review", "other")), DataError, "no column 'other'"),
        (Overrides(pair=("review", "void"), group="void"), DataError, "both the input and the group"),
        (Overrides(target=("label",), text="label"), TaskError, "both the target and the input"),
        (Overrides(image="void"), DataError, "every cell of column 'void' is empty"),
        (Overrides(image="stars"), DataError, "row 1: column 'stars' holds int"),
    ],
)
def test_overrides_that_cannot_be_are_refused(overrides, error, message):
    columns = {"review": TEXTS, "void": [None] * N, "stars": [1, 2] * 20, "label": LABELS}
    with pytest.raises(error, match=message):
        roles(columns, overrides)


def test_files_of_hospitals_are_named_with_the_way_out():
    with pytest.raises(TaskError, match=r"DICOM .*convert it to PNG"):
        roles({"scan": [f"scans/{n}.dcm" for n in range(N)], "label": LABELS})


@pytest.mark.parametrize(
    "day", ["2023年5月{}日", "2023년 5월 {}일", "{}. Mai 2023", "{} мая 2023", "{} de mayo de 2023"]
)
def test_dates_of_other_languages_are_no_texts(day):
    days = [day.format(1 + n % 28) for n in range(N)]
    assert roles({"when": days, "text": TEXTS, "label": LABELS})["text"] == "text"


def test_names_in_chinese_are_no_texts():
    names = [f"王小{chr(0x4E00 + n)}" for n in range(N)]
    reviews = [f"房间很干净{n}" for n in range(N)]
    assert roles({"用户": names, "评论": reviews, "label": LABELS}) == {
        "用户": "ignore",
        "评论": "text",
        "label": "target",
    }
