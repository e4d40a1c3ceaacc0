"""The corpus of bad tables: each file is learned from as its owner meant it, or refused in one line that helps.

What is refused goes through ``autotl search`` (exit code 2, one line, nothing written), all else through
``autotl inspect``. A case is what the file is, its name and content, and what is expected of it.
"""

from __future__ import annotations

import codecs
import json
import os
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autotl.cli.main import main

TEXTS = [f"review number {number} was written" for number in range(40)]
LABELS = ["good", "bad"] * 20


@dataclass(frozen=True)
class Refused:
    """words: what the one line says beside the file's name."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Learned:
    """classes, in natural order; note: a part of one of the notes."""

    classes: tuple[str, ...] = ("bad", "good")
    kept: int = 40
    note: str = field(default="", kw_only=True)


def refused(*words):
    return Refused(words)


def lines(labels=LABELS, *, header="text,label", separator=",", end="\n", texts=TEXTS):
    rows = (f"{text}{separator}{label}" for text, label in zip(texts, labels, strict=False))
    return end.join([header, *rows, ""])


def objects(*rows, **columns):
    """JSON Lines: `rows` as they are, then objects of `columns`."""
    cells = zip(*columns.values(), strict=True)
    return "\n".join([*rows, *(json.dumps(dict(zip(columns, row, strict=True))) for row in cells)])


def parquet(*arrays, names=("text", "label"), **columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(list(arrays), names=list(names)) if arrays else pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def latin_1_text():
    """One string that is no UTF-8, as Arrow lets writers write it."""
    ends, letters = np.array([0, 1, 2], np.int32), b"\xe9\xe9"
    return pa.StringArray.from_buffers(2, pa.py_buffer(ends.tobytes()), pa.py_buffer(letters))


OTHERS = [text.replace("review", "piece") for text in TEXTS]

ENCODINGS = {
    "UTF-8 with a byte order mark": ("t.csv", lines().encode("utf-8-sig"), Learned()),
    "UTF-16 with a byte order mark": ("t.csv", lines().encode("utf-16"), Learned()),
    "UTF-16 big-endian with a mark": ("t.csv", codecs.BOM_UTF16_BE + lines().encode("utf-16-be"), Learned()),
    "UTF-16 without a mark": ("t.csv", lines().encode("utf-16-le"), refused("line 1", "NUL", "UTF-8")),
    "UTF-16 that is cut in two": ("t.csv", lines().encode("utf-16")[:-1], refused("is not UTF-16 text")),
    "UTF-32": ("t.csv", lines().encode("utf-32"), refused("line 1", "NUL")),
    "Latin-1": (
        "t.csv", lines().replace("review", "café").encode("latin-1"), refused("line 2 (byte 15)", "convert it"),
    ),
    "Chinese in GB 18030": (
        "t.csv", lines(["阳性", "阴性"] * 4, texts=["头痛1", "头痛 and 阳性"] * 4).encode("gb18030"),
        refused("line 2", "convert it", "gb18030 (Chinese)", "open('utf8-t.csv', 'wb')"),
    ),
    "UTF-8 with a line of Latin-1": (
        "t.csv", lines(["gut", "schön"] * 20).encode() + "süß,gut\n".encode("latin-1"), refused("line 42", "mend that"),
    ),
    "two files with marks, joined": (
        "t.csv", lines().encode("utf-8-sig") + lines(texts=OTHERS).encode("utf-8-sig"), refused("line 42", "header"),
    ),
    "a mark in the middle of the labels": ("t.csv", lines(["good", "\ufeffgood", "bad", "bad"] * 10), Learned()),
    "a NUL": ("t.csv", lines().replace("written", "\0", 1), refused("line 2", "NUL")),
    "a picture named .csv": ("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", refused("line 1", "not UTF-8")),
}  # fmt: skip

SHAPES = {
    "nothing": ("t.csv", "", refused("the file is empty")),
    "blank lines only": ("t.csv", "\n\n \n", refused("column 1 has no name")),
    "a header only": ("t.csv", "text,label\n", refused("no rows")),
    "one row": ("t.csv", lines(["good"]), refused("At least two classes")),
    "two rows": ("t.csv", lines(["good", "bad"]), refused("row 2", "have only one row", "Add rows")),
    "one class": ("t.csv", lines(["good"] * 40), refused("'good'", "At least two classes")),
    "a class with one row": ("t.csv", lines([*LABELS[:-1], "rare"]), Learned(kept=39, note="t.csv: row 40 ('rare')")),
    "a short row": ("t.csv", lines() + "alone\n", refused("row 41 (line 42)", "1 cell")),
    "a long row": ("t.csv", lines() + "so, so,good\n", refused("row 41 (line 42)", "3 cells", "quotes")),
    "blank lines between rows": ("t.csv", lines(end="\n\n \n"), Learned()),
    "old Macintosh line ends": ("t.csv", lines(end="\r"), Learned()),
    "line ends of all three kinds": ("t.csv", lines().replace("\n", "\r\n", 10).replace("\n", "\r", 20), Learned()),
    "no line end at the end": ("t.csv", lines().rstrip("\n"), Learned()),
    "two columns of one name": ("t.csv", lines(header="text,text"), refused("'text' more than once")),
    "a column without a name": (
        "t.csv", lines(header=",label"), refused("column 1 has no name", "to_csv(index=False)"),
    ),
    "a separator at the end of each line": ("t.csv", lines(end=",\n"), refused("column 3 has no name")),
    "the line that Excel writes first": (
        "t.csv", "sep=;\n" + lines(header="text;label", separator=";"), refused("line 1", "Excel", "Remove"),
    ),
    "three files, joined": ("t.csv", lines() * 3, refused("row 41 (line 42)", "repeats the header")),
    "three thousand columns of numbers": (
        "t.csv",
        "\n".join(",".join([*(f"{what}{n}" for n in range(3000)), label]) for what, label in
                  [("c", "label"), *(("1", label) for label in LABELS)]),
        refused("no column looks like images or text", "'c0'", "and 2992 more", "--text"),
    ),
    "a hundred columns of texts": (
        "t.csv",
        "\n".join(["\t".join([*(f"c{n}" for n in range(100)), "label"]),
                   *("\t".join([text] * 100 + [label]) for text, label in zip(TEXTS, LABELS, strict=True))]),
        refused("100 columns could be the input", "and 92 more", "--text c0"),
    ),
    "a cell of a million characters": ("t.csv", lines(texts=["very " * 200_000, *TEXTS[1:]]), Learned()),
    "every text empty": ("t.csv", lines(texts=[""] * 40), refused("no column looks like images or text", "empty")),
    "a third of the texts empty": (
        "t.csv", lines(texts=[text * (n % 3 > 0) for n, text in enumerate(TEXTS)]), refused("row 1", "--skip-un"),
    ),
    "one text empty": ("t.csv", lines(texts=["", *TEXTS[1:]]), Learned(kept=39, note="1 row with nothing in 'text'")),
}  # fmt: skip

QUOTES = {
    "quotes around everything": ("t.csv", lines(separator='","', end='"\n"', header='"text","label')[:-1], Learned()),
    "line ends and quotes inside quotes": (
        "t.csv", lines(texts=[f'"so\n""{text}"""' for text in TEXTS]), Learned(),
    ),
    "a quote that never closes": ("t.csv", lines() + '"open,good\nmore,bad\n', refused("line 42", "quote")),
    "a quote inside a cell": ("t.csv", lines(texts=[f'5" {text}' for text in TEXTS]), Learned()),
    "text after a closing quote": ("t.csv", lines() + '"so" it was,good\n', refused("line 42", "quote")),
    "semicolons": ("t.csv", lines(header="text;label", separator=";"), Learned()),
    "bars in a .txt": ("t.txt", lines(header="text|label", separator="|"), Learned()),
    "tabs in a .csv": ("t.csv", lines(header="text\tlabel", separator="\t"), Learned()),
    "commas in a .tsv": ("t.tsv", lines(), refused("'text,label'", "only one column", "a tab")),
    "an unknown separator": ("t.csv", lines(header="text^label", separator="^"), refused("only one column", "a comma")),
    "spaces after separators": ("t.csv", lines(header="text, label", separator=", "), Learned()),
    "spaces before quotes": (
        "t.csv",
        "label, text\n" + "".join(f'{label}, "so, {text}"\n' for label, text in zip(LABELS, TEXTS, strict=True)),
        Learned(),
    ),
    "spaces before quotes around labels": (
        "t.csv", "text, label\n" + "".join(f'{text}, "{label}"\n' for text, label in zip(TEXTS, LABELS, strict=True)),
        Learned(),
    ),
}  # fmt: skip

