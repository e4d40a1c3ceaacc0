"""Reading: what comes in is what was written, and what cannot be read is refused with its place."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autotl.data.tables import TableParts, read_table
from autotl.data.text_files import PART_ROWS, parse_delimited
from autotl.errors import DataError

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_json_lines_are_read_whatever_the_file_is_called(tmp_path):
    lines = [json.dumps({"text": f"number {n}", "label": n % 2}) for n in range(4)]
    file = written(tmp_path, "reviews.json", "\n" + "\n".join(lines) + "\n")
    assert read_table(file).columns == {"text": [f"number {n}" for n in range(4)], "label": [0, 1, 0, 1]}
    with pytest.raises(DataError, match="one object per line"):
        read_table(written(tmp_path, "array.json", "[" + ",".join(lines) + "]"))
    with pytest.raises(DataError, match="one object per line"):  # as pandas writes one
        read_table(written(tmp_path, "frame.json", '{"text": {"0": "one", "1": "two"}, "label": {"0": 0, "1": 1}}'))


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1), separator=st.sampled_from(",;\t|"))
def test_any_text_written_as_csv_is_read_back(rows, separator, tmp_path_factory):
    # a cell of a table with tabs that holds lines and tabs may be several rows, and is refused where it could be
    assume(separator != "\t" or not any("\t" in cell and "\n" in cell for row in rows for cell in row))
    path = tmp_path_factory.getbasetemp() / "round_trip.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([("text", "label"), *rows])
    table = read_table(path)
    assert table.columns == {"text": [a or None for a, _ in rows], "label": [b or None for _, b in rows]}


#: Beginnings that lead the readers far: any of them may be followed by anything.
STARTS = [b"", b"text,label\n", b'{"text": "', b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"PAR1", b"sep=;\n", b"[[["]


@settings(max_examples=300, deadline=None)
@given(
    content=st.tuples(st.sampled_from(STARTS), st.one_of(st.binary(), TEXT.map(str.encode))).map(b"".join),
    suffix=st.sampled_from([".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet", ".json", ""]),
)
def test_any_bytes_are_a_table_or_refused_with_the_name_of_the_file(content, suffix, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        table = read_table(path)
    except DataError as refusal:
        said = str(refusal)
    else:
        assert {len(cells) for cells in table.columns.values()} == {table.rows}
        said = table.describe_row(table.rows - 1)
    assert f"any{suffix}" in said
    assert len(said) < 1000


CELLS_OF_JSON = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT, st.lists(TEXT))


@settings(deadline=None)
@given(rows=st.lists(st.dictionaries(st.sampled_from("abc"), CELLS_OF_JSON, min_size=1), min_size=1))
def test_any_objects_written_as_json_lines_are_read_back(rows, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8", newline="")
    columns = read_table(path).columns
    assert [{name: cells[row] for name, cells in columns.items()} for row in range(len(rows))] == [
        {name: row.get(name) for name in columns} for row in rows
    ]
    assert set(columns) == set().union(*rows)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_separator_is_found_among_texts_that_hold_the_others(tmp_path, separator, suffix):
    others = "".join(s for s in ",;|" if s != separator)
    lines = [f"text{separator}label"] + [f'"so{separator} {others} "" {others}"{separator}x{n % 2}' for n in range(9)]
    table = read_table(written(tmp_path, "t" + suffix, "\n".join(lines)))
    assert table.columns["text"] == [f'so{separator} {others} " {others}'] * 9
    assert table.columns["label"][:2] == ["x0", "x1"]


def test_separator_that_fits_only_the_header_is_not_taken(tmp_path):
    path = written(tmp_path, "t.csv", "text, or comment;label\nsome words;x\nmore words;y\n")
    assert list(read_table(path).columns) == ["text, or comment", "label"]


def test_tsv_keeps_commas(tmp_path):
    assert read_table(written(tmp_path, "t.tsv", "a,b\tlabel\n1,2\tx\n")).columns == {"a,b": ["1,2"], "label": ["x"]}


def test_cells_stay_as_written_and_only_empty_ones_are_missing(tmp_path):
    cells = ["01", "NA", "null", "1.0", " x ", "nan", "TRUE", "None"]
    path = written(tmp_path, "t.csv", "a,b\n" + "\n".join(f"{cell}," for cell in cells))
    assert read_table(path).columns == {"a": cells, "b": [None] * len(cells)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_encodings_are_read(tmp_path, encoding):
    path = written(tmp_path, "t.csv", "text,label\n酒店很好,ü\n".encode(encoding))
    assert read_table(path).columns == {"text": ["酒店很好"], "label": ["ü"]}


def test_cells_longer_than_the_csv_default_are_read(tmp_path):
    path = written(tmp_path, "t.csv", f"text,label\n{'a' * 200_000},x\n")
    assert len(read_table(path).columns["text"][0]) == 200_000


def test_rows_are_counted_without_header_and_blank_lines(tmp_path):
    table = read_table(written(tmp_path, "t.csv", 'text,label\none,x\n \n"two\nlines",y\nthree,x\n\n'))
    described = [table.describe_row(row) for row in range(3)]
    assert described == ["t.csv: row 1", "t.csv: row 2 (line 4)", "t.csv: row 3 (line 6)"]


def test_selected_rows_keep_their_numbers(tmp_path):
    table = read_table(written(tmp_path, "t.csv", "a\n" + "\n".join("pqrs"))).select([3, 1]).select([0])
    assert (table.rows, table.columns, table.describe_row(0)) == (1, {"a": ["s"]}, "t.csv: row 4")


def test_missing_file_names_the_closest(tmp_path):
    written(tmp_path, "flowers.csv", "a,b\n1,2\n")
    with pytest.raises(DataError, match=r"flower\.csv: there is no such file. Did you mean 'flowers.csv'"):
        read_table(tmp_path / "flower.csv")


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        read_table(tmp_path / "nowhere" / "flowers.csv")


def test_forbidden_file_is_refused(tmp_path, monkeypatch):
    def refuse(path: Path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    path = written(tmp_path, "t.csv", "a,b\n1,2\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"t\.csv cannot be read \(Permission denied\)"):
        read_table(path)


def test_json_lines_unite_their_keys(tmp_path):
    rows = [{"text": "a\u2028b", "label": 1}, {"text": None, "extra": True}]
    path = written(tmp_path, "t.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    assert read_table(path).columns == {"text": ["a\u2028b", None], "label": [1, None], "extra": [None, True]}


def test_not_a_number_is_missing_in_json_lines(tmp_path):
    assert read_table(written(tmp_path, "t.jsonl", '{"a": NaN}\n{"a": 1.5}')).columns == {"a": [None, 1.5]}


FRAME = pd.DataFrame(
    {
        "text": pd.Series(["a", None, "c"], dtype="string"),
        "label": pd.Categorical(["x", "y", None]),
        "number": [1.5, float("nan"), 2.0],
        "whole": pd.Series([1, None, 3], dtype="Int64"),
        "flag": [True, False, True],
        "scalar": pd.Series([np.int64(1), np.float64("nan"), np.str_("a")], dtype=object),
    }
)
CELLS = {
    "text": ["a", None, "c"],
    "label": ["x", "y", None],
    "number": [1.5, None, 2.0],
    "whole": [1, None, 3],
    "flag": [True, False, True],
    "scalar": [1, None, "a"],
}


def test_frame_becomes_plain_cells_at_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = read_table(FRAME.set_index(pd.Index([7, 7, 9])))
    assert (table.name, table.root, table.columns) == ("DataFrame", tmp_path, CELLS)
    assert all(type(cell) in (str, int, float, bool, type(None)) for cells in table.columns.values() for cell in cells)
    assert table.describe_row(2) == "DataFrame: row 3"


def test_parquet_gives_the_same_cells_and_no_column_from_its_folder(tmp_path):
    folder = tmp_path / "split=train"
    folder.mkdir()
    FRAME.drop(columns="scalar").to_parquet(folder / "t.parquet")
    assert read_table(folder / "t.parquet").columns == {
        name: cells for name, cells in CELLS.items() if name != "scalar"
    }


def test_class_folders_become_images_and_labels(tmp_path):
    images(tmp_path, "rose/2.JPG", "rose/1.png", "ant/a.jpeg", ".ipynb_checkpoints/x.jpg", "rose/.DS_Store")
    images(tmp_path, "rose/notes.txt", "empty/readme.md", "loose.jpg", "rose/deep/3.jpg")
    table = read_table(tmp_path)
    found = ["ant/a.jpeg", "rose/1.png", "rose/2.JPG", "rose/deep/3.jpg"]
    assert table.columns == {"image": found, "label": ["ant", "rose", "rose", "rose"]}
    assert table.root == tmp_path
    notes = " / ".join(table.notes)
    assert "1 image beside the class folders: 'loose.jpg'" in notes
    assert "no images in 1 folder: 'empty'" in notes
    assert "1 image in folders of a class folder count for that class: 'rose/deep'" in notes
    assert "4 entries" in notes


def test_a_class_whose_images_are_all_in_folders_is_a_class_and_links_to_folders_are_not_followed(tmp_path):
    images(tmp_path, "a/1.jpg", "c/2021/1.jpg", "c/2022/1.jpg", "c/2022/.hidden/2.jpg")
    (tmp_path / "c" / "again").symlink_to(tmp_path / "c")
    assert read_table(tmp_path).columns == {
        "image": ["a/1.jpg", "c/2021/1.jpg", "c/2022/1.jpg"], "label": ["a", "c", "c"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/a/1.jpg", "test/a/1.jpg"], r"--data \S+train and --test \S+test"),
        (["Train/a/1.jpg", "val/a/1.jpg"], r"--data \S+Train and --test \S+val"),
        (
            ["training_set/a/1.jpg", "training_set/b/1.jpg", "test_set/a/1.jpg", "single_prediction/1.jpg"],
            r"--data \S+training_set and --test \S+test_set",
        ),
        (["1.jpg", "2.jpg"], "no class folders with images .2 images beside each other"),
        (["images/a/1.jpg", "test.csv", "train.csv"], r"no class folders.*such as --data \S+train\.csv"),
        (["images/a/1.jpg", "test.csv", "who.csv"], r"no class folders.*such as --data \S+who\.csv"),
        (["fold1/a/1.jpg", "fold1/b/1.jpg", "fold2/a/1.jpg", "fold2/b/1.jpg"], "no class folders"),
        (["a/readme.md"], "no class folders"),
        (
            ["no/1.jpg", "yes/1.jpg", "all/no/1.jpg", "all/yes/1.jpg"],
            r"'all' holds the class folders 'no', 'yes' once more. Pass --data \S+all, or move it out",
        ),
        (["train/cat.0.jpg", "train/dog.0.jpg", "test/1.jpg"], "'test', 'train' hold images and no class folders"),
        (
            ["train/a/1.jpg", "test/1.jpg", "sample.csv"],
            r"'train' hold class folders of their own. Pass --data \S+train",
        ),
        (["images/1.jpg", "images/2.jpg", "labels.csv"], r"all images are in 'images'.*--data \S+labels\.csv"),
        (["flowers/rose/1.jpg", "flowers/daisy/2.jpg"], r"class folders are in 'flowers'. Pass --data \S+flowers$"),
        (["train_images/1.jpg", "test_images/2.jpg", "train.csv"], r"nothing says what is.*--data \S+train\.csv"),
    ],
)
def test_folders_without_classes_are_refused(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        read_table(images(tmp_path, *names))


def test_a_table_beside_class_folders_is_named_and_pictures_of_scanners_and_browsers_are_read(tmp_path):
    table = read_table(images(tmp_path, "a/1.pgm", "b/2.jfif", "b/scan.dcm", "labels.csv"))
    assert table.columns["image"] == ["a/1.pgm", "b/2.jfif"]
    notes = " / ".join(table.notes)
    assert "labels.csv beside the class folders is not read" in notes
    assert "DICOM (.dcm) is not read" in notes


def test_parts_may_be_predicted_and_classes_may_be_called_by_their_words(tmp_path):
    (part,) = TableParts(images(tmp_path / "new", "test/1.jpg"))
    assert part.columns["image"] == ["test/1.jpg"]
    trains = read_table(images(tmp_path / "trains", "freight_train/1.jpg", "passenger_train/2.jpg"))
    assert trains.columns["label"] == ["freight_train", "passenger_train"]


def test_a_class_called_test_is_a_class(tmp_path):
    assert read_table(images(tmp_path, "test/1.jpg", "quiz/1.jpg")).columns["label"] == ["quiz", "test"]


def test_a_single_column_of_text_needs_no_separator():
    ((columns, lines),) = parse_delimited(["text\n", "hello; world\n"], name="t.csv")
    assert (columns, lines) == ({"text": ["hello; world"]}, [2])


# -------------------------------------------------------------------- large tables, in parts

LARGE = 3 * PART_ROWS + 100


def large(folder, suffix, rows=LARGE):
    """A table of several parts; of JSON Lines, one column begins in the last part."""
    texts = [f"text {row}\nof two lines" for row in range(rows)]
    frame = pd.DataFrame({"text": texts, "label": ["a", None] * (rows // 2)})
    path = folder / f"large{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path, row_group_size=1000)
    elif suffix == ".jsonl":
        lines = [json.dumps({"text": text}) for text in frame["text"]]
        lines[-1] = json.dumps({"text": "the last", "label": "a", "note": "new"})
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_parts_of_a_large_table_are_the_table(tmp_path, suffix):
    path = large(tmp_path, suffix)
    whole, parts = read_table(path), TableParts(path)
    assert whole.rows == LARGE
    assert whole.numbers[-1] == LARGE
    assert parts.columns == tuple(whole.columns)
    read = list(parts)
    assert [part.rows for part in read] == [PART_ROWS] * 3 + [100]
    for name, cells in whole.columns.items():
        assert [cell for part in read for cell in part.columns[name]] == cells
    for index in (0, 7, 99):
        assert read[-1].describe_row(index) == whole.describe_row(3 * PART_ROWS + index)
    assert [part.rows for part in parts] == [part.rows for part in read]  # as often as one likes


def test_what_is_in_memory_or_a_folder_comes_in_parts_too(tmp_path):
    texts = [f"text {number}" for number in range(LARGE)]
    whole, read = read_table(frame := pd.DataFrame({"text": texts})), list(TableParts(frame))
    assert [part.rows for part in read] == [PART_ROWS] * 3 + [100]
    assert [cell for part in read for cell in part.columns["text"]] == texts
    assert read[-1].describe_row(7) == whole.describe_row(3 * PART_ROWS + 7)


@pytest.mark.parametrize(
    ("suffix", "line", "told"),
    [
        (".csv", "one,two,three", rf"row {LARGE + 1} \(line {2 * LARGE + 2}\) has 3 cells"),
        (".jsonl", "\n[]", rf"line {LARGE + 1} is not an object"),
    ],
)
def test_a_fault_in_the_last_part_is_found_before_the_first_is_read(tmp_path, suffix, line, told):
    path = large(tmp_path, suffix)
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
    for read in (read_table, TableParts):
        with pytest.raises(DataError, match=told):
            read(path)


def test_parts_take_the_memory_of_a_part(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        file.writelines(f"{row} {'x' * 300},a\n" for row in range(8 * PART_ROWS))
    tracemalloc.start()
    try:
        parts = TableParts(path)
        assert sum(part.rows for part in parts) == 8 * PART_ROWS
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2


def test_images_beside_each_other_are_a_table_to_predict(tmp_path):
    folder = images(tmp_path / "flat", "b.jpg", "a.png", "notes.txt")
    assert read_table(folder, labelled=False).columns == {"image": ["a.png", "b.jpg"]}
    assert TableParts(folder).columns == ("image",)
    both = images(tmp_path / "both", "rose/1.png", "loose.jpg")
    found = read_table(both, labelled=False)
    assert found.columns == {"image": ["loose.jpg", "rose/1.png"], "label": [None, "rose"]}
    assert found.notes == ()


def test_rows_of_a_tsv_that_a_stray_quote_would_make_one_are_refused(tmp_path):
    lines = ["text\tlabel", "good\ta", '"well\tb', "some more\ta", 'and so on"\tb', "bad\ta"]
    with pytest.raises(DataError, match=r"t\.tsv: row 2 \(line 3\) goes on to the next line within a quoted cell"):
        read_table(written(tmp_path, "t.tsv", "\n".join(lines)))


def test_quoted_cells_of_a_tsv_hold_tabs_and_line_breaks(tmp_path):
    texts = ["two\nlines", "a\ttab", "def f():\n\treturn 1", "a\tb\n\n"]
    with (tmp_path / "t.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["text", "label"], *([text, "a"] for text in texts)])
    assert read_table(tmp_path / "t.tsv").columns["text"] == texts


def test_masks_beside_images_are_no_images(tmp_path):
    names = [f"{kind}/{kind} (1){end}.png" for kind in ("benign", "normal") for end in ("", "_mask", "_mask_1")]
    table = read_table(images(tmp_path, *names, "normal/face_mask.png"))
    assert table.columns["image"] == ["benign/benign (1).png", "normal/face_mask.png", "normal/normal (1).png"]
    assert any(note.startswith("left out 4 masks beside the images that they are of") for note in table.notes)


def test_pictures_of_telephones_are_named_where_nothing_else_is_there(tmp_path):
    with pytest.raises(DataError, match=r"HEIC \(.heic\) is not read: convert it to JPEG"):
        read_table(images(tmp_path, "a/1.HEIC", "b/2.HEIC"))
