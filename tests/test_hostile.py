"""Bundles, runs, caches and portfolios from elsewhere: nothing in them is run, followed outside, or believed in size.

Zoos have tests of their own in the plugins that read them.
"""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from bundle_edits import edit_card, edit_member
from canaries import canary_pickle
from safetensors.numpy import save_file

from autotl.cli.main import main
from autotl.config import Limits, SearchRequest
from autotl.data.task import InputColumn, Task
from autotl.errors import RunError
from autotl.events import read_events
from autotl.features.store import FeatureStore
from autotl.plugins.contracts import Candidate, Recipe, ZooContext
from autotl.predictor.bundle import Member
from autotl.runs.folder import HOLDER_FILE, PORTFOLIO_FILE, STUDY_FILE
from autotl.runs.run_file import RunFile
from autotl.search.costs import Costs
from autotl.search.disk import Disk
from autotl.search.shelf import Shelf
from autotl.search.study import open_study
from autotl.testing import make_bundle

TERABYTE = 2**40
NESTED = '{"format": 2, "a": ' + "[" * 200_000

#: More than any test here may take beside what the process has already.
MEMORY = 2 * 10**9

TEXTS, CLASSES = ["a cat", "an oak", "of slate"], ("animal", "plant", "stone")


@pytest.fixture(autouse=True)
def little_memory():
    """What takes over 2 GB fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    used = 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@pytest.fixture
def canary(tmp_path):
    """A pickle that writes a file when it is read, and that file, which must not be there in the end."""
    yield canary_pickle(sung := tmp_path / "sung")
    assert not sung.exists()


@pytest.fixture
def bundle(bare, tiny, zoo, tmp_path):
    return make_bundle(tiny, tiny.candidates(ZooContext((zoo,)))[:1], TEXTS, tmp_path, classes=CLASSES).folder


@pytest.fixture
def refused(tmp_path, capsys):
    """Runs a command that must be refused in one line, and returns what it says."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith("autotl: ")
        assert err.count("\n") == 1
        assert "\x1b" not in err
        return err

    return run


def header(path, tensors, size=None):
    """A safetensors file of `size` bytes (None: as its header says), nearly all of them holes in the disk."""
    content = json.dumps(tensors).encode()
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        ends = [entry["data_offsets"][1] for entry in tensors.values()]
        file.truncate(size or 8 + len(content) + max(ends))


def floats(shape, begin=0):
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + 4 * int(np.prod(shape, dtype=object))]}


# ------------------------------------------------------------------------------------ bundles


def outside(bundle):
    """The same weights, beside the bundle."""
    (bundle / "weights").rename(bundle.parent / "outside")
    return bundle.parent / "outside"


def name_the_parent(bundle):
    (outside(bundle) / "0-0").rename(bundle.parent / "0-0")
    edit_card(bundle, weights="..")


def name_a_way_out(bundle):
    outside(bundle)
    edit_card(bundle, weights="../outside")


def name_a_place(bundle):
    edit_member(bundle, folder=str(outside(bundle) / "0-0"))


def link_the_weights(bundle):
    (bundle / "weights").symlink_to(outside(bundle))


def link_a_file(bundle):
    head = bundle / "weights" / "0-0" / "head.safetensors"
    head.rename(bundle.parent / "head")
    head.symlink_to(bundle.parent / "head")


def link_a_folder(bundle):
    (bundle / "weights" / "0-0" / "backbone").rename(bundle.parent / "backbone")
    (bundle / "weights" / "0-0" / "backbone").symlink_to(bundle.parent / "backbone")