NAMES = {
    "another name": ("t.zip", "PK", refused("Unpack")),
    "a workbook": ("t.xlsx", "PK", refused("CSV")),
    "JSON in one piece": ("t.json", json.dumps([{"text": "a"}]), refused("jq -c")),
    "no suffix": ("table", lines(), refused("a table is read from .csv")),
    "a suffix in capitals": ("T.CSV", lines(), Learned()),
    "a name with a line end": ("a\nb.csv", "", refused("the file is empty")),
    "a name of spaces and accents": ("é è.csv", lines(), Learned()),
}

CLASSES = {
    "spaces around labels": ("t.csv", lines(["good", " good", "bad\t", "bad"] * 10), Learned(note="made one")),
    "non-breaking spaces in labels": (
        "t.csv", lines(["New York", "New\u00a0York", "New  York", "Paris"] * 10), Learned(("New York", "Paris")),
    ),
    "characters of no width in labels": ("t.csv", lines(["good", "go\u200bod", "bad", "bad"] * 10), Learned()),
    "both Unicode forms in labels": (
        "t.csv", lines(["é", "e\u0301", "bad", "bad"] * 10), Learned(("bad", "é"), note="made one"),
    ),
    "Cyrillic letters that look Latin": (
        "t.csv", lines(["cat", "\u0441at", "dog", "dog"] * 10), Learned(("cat", "dog", "\u0441at"), note="look alike"),
    ),
    "letters of full width": (
        "t.csv", lines(["cat", "\uff43at", "dog", "dog"] * 10), Learned(("cat", "dog", "\uff43at"), note="look alike"),
    ),
    "labels that differ in case": (
        "t.csv", lines(["Good", "good", "bad", "bad"] * 10), Learned(("bad", "Good", "good"), note="only in case"),
    ),
    "whole numbers with and without a fraction": (
        "t.csv", lines(["1", "1.0", "0.0", "0"] * 10), Learned(("0", "1"), note="made one"),
    ),
    "whole numbers with a fraction only": ("t.csv", lines(["1.0", "2.0"] * 20), Learned(("1.0", "2.0"))),
    "numbers that begin with a zero": ("t.csv", lines(["01", "1"] * 20), Learned(("01", "1"))),
    "a label that says that it is missing": (
        "t.csv", lines(["good", "bad", "NaN", "bad"] * 10), Learned(("bad", "good", "NaN"), note="empty the cells"),
    ),
    "two labels empty": ("t.csv", lines([*LABELS[:-2], "", " "]), Learned(kept=38, note="2 of 40 rows")),
    "most labels empty": ("t.csv", lines(["good", "", ""] * 13), refused("row 2", "no label", "--target")),
    "every label empty": ("t.csv", lines([""] * 40), refused("row 1", "no label")),
    "measured numbers": ("t.csv", lines([f"{n / 7}" for n in range(40)]), Learned(())),
    "measured numbers, one of them infinite": (
        "t.jsonl", objects(text=TEXTS, label=[float("inf"), *(n / 7 for n in range(39))]),
        refused("row 1", "'label' is 'inf'"),
    ),
    "labels that are markup": ("t.csv", lines(["[/b]", "<b>"] * 20), Learned(("<b>", "[/b]"))),
    "a column name with a space": ("t.csv", lines(header="text , label "), Learned()),
}  # fmt: skip

