"""Packed zoos: what is packed comes out again, byte for byte, and an archive from elsewhere writes nothing else."""

from __future__ import annotations

import io
import json
import shutil
import tarfile

import pytest

from autotl.cli.main import main
from autotl.plugins.contracts import Candidate, Recipe
from autotl.zoo.inventory import called
from autotl.zoo.manifest import MANIFEST_FILE


@pytest.fixture
def models(zoo, tmp_path):
    """The two tiny models, one of them with what is not packed."""
    folder = shutil.copytree(zoo, tmp_path / "models")
    for name in ("pytorch_model.bin", "modeling.py", ".hidden"):
        (folder / "one" / name).write_text("not for here")
    (folder / "one" / "inner").mkdir()
    (folder / "one" / "inner" / "notes.txt").write_text("for everyone")
    return folder


@pytest.fixture
def here(bare, tiny, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def packed(here, models):
    assert main(["models", "--models", str(models), "pack", "-o", "zoo.tar", "one", "tiny/two"]) == 0
    return here / "zoo.tar"


@pytest.mark.parametrize("option", [["--text", "text"], ["--target", "label", "topic"], ["--json"]])
def test_an_action_ends_the_values_of_the_option_before_it(here, models, option):
    assert main(["models", "--models", str(models), *option, "pack", "one", "-o", "pack"]) == 0
    assert main(["models", *option, "unpack", "pack", "--into", "verify"]) == 0
    assert main(["models", *option, "verify", "verify"]) == 0


def test_a_publisher_may_be_left_out_of_a_name_that_is_nobody_elses():
    recipe = Recipe(learning_rate=1e-3)
    theirs, others, large = (
        Candidate(name, "f", "text", "hub", name, 1000, 8, 16, "none", 0.5, recipe)
        for name in ("them/small", "others/small", "small")
    )
    assert called("small", [theirs]) == called("them/small", [theirs, others]) == [theirs]
    assert called("small", [theirs, others]) == [theirs, others]
    assert called("small", [theirs, large]) == [large]
    assert called("them", [theirs]) == []


def test_a_column_may_be_named_like_an_action(here, models, capsys):
    (here / "table.csv").write_text("pack,verify\n" + "a text,good\nanother,bad\n" * 9, encoding="utf-8")
    asked = ["models", "--data", "table.csv", "--models", str(models), "--target", "verify", "--text", "pack"]
    assert main(asked) == 0
    assert "one" in capsys.readouterr().out
    assert main([*asked, "pack", "one", "-o", "zoo.tar"]) == 0
    assert (here / "zoo.tar").exists()


@pytest.fixture
def refused(capsys):
    def run(*arguments):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        _out, err = capsys.readouterr()
        assert err.count("\n") == 1
        return err

    return run


def files_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ------------------------------------------------------------------------- there and back


def test_what_is_packed_comes_out_again_and_is_searched(packed, here, models, capsys):
    assert main(["models", "unpack", "zoo.tar", "--into", "far"]) == 0
    files = {"one/tiny.json", "one/inner/notes.txt", "two/tiny.json"}
    assert files_in(here / "far") == {*files, MANIFEST_FILE}
    for name in files:
        assert (here / "far" / name).read_bytes() == (models / name).read_bytes()
    capsys.readouterr()
    assert (
        main(
            [
                "models",
                "verify",
                "far",
            ]
        )
        == 0
    )
    assert "as it was packed" in capsys.readouterr().out
    assert main(["models", "--models", "far", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {item["name"] for item in listed if item["usable"]} == {"one", "two"}


def test_list_of_a_packed_zoo_is_for_machines_too(packed, capsys):
    capsys.readouterr()
    assert main(["models", "--json", "unpack", "zoo.tar"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["backbone"] for model in listed["models"]] == ["tiny/one", "tiny/two"]
    assert main(["models", "--json", "verify", "zoo"]) == 0
    assert json.loads(capsys.readouterr().out) == listed


def test_packing_refuses_what_it_cannot_do(refused, packed, here, models):
    at = ("models", "--models", models, "pack", "-o")
    assert "'three'" in refused(*at, "other.tar", "three")
    assert "exists already" in refused(*at, "zoo.tar", "one")
    (models / "one" / "secret").symlink_to(here.parent)
    (models / "one" / "secret.txt").symlink_to(packed)
    assert "secret.txt is a link" in refused(*at, "other.tar", "one")
    assert not (here / "other.tar").exists()
    assert "which --licenses leaves out" in refused("models", "--licenses", "mit", *at[1:], "other.tar", "two")


def test_what_could_not_be_unpacked_everywhere_is_not_packed(refused, here, models):
    at = ("models", "--models", models, "pack", "-o", "zoo.tar")
    (models / "one" / "Notes.txt").write_text("for everyone")
    (models / "one" / "notes.txt").write_text("for everyone else")
    assert "'one/notes.txt' twice, or in other capitals" in refused(*at, "one")
    (models / "one" / "notes.txt").rename(models / "one" / "a\\b.txt")
    assert "which some systems would look for outside of its folder" in refused(*at, "one")
    assert not (here / "zoo.tar").exists()


# ------------------------------------------------------------------- archives from elsewhere


def rewrite(archive, *, manifest=lambda content: content, members=(), skip=(), first=()):
    """The archive with other contents. members: (TarInfo, bytes) at the end; first: before all others."""
    with tarfile.open(archive) as old:
        kept = [(member, old.extractfile(member).read()) for member in old if member.name not in skip]
    changed = [
        (member, json.dumps(manifest(json.loads(content))).encode() if member.name == MANIFEST_FILE else content)
        for member, content in kept
    ]
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as new:
        for member, content in (*first, *changed, *members):
            if member.isreg():
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))


def plain(name, content=b"evil"):
    return tarfile.TarInfo(name), content


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def listing(path):
    """The manifest with a file of `path` in model one, which has the contents of ``tiny.json``."""

    def change(manifest):
        (model, *others) = manifest["models"]
        file = next(file for file in model["files"] if file["name"] == "tiny.json")
        return manifest | {"models": [model | {"files": [*model["files"], file | {"name": path}]}, *others]}

    return change


def in_folder(name):
    def change(manifest):
        (model, *others) = manifest["models"]
        return manifest | {"models": [model | {"folder": name}, *others]}

    return change


HOSTILE = {
    "a file above": (lambda: {"members": [plain("../outside")]}, "not in its list"),
    "a file anywhere": (lambda: {"members": [plain("/tmp/outside")]}, "not in its list"),
    "one more file": (lambda: {"members": [plain("one/model.pkl")]}, "not in its list"),
    "a file twice": (lambda: {"members": [plain("two/tiny.json")]}, "twice in it"),
    "a link": (lambda: {"members": [special("one/link", tarfile.SYMTYPE, "/etc")]}, "no plain file"),
    "a hard link": (lambda: {"members": [special("one/link", tarfile.LNKTYPE, "/etc/passwd")]}, "no plain file"),
    "a device": (lambda: {"members": [special("one/null", tarfile.CHRTYPE)]}, "no plain file"),
    "a pipe": (lambda: {"members": [special("one/pipe", tarfile.FIFOTYPE)]}, "no plain file"),
    "a long name": (lambda: {"members": [plain("one/" + "a" * 300)]}, "no plain file"),
    "something before the list": (lambda: {"first": [plain("one/first")]}, "not its first file"),
    "no list": (lambda: {"skip": [MANIFEST_FILE]}, "not its first file"),
    "a file less": (lambda: {"skip": ["two/tiny.json"]}, "two/tiny.json is missing"),
    "a list that leads out": (lambda: {"manifest": listing("../../outside")}, "outside of its folder"),
    "a list that leads anywhere": (lambda: {"manifest": listing("/tmp/outside")}, "outside of its folder"),
    "a list with a name for Windows": (lambda: {"manifest": listing("..\\outside")}, "outside of its folder"),
    "a list of names that differ in case": (lambda: {"manifest": listing("TINY.json")}, "twice"),
    "a folder above": (lambda: {"manifest": in_folder("..")}, "outside of its folder"),
    "a folder with a slash": (lambda: {"manifest": in_folder("a/../../..")}, "outside of its folder"),
    "a folder over another": (lambda: {"manifest": in_folder("two")}, "twice"),
    "a list of something": (lambda: {"manifest": lambda _: [1]}, "no list of packed models"),
    "a list of a later format": (lambda: {"manifest": lambda old: old | {"format": 2}}, "no list of packed models"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive_writes_nothing(refused, packed, here, name):
    changes, words = HOSTILE[name]
    rewrite(packed, **changes())
    assert words in refused("models", "unpack", packed)
    assert files_in(here.parent) - {"work/zoo.tar"} == {
        path for path in files_in(here.parent) if path.startswith("models/")
    }


def test_sizes_are_not_believed(refused, packed, here):
    whole = packed.read_bytes()
    with tarfile.open(packed) as old:
        member = next(member for member in old if member.name == "two/tiny.json")
    member.size = 2**50
    header = member.tobuf(tarfile.GNU_FORMAT)
    packed.write_bytes(whole[: member.offset] + header + whole[member.offset + 512 :])
    assert "longer than the archive" in refused("models", "unpack", packed)
    packed.write_bytes(whole.replace(b'"seed"', b'"SEED"'))
    assert "is not the file that was packed" in refused("models", "unpack", packed)
    packed.write_bytes(whole[: member.offset + 100])
    assert "no zoo" in refused("models", "unpack", packed)
    packed.write_bytes(b"\x1f\x8b" + whole)
    assert "no zoo" in refused("models", "unpack", packed)
    packed.write_bytes(b"")
    assert "not its first file" in refused("models", "unpack", packed)
    assert files_in(here) == {"zoo.tar"}


def test_what_changed_since_is_named(refused, packed, here):
    assert "exists already" in refused("models", "unpack", packed, "--into", here)
    assert main(["models", "unpack", "zoo.tar"]) == 0
    one = here / "zoo" / "one" / "tiny.json"
    seed = one.read_text()
    one.write_text(seed.replace("seed", "SEED"))
    assert "tiny.json is not the file" in refused("models", "verify", "zoo")
    one.rename(here / "tiny.json")
    assert "tiny.json is missing" in refused("models", "verify", "zoo")
    one.symlink_to(here / "tiny.json")
    (here / "tiny.json").write_text(seed)
    assert "tiny.json is a link" in refused("models", "verify", "zoo")
    one.unlink()
    one.write_text(seed)
    (here / "zoo" / "two" / "model.pkl").write_text("evil")
    assert "model.pkl was not packed" in refused("models", "verify", "zoo")
    assert MANIFEST_FILE in refused("models", "verify", here)