def claim_a_terabyte(bundle):
    header(bundle / "weights" / "0-0" / "head.safetensors", {"weight": floats([TERABYTE // 32, 8])}, size=4096)


def be_a_terabyte(bundle):
    weights = {"weight": floats([3, TERABYTE // 12]), "bias": floats([3], 12 * (TERABYTE // 12))}
    header(bundle / "weights" / "0-0" / "head.safetensors", weights)


def overlap(bundle):
    header(bundle / "weights" / "0-0" / "head.safetensors", {"weight": floats([3, 32]), "bias": floats([3])})


def have_an_endless_header(bundle):
    (bundle / "weights" / "0-0" / "head.safetensors").write_bytes(b"\xff" * 7 + b"\x3f" + b"{}")


def have_a_head_for_others(bundle):
    save_file(
        {"weight": np.ones((9, 32), np.float32), "bias": np.ones(9, np.float32)},
        head := bundle / "weights/0-0/head.safetensors",
    )
    assert head.is_file()


def have_a_head_for_other_features(bundle):
    weights = {"weight": np.ones((3, 99), np.float32), "bias": np.ones(3, np.float32)}
    save_file(weights, bundle / "weights" / "0-0" / "head.safetensors")


def have_a_head_on_stages_that_are_not(bundle):
    weights = {"weight": np.ones((3, 99), np.float32), "bias": np.ones(3, np.float32), "lowest": np.array(-7)}
    save_file(weights, bundle / "weights" / "0-0" / "head.safetensors")


def have_a_head_for_other_layers(bundle):
    weights = {"weight": np.ones((3, 99), np.float32), "bias": np.ones(3, np.float32), "lowest": np.array(1)}
    save_file(weights, bundle / "weights" / "0-0" / "head.safetensors")


def name_a_model_often(bundle):
    (member,) = json.loads((bundle / "bundle.json").read_text())["members"]
    edit_card(bundle, members=[member] * 1000)


def nest_deeply(bundle):
    (bundle / "bundle.json").write_text(NESTED)


def be_large(bundle):
    os.truncate(bundle / "bundle.json", 10**10)


def be_a_list(bundle):
    (bundle / "bundle.json").write_text("[1]")


def name_a_family(bundle):
    edit_member(bundle, family="os.system\x1b[2J")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (name_the_parent, "outside the bundle"),
        (name_a_way_out, "outside the bundle"),
        (name_a_place, "outside the bundle"),
        (link_the_weights, "outside the bundle"),
        (link_a_file, "head.safetensors is a link"),
        (link_a_folder, "backbone is a link"),
        (claim_a_terabyte, "does not fit"),
        (be_a_terabyte, "of memory are free"),
        (overlap, "overlap"),
        (have_an_endless_header, "does not fit"),
        (have_a_head_for_others, "9 answers for 3 classes"),
        (have_a_head_for_other_features, "32 features"),
        (have_a_head_on_stages_that_are_not, "a head on stages from -7 of 3"),
        (have_a_head_for_other_layers, "its layers have 96 features, and its head is for 99"),
        (name_a_model_often, "twice"),
        (nest_deeply, "nested too deeply"),
        (be_large, "at most"),
        (be_a_list, "not a JSON object"),
        (name_a_family, "os.system\\x1b"),
    ],
)
def test_hostile_bundle_is_refused_in_one_line(refused, bundle, new_table, spoil, words):
    spoil(bundle)
    assert words in refused("predict", bundle, "--data", new_table)


def test_pickle_in_the_place_of_weights_is_not_read(refused, bundle, new_table, canary):
    for name in ("head.safetensors", "backbone/tiny.st"):
        whole = (bundle / "weights" / "0-0" / name).read_bytes()
        (bundle / "weights" / "0-0" / name).unlink()  # the same file under another name is somebody else's
        (bundle / "weights" / "0-0" / name).write_bytes(canary)
        assert "cannot be loaded" in refused("predict", bundle, "--data", new_table)
        (bundle / "weights" / "0-0" / name).write_bytes(whole)
    assert main(["predict", str(bundle), "--data", str(new_table)]) == 0


# ------------------------------------------------------------------------- caches, runs, others


def segments(cache):
    return sorted((cache / "store").rglob("*.safetensors"))


@pytest.fixture
def cache(bare, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / "cache"))
    store = FeatureStore(tmp_path / "cache")
    store.collection(kind="inputs").add([b"d" * 32], [{"x": np.arange(5)}])
    store.flush()
    return tmp_path / "cache"


def stored_claim(path):
    header(path, {"digests": {"dtype": "U8", "shape": [TERABYTE], "data_offsets": [0, TERABYTE]}}, size=4096)


def stored_terabyte(path):
    header(path, {"digests": {"dtype": "U8", "shape": [TERABYTE, 1], "data_offsets": [0, TERABYTE]}})


def stored_overlap(path):
    header(path, {"digests": floats([8]), "checksums": floats([8])})


def stored_nesting(path):
    content = (
        '{"__metadata__": {"about": "' + "[" * 100_000 + '"}, "digests": ' + json.dumps(floats([1, 1])) + "}"
    ).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + b"\0" * 4)


def stored_disagreement(path):
    parts = {
        "digests": np.zeros((2, 32), np.uint8), "checksums": np.zeros(2, np.uint32), "x.data": np.zeros(1, np.int64),
        "x.shapes": np.full((1, 1), 2**60), "x.starts": np.array([0]),
    }  # fmt: skip
    save_file(parts, path, metadata={"about": "{}"})


@pytest.mark.parametrize("write", [stored_claim, stored_terabyte, stored_overlap, stored_nesting, stored_disagreement])
def test_hostile_segment_is_not_believed(cache, capsys, write):
    (path,) = segments(cache)
    path.unlink()
    write(path)
    assert main(["cache"]) == 0
    assert "Traceback" not in capsys.readouterr().err
    collection = FeatureStore(cache).collection(kind="inputs")
    assert collection.get(b"d" * 32) is None
    assert collection.get(b"\0" * 32) is None


def test_cache_that_leads_elsewhere_removes_nothing_there(cache, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("letter.txt", "a.writing", "b.safetensors"):
        (mine / name).write_text("dear")
        os.utime(mine / name, (0, time.time() - 10**6))
    (cache / "store" / "linked").symlink_to(mine)
    FeatureStore(cache, limit=1).make_room(1)
    assert main(["cache"]) == main(["cache", "--clear"]) == 0
    assert {path.name for path in mine.iterdir()} == {"letter.txt", "a.writing", "b.safetensors"}


def test_hostile_book_of_speeds_is_not_believed(cache):
    from autotl.features.speed import SpeedBook

    book = SpeedBook(cache)
    book._path.write_text(NESTED)
    assert SpeedBook(cache).known("forward") is None


def write_answers(folder, **changes):
    """What a search leaves of one trial, but for `changes`."""
    place = folder / "trials" / "0000"
    (place / "0000-1000").mkdir(parents=True)
    member = Member(
        folder="0000", family="f", backbone="f/b", licence="", strategy="probe", settings={}, trial="0"
    ).model_dump()
    known = {"trial": 0, "permille": 1000, "score": 0.5, "weights": "0000-1000", "training_rows": 9, "refit": False}
    (place / "0000.json").write_text(json.dumps(known | {"member": member} | changes))
    save_file({"valid": np.arange(6), "answers": np.full((6, 2), 0.5, np.float32)}, place / "0000.safetensors")
    return place


@pytest.fixture
def restored(tmp_path):
    """The models that a resumed run finds."""
    recipe = Recipe(learning_rate=1e-3)
    candidate = Candidate("b", "f", "text", "folder", "b", 1000, 8, 16, "none", 0.5, recipe)
    column = InputColumn(name="text", modality="text")
    task = Task(targets=("label",), kind="multiclass", classes=("a", "b"), metric="accuracy", inputs=(column,))

    def restore():
        shelf = Shelf(tmp_path, Disk(tmp_path), task, np.arange(6) % 2, Costs(Limits(), [candidate]), {})
        shelf.restore()
        return shelf.models

    return restore


def test_weights_of_a_resumed_run_are_its_own(tmp_path, restored):
    place = write_answers(tmp_path)
    assert restored()[0].weights == place / "0000-1000"
    (tmp_path / "elsewhere").write_text("mine")
    (place / "0000-1000" / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    assert restored()[0].weights is None


@pytest.mark.parametrize("name", ["../../outside", "..", "", "/etc", "a/../../.."])
def test_run_that_names_weights_elsewhere_has_none(tmp_path, restored, name):
    (tmp_path / "outside").mkdir()
    write_answers(tmp_path, weights=name)
    assert restored()[0].weights is None


def test_hostile_answers_are_as_if_they_were_not_there(tmp_path, restored, canary):
    answers = write_answers(tmp_path) / "0000.safetensors"
    right = {"valid": np.arange(6), "answers": np.full((6, 2), 0.5, np.float32)}
    save_file(right, answers)
    assert restored()
    for wrong in (
        {"valid": np.arange(6) + 1},
        {"valid": np.zeros(6, np.int64)},
        {"valid": np.arange(6)[::-1].copy()},
        {"answers": np.ones((6, 9), np.float32)},
    ):
        save_file(right | wrong, answers)
        assert not restored()
    header(answers, {"valid": floats([TERABYTE // 4])})
    assert not restored()
    answers.write_bytes(canary)
    assert not restored()
    answers.with_suffix(".json").write_text(NESTED)
    assert not restored()


@pytest.mark.parametrize(("content", "words"), [(NESTED, "nested too deeply"), ("[]", "JSON object")])
def test_hostile_run_is_refused(refused, bare, tmp_path, content, words):
    (tmp_path / "run.json").write_text(content)
    assert words in refused("resume", tmp_path)


@pytest.mark.parametrize("content", ["[" * 200_000 + "\n", "[]\n", '{"op_code": 99}\n', "no journal\nat all\n"])
def test_hostile_journal_is_refused(tmp_path, content):
    (tmp_path / STUDY_FILE).write_text(content)
    with pytest.raises(RunError, match="cannot be read"):
        open_study(tmp_path, Disk(tmp_path), seed=0)


def test_hostile_portfolio_is_refused(refused, bare, tmp_path, table):
    path = tmp_path / PORTFOLIO_FILE
    path.write_text(NESTED)
    assert "nested too deeply" in refused("search", "--data", table, "--portfolio", path, "--trials", 1)
    os.truncate(path, 10**10)
    assert "at most" in refused("search", "--data", table, "--portfolio", path, "--trials", 1)


def test_hostile_logs_of_runs_are_passed_over(bare, tmp_path, refused):
    (tmp_path / "trials.jsonl").write_text("[" * 200_000 + "\n[]\n")
    assert "autotl: " in refused("portfolio", tmp_path, "--out", tmp_path / "out.json")
    os.truncate(tmp_path / "trials.jsonl", TERABYTE)
    assert "at most" in refused("portfolio", tmp_path, "--out", tmp_path / "out.json")


def test_hostile_events_are_refused_or_passed_over(tmp_path):
    path = tmp_path / "events.jsonl"
    whole = '{"at": 2, "kind": "note", "text": "a\u2028b"}'
    path.write_text("\n".join(["[" * 200_000, "[]", '{"at": 1}', whole, ""]), encoding="utf-8")
    assert [(event.kind, event.data) for event in read_events(path)] == [("note", {"text": "a\u2028b"})]
    os.truncate(path, TERABYTE)
    with pytest.raises(RunError, match="at most"):
        read_events(path)


@pytest.fixture
def run(bare, tmp_path):
    """The folder of a run that has ended, as somebody sends it."""
    column = InputColumn(name="text", modality="text")
    task = Task(targets=("label",), kind="multiclass", classes=("a", "b"), metric="accuracy", inputs=(column,))
    known = {"id": "0" * 32, "data_fingerprint": "", "rows": {}, "audit_seconds": 1.0, "versions": {}, "machine": ""}
    folder = tmp_path / "run"
    folder.mkdir()
    request = SearchRequest(data=str(tmp_path / "table.csv"), budget_seconds=60.0)
    RunFile(request=request, task=task, state="running", **known).write(folder)
    (folder / "events.jsonl").write_text('{"at": 1, "kind": "note", "text": "\u009b2J"}\n', encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["best", "trials", "events.jsonl", STUDY_FILE])
def test_a_run_that_leads_elsewhere_is_not_resumed(refused, run, tmp_path, name):
    outside = tmp_path / "outside"
    (outside / "mine").mkdir(parents=True)
    (outside / "letter.txt").write_text("mine")
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to("../outside" if "." not in name else "../outside/letter.txt")
    assert f"{name} is a link" in refused("resume", run)
    assert (outside / "mine").is_dir()
    assert (outside / "letter.txt").read_text() == "mine"


def test_logs_of_a_run_that_no_memory_holds_are_not_read(refused, run, tmp_path, capsys):
    for name in ("split.json", "worker.log", "trials.jsonl"):
        (run / name).touch()
        os.truncate(run / name, TERABYTE)
    assert "at most" in refused("report", run)
    assert main(["doctor", "--bundle", str(run), "--out", str(tmp_path / "problem.zip")]) == 0


def test_a_hostile_note_of_who_holds_a_run_is_not_believed(run, capsys):
    (run / HOLDER_FILE).write_text(NESTED)
    for more in ([], ["--json"]):
        assert main(["watch", str(run), *more]) == 0
        assert "\x9b" not in "".join(capsys.readouterr())


def test_a_log_without_an_end_is_not_followed(refused, run):
    os.truncate(run / "events.jsonl", TERABYTE)
    assert "at most" in refused("watch", run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in the file system")
@pytest.mark.parametrize("name", ["events.jsonl", "run.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(refused, run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    assert refused("resume", run)


@pytest.mark.parametrize("content", [NESTED, '{"request": []}'])
def test_what_is_sent_of_a_hostile_run_says_that_it_cannot_be_read(run, tmp_path, content):
    (run / "run.json").write_text(content)
    assert main(["doctor", "--bundle", str(run), "--out", str(tmp_path / "problem.zip")]) == 0