JSON_LINES = {
    "mixed types and missing keys": (
        "t.jsonl", objects('{"text": null, "more": [1]}', text=TEXTS, label=LABELS), Learned(note="nothing in 'text'"),
    ),
    "labels of several types": (
        "t.jsonl", objects(text=TEXTS, label=[1, 1.0, "1", "0", 0, 0.0, True, False] * 5),
        Learned(("0", "1", "False", "True"), note="made one"),
    ),
    "old Macintosh line ends in JSON": ("t.jsonl", objects(text=TEXTS, label=LABELS).replace("\n", "\r"), Learned()),
    "NaN as a label": (
        "t.jsonl", objects(text=TEXTS, label=[*LABELS[:-1], float("nan")]), Learned(kept=39, note="row 40"),
    ),
    "infinity as a label": (
        "t.jsonl", objects(text=TEXTS, label=[1.0, float("-inf")] * 20), refused("row 2", "'label' is -inf", "remove"),
    ),
    "numbers beyond every range": (
        "t.jsonl", objects(text=TEXTS, label=[*LABELS[:-1], 0.5]).replace("0.5", "1e999"), refused("row 40", "is inf"),
    ),
    "whole numbers of a hundred digits": (
        "t.jsonl", objects(text=TEXTS, label=[10**100, 10**100 + 1] * 20), Learned((f"{10**100}", f"{10**100 + 1}")),
    ),
    "whole numbers of ten thousand digits": (
        "t.jsonl", f'{{"text": "a", "label": {"9" * 10_000}}}', refused("line 1", "not JSON"),
    ),
    "a key twice": (
        "t.jsonl", objects('{"text": "a b", "label": 1, "label": 2}'), refused("line 1", "'label' more than once"),
    ),
    "a label with several values": (
        "t.jsonl", objects(text=TEXTS, label=[["good"], ["bad", "ugly"]] * 20), Learned(("bad", "good", "ugly")),
    ),
    "a label with a name inside": (
        "t.jsonl", objects(text=TEXTS, label=[{"name": label} for label in LABELS]), refused("row 1", "type dict"),
    ),
    "a text with a body inside": (
        "t.jsonl", objects(text=[{"body": text} for text in TEXTS], label=LABELS), refused("'text'", "dict", "--text"),
    ),
    "an array in place of objects": ("t.jsonl", json.dumps([{"text": "a"}]), refused("line 1", "object")),
    "an array over many lines": ("t.jsonl", json.dumps([{"a": 1}], indent=1), refused("line 1", "one object per line")),
    "brackets without an end": ("t.jsonl", "[" * 100_000, refused("line 1", "not JSON")),
    "a line that is cut": ("t.jsonl", objects(text=TEXTS, label=LABELS)[:-5], refused("line 40", "not JSON")),
    "half a character": ("t.jsonl", '{"text": "\\ud83d"}', refused("line 1", "surrogates")),
    "blank lines only, in JSON": ("t.ndjson", "\n\n", refused("no rows")),
}  # fmt: skip

