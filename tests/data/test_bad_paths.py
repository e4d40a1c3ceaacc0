"""The corpus of cells that should name an image: what is no file is told apart; nothing hangs or fills the memory."""

from __future__ import annotations

import json
import os
import signal
import unicodedata

import pytest

from autotl.cli.main import main
from autotl.data.paths import MOST_BYTES

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes, devices and links in the file system")

N = 40


@pytest.fixture(autouse=True)
def promptly():
    """Fails what would wait for ever."""

    def fail(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path):
    """`N` files that are called images, and around them what no image is."""
    here = tmp_path / "here"
    (here / "folder.jpg").mkdir(parents=True)
    for number in range(N):
        (here / f"{number}.jpg").write_bytes(bytes([number]))
        (tmp_path / f"{number}.jpg").write_bytes(bytes([number, 1]))
        (here / f"link-{number}.jpg").symlink_to(tmp_path / f"{number}.jpg")
    os.mkfifo(here / "pipe.jpg")
    (here / "zero.jpg").symlink_to("/dev/zero")
    (here / "gone.jpg").symlink_to("nowhere.jpg")
    (here / "loop.jpg").symlink_to("loop.jpg")
    return here


def write(folder, cells):
    rows = (f'"{cell}",{"ab"[number % 2]}' for number, cell in enumerate(cells))
    (folder / "t.csv").write_text("\n".join(["image,label", *rows]), encoding="utf-8")
    return folder / "t.csv"


GOOD = {
    "beside the table": "{number}.jpg",
    "above the table": "../{number}.jpg",
    "through a folder and back": "folder.jpg/../{number}.jpg",
    "from the root": "{folder}/{number}.jpg",
    "with dots in between": "./././{number}.jpg",
    "behind a link out of the folder": "link-{number}.jpg",
}


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_accents_may_be_written_otherwise_than_on_the_disk(folder, capsys, on_disk, in_table):
    for number in range(N):
        (folder / unicodedata.normalize(on_disk, f"é-{number}.jpg")).write_bytes(bytes([number, 2]))
    path = write(folder, [unicodedata.normalize(in_table, f"é-{number}.jpg") for number in range(N)])
    assert main(["inspect", "--data", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["columns"][0]["evidence"] == f"{N} of {N} sampled cells name image files"
    assert answer["audit"]["input"]["least"] == 2


@pytest.mark.parametrize("cell", [" {number}.jpg", "{number}.jpg ", "\t{number}.jpg\t"])
def test_spaces_may_stand_around_a_path(folder, capsys, cell):
    path = write(folder, [cell.format(number=number) for number in range(N)])
    assert main(["inspect", "--data", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["columns"][0]["evidence"] == f"{N} of {N} sampled cells name image files"


@pytest.mark.parametrize("cell", GOOD.values(), ids=GOOD)
def test_images_may_lie_anywhere(folder, capsys, cell):
    path = write(folder, [cell.format(number=number, folder=folder) for number in range(N)])
    assert main(["inspect", "--data", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["kept"], answer["columns"][0]["role"]) == (N, "image")
    assert answer["audit"]["repeats"] == 0


ODD = {
    "a folder": ("folder.jpg", "is a folder"),
    "a pipe": ("pipe.jpg", "is a pipe or a device"),
    "a device without an end": ("zero.jpg", "is a pipe or a device"),
    "a device by its name": ("/dev/zero", "is a pipe or a device"),
    "a link to nothing": ("gone.jpg", "is not there"),
    "a link to itself": ("loop.jpg", "is not there"),
    "an address": ("https://example.org/a.jpg", "web addresses"),
    "an address of a file": ("file:///tmp/a.jpg", "web addresses"),
    "the picture itself": ("data:image/png;base64,iVBORw0KGgo=", "web addresses"),
    "a name that is too long": ("x" * 5000 + ".jpg", "is not there"),
    "a path of Windows": (r"C:\images\a.jpg", "is not there"),
    "a name with spaces around": ("  none.jpg ", "is not there"),
}


@pytest.mark.parametrize("cell", [cell for cell, _ in ODD.values()], ids=ODD)
def test_one_odd_cell_is_left_to_whoever_reads_it(folder, capsys, cell):
    path = write(folder, [*(f"{number}.jpg" for number in range(N - 1)), cell])
    assert main(["inspect", "--data", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["kept"] == N
    assert answer["columns"][0]["evidence"] == f"{N - 1} of {N} sampled cells name image files"


@pytest.mark.parametrize(("cell", "words"), ODD.values(), ids=ODD)
def test_many_odd_cells_are_refused(folder, refused, cell, words):
    said = refused("inspect", "--data", write(folder, [cell] * N), "--image", "image")
    assert "t.csv: row 1" in said
    assert words in said
    assert len(said) < 700


def test_a_file_too_large_for_a_picture_is_not_read(folder, capsys):
    for name in ("huge.jpg", "as huge.jpg"):
        with (folder / name).open("wb") as file:
            file.truncate(100 * MOST_BYTES)  # takes no room on the disk
    path = write(folder, [*(f"{number}.jpg" for number in range(N - 2)), "huge.jpg", "as huge.jpg"])
    assert main(["inspect", "--data", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit"]["repeats"] == 0


# -------------------------------------------------------------------- names as other systems and programs write them


def test_folders_may_be_written_with_backslashes(folder, capsys):
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "ä.jpg").write_bytes(b"0")
    (folder / "a" / "b" / "0.jpg").write_bytes(b"1")
    write(folder, ["a\\b\\0.jpg", "a\\b\\a\u0308.jpg"] * (N // 2))
    assert main(["inspect", "--data", str(folder / "t.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["columns"][0]["evidence"].startswith(f"{N} of {N}")


def test_backslashes_that_lead_nowhere_are_shown_as_they_are(folder, refused):
    write(folder, ["gone\\0.jpg"] * N)
    said = refused("inspect", "--data", folder / "t.csv")
    assert "gone\\0.jpg" in said
    assert "gone\\\\0.jpg" not in said
    assert "Write / in place of \\" in said


def test_names_without_their_endings_are_told(folder, refused, capsys):
    names = [f"Aufnahme {number}" for number in range(N)]
    for name in names:
        (folder / f"{name}.png").write_bytes(name.encode())
    write(folder, names)
    assert "There is 'Aufnahme 0.png': write names with their endings" in refused(
        "inspect", "--data", folder / "t.csv", "--image", "image"
    )
    assert main(["inspect", "--data", str(folder / "t.csv"), "--json"]) == 0
    assert "'Aufnahme 0.png' lies beside the table" in "\n".join(json.loads(capsys.readouterr().out)["notes"])


@pytest.mark.parametrize("option", ["--data", "--test", "--out", "--models"])
def test_a_name_of_another_systems_bytes_is_refused(refused, tmp_path, option):
    """It could not be kept in the run, which is JSON."""
    named = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    (tmp_path / "t.csv").write_text("text,label\n" + "some words,a\nother words,b\n" * 20, encoding="utf-8")
    given = {"--data": tmp_path / "t.csv", "--budget": "20s"} | {option: named}
    said = refused("search", *(part for pair in given.items() for part in pair))
    assert "caf\\udce9" in said
    assert "not UTF-8" in said