WHOLE = parquet(text=TEXTS, label=LABELS)

PARQUET = {
    "a dictionary of labels": ("t.parquet", parquet(text=TEXTS, label=pa.array(LABELS).dictionary_encode()), Learned()),
    "lists beside": ("t.parquet", parquet(text=TEXTS, label=LABELS, tags=[["a", "b"]] * 40), Learned()),
    "lists of labels": ("t.parquet", parquet(text=TEXTS, label=[[one] for one in LABELS]), Learned()),
    "bytes for texts": ("t.parquet", parquet(text=[b"a b c"] * 40, label=LABELS), refused("'text'", "bytes")),
    "timestamps beside": (
        "t.parquet", parquet(text=TEXTS, label=LABELS, at=pa.array(range(40), pa.timestamp("ns"))), Learned(),
    ),
    "a date that Python has not": (
        "t.parquet", parquet(text=TEXTS, label=LABELS, at=pa.array([10**18] * 40, pa.timestamp("us"))),
        refused("column 'at'", "leave the column out"),
    ),
    "decimals as labels": (
        "t.parquet", parquet(text=TEXTS, label=pa.array([1, 2] * 20).cast(pa.decimal128(21, 2))), Learned(("1", "2")),
    ),
    "halves as labels": ("t.parquet", parquet(text=TEXTS, label=np.float16([0, 1] * 20)), Learned(("0", "1"))),
    "text that is not UTF-8": (
        "t.parquet", parquet(text=latin_1_text(), label=["a", "b"]), refused("column 'text'", "utf-8"),
    ),
    "two columns of one name in Parquet": (
        "t.parquet", parquet(pa.array(TEXTS), pa.array(LABELS), names=("label", "label")), refused("than one column"),
    ),
    "no rows": ("t.parquet", parquet(text=pa.array([], pa.string())), refused("no rows")),
    "the half of a file": ("t.parquet", WHOLE[:99], refused("not a readable Parquet file")),
    "a file with a hole": (
        "t.parquet", WHOLE[:40] + bytes(20) + WHOLE[60:], refused("not a readable Parquet file"),
    ),
    "a table of commas named .parquet": ("t.parquet", lines(), refused("not a readable Parquet file")),
}  # fmt: skip

CASES = ENCODINGS | SHAPES | QUOTES | NAMES | CLASSES | JSON_LINES | PARQUET


@pytest.mark.parametrize(("name", "content", "expected"), CASES.values(), ids=CASES)
def test_table(request, tmp_path, capsys, name, content, expected):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if isinstance(expected, Refused):
        zoo, command = request.getfixturevalue("zoo"), request.getfixturevalue("refused")
        said = command("search", "--data", path, "--models", zoo, "--trials", "1")
        assert all(words in said for words in (" ".join(name.split()), *expected.words)), said
    else:
        assert main(["inspect", "--data", str(path), "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        assert tuple(answer["task"]["classes"]) == expected.classes
        assert answer["kept"] == expected.kept
        assert expected.note in "\n".join(answer["notes"])


def test_no_case_is_there_twice():
    groups = (ENCODINGS, SHAPES, QUOTES, NAMES, CLASSES, JSON_LINES, PARQUET)
    assert len(CASES) == sum(map(len, groups))


# -------------------------------------------------------------------- names of columns on the command line


@pytest.mark.parametrize(
    "header", ["text,catégorie", "text,cate\u0301gorie", "text, catégorie ", "text,\ufeffcatégorie"]
)
def test_column_is_found_however_its_name_is_spelled(tmp_path, capsys, header):
    (tmp_path / "t.csv").write_text(lines(header=header), encoding="utf-8")
    assert main(["inspect", "--data", str(tmp_path / "t.csv"), "--target", "catégorie", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"]["target"] == header.partition(",")[2]


def test_two_columns_of_nearly_one_name_have_to_be_told_apart(refused, tmp_path):
    (tmp_path / "t.csv").write_text(lines(header="text,kind ,kind", end=",x\n").replace("kind,x", "kind"))
    assert "no column ' kind'" in refused("inspect", "--data", tmp_path / "t.csv", "--target", " kind")


# -------------------------------------------------------------------- paths of tables


def make_pipe(folder):
    os.mkfifo(folder / "t.csv")


def link_to(target):
    return lambda folder: (folder / "t.csv").symlink_to(target)


PATHS = {
    "not there": ("t.csv", lambda folder: None, "no such file"),
    "in a folder that is not there": ("gone/t.csv", lambda folder: None, "no folder"),
    "a link to nothing": ("t.csv", link_to("gone.csv"), "leads nowhere"),
    "a link to itself": ("t.csv", link_to("t.csv"), "leads nowhere"),
    "a link to a device without an end": ("t.csv", link_to("/dev/zero"), "a pipe or a device"),
    "a pipe that nobody writes to": ("t.csv", make_pipe, "a pipe or a device"),
    "a folder named like a table": ("t.csv", lambda folder: (folder / "t.csv").mkdir(), "no class folders"),
    "a name that is too long": ("x" * 5000 + ".csv", lambda folder: None, "name too long"),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and devices in the file system")
@pytest.mark.parametrize(("name", "make", "words"), PATHS.values(), ids=PATHS)
def test_path_that_leads_to_no_table(refused, tmp_path, name, make, words):
    make(tmp_path)
    assert words in refused("inspect", "--data", tmp_path / name)


@pytest.mark.parametrize(
    "path", ["", "https://example.org/t.csv", "s3://bucket/t.csv", "~nobody-of-that-name/t.csv", "."]
)
def test_words_that_are_no_path_of_a_table(refused, zoo, path):
    assert refused("search", "--data", path, "--models", zoo, "--trials", "1")


def test_table_behind_a_link_keeps_the_images_beside_the_link(tmp_path, capsys):
    """Stores of large files keep a table under its checksum, and a link with its name where people work."""
    (tmp_path / "store").mkdir()
    (tmp_path / "work").mkdir()
    for number in range(40):
        (tmp_path / "work" / f"{number}.jpg").write_bytes(bytes([number]))
    cells = [f"{number}.jpg" for number in range(40)]
    (tmp_path / "store" / "1f3870be274f").write_text(lines(header="image,label", texts=cells))
    (tmp_path / "work" / "t.csv").symlink_to(tmp_path / "store" / "1f3870be274f")
    assert main(["inspect", "--data", str(tmp_path / "work" / "t.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"]["inputs"] == [{"name": "image", "modality": "image"}]


# -------------------------------------------------------------------- a test table beside the table

TESTS = {
    "lacks the text": (lines(header="review,label"), ("t.csv", "no column 'text'")),
    "lacks the labels": (lines(header="text,labels"), ("no column 'label'", "Did you mean 'labels'")),
    "has a class that is not learned": (lines([*LABELS[:-1], "ugly"]), ("row 40", "'ugly'", "'bad', 'good'")),
    "has no labels": (lines([""] * 40), ("no row has a label",)),
    "has no texts": (lines(texts=[""] * 40), ("no row with a label has anything in 'text'",)),
    "has texts only where no labels are": (lines(["", "good"], texts=["a b", ""]), ("no row with a label",)),
    "is empty": ("text,label\n", ("no rows",)),
    "has nested labels": (objects(text=TEXTS, label=[[one] for one in LABELS]), ("row 1", "not one of the classes")),
    "has nested texts": (objects(text=[[text] for text in TEXTS], label=LABELS), ("row 1", "'text'", "type list")),
}


@pytest.mark.parametrize(("content", "words"), TESTS.values(), ids=TESTS)
def test_test_table_that_cannot_be_scored_on(refused, zoo, tmp_path, content, words):
    (tmp_path / "train.csv").write_text(lines())
    path = tmp_path / ("t.jsonl" if content.startswith("{") else "t.csv")
    path.write_text(content)
    said = refused("search", "--data", tmp_path / "train.csv", "--test", path, "--models", zoo, "--trials", "1")
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    "content",
    [
        lines(["good"] * 40, texts=OTHERS),
        lines(["good,7", "bad ,8"] * 20, header="text,label,page", texts=OTHERS),
        lines(header=" text ,label", texts=OTHERS),
    ],
    ids=["lacks a class", "has a column more", "spells a column otherwise"],
)
def test_test_table_that_can_be_scored_on(tmp_path, capsys, content):
    (tmp_path / "train.csv").write_text(lines())
    (tmp_path / "t.csv").write_text(content)
    assert main(["inspect", "--data", str(tmp_path / "train.csv"), "--test", str(tmp_path / "t.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"]["classes"] == ["bad", "good"]
