"""A full disk, real or injected: what is written is whole, what may make way does, and the bundle stays."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import autotl
from autotl.config import LEAST_DISK, SearchRequest, parse_disk
from autotl.errors import BudgetError, RunError
from autotl.features.store import FeatureStore, stored_collections
from autotl.files import EqualFiles, append, is_disk_full, making_room, write_durably
from autotl.runs.folder import STUDY_FILE
from autotl.search.disk import Disk
from autotl.search.engine import Search
from autotl.search.study import open_study
from autotl.training.loop import Plan, train
from autotl.training.rungs import RUNGS
from autotl.usage import folder_bytes

ROOT = Path(__file__).parents[1]
FULL = OSError(errno.ENOSPC, "No space left on device")

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


class SmallDisk(io.FileIO):
    """A file on a disk with room for so many bytes more."""

    def __init__(self, path, room):
        super().__init__(path, "ab")
        self.room = room

    def write(self, contents):
        if not self.room:
            raise FULL
        written = super().write(contents[: self.room])
        self.room -= written
        return written


@given(lines=st.lists(st.binary(min_size=1, max_size=9), max_size=6), room=st.integers(0, 40))
def test_what_is_appended_is_there_whole_or_not_at_all(tmp_path_factory, lines, room):
    path, whole = tmp_path_factory.mktemp("appended") / "file", b""
    with SmallDisk(path, room) as file:
        for line in lines:
            try:
                append(file, line)
                whole += line
            except OSError:
                file.room = 0
            assert path.read_bytes() == whole


def test_a_file_that_finds_no_room_leaves_the_one_before_and_nothing_else(tmp_path, monkeypatch):
    write_durably(tmp_path / "file", "before")

    def full(descriptor):
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(tmp_path / "file", "after")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "before"}


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("needed", [0, 1, 2])
def test_room_is_made_in_turn_and_no_more_than_is_needed(needed, reason):
    """Where the disk is full, or a quota used up, or the disk can only be read since it has failed."""
    made = []

    def write():
        if len(made) < needed:
            raise OSError(reason, os.strerror(reason))
        return "written"

    assert making_room(write, [lambda: made.append("cache"), lambda: made.append("checkpoints")]) == "written"
    assert made == ["cache", "checkpoints"][:needed]


def test_only_a_full_disk_has_anything_make_way():
    def write():
        raise OSError(errno.EACCES, "not allowed")

    with pytest.raises(OSError, match="not allowed"):
        making_room(write, [lambda: pytest.fail("made way")])


def test_where_nothing_is_left_to_make_way_the_error_names_the_folder_and_the_way_out(bare, tmp_path):
    def write():
        raise FULL

    (tmp_path / "best").mkdir()
    with pytest.raises(RunError, match=r"has no room \(No space left on device\). Free some space, or .* --out"):
        Disk(tmp_path).keep(write)
    (tmp_path / "best" / "bundle.json").touch()
    with pytest.raises(RunError, match=r"whole in .*best. Free some space, and go on with 'autotl resume .*'"):
        Disk(tmp_path).keep(write)


@pytest.mark.parametrize("torn", [1, 20, 60])
def test_a_journal_with_a_torn_end_can_be_read_and_written_again(tmp_path, torn):
    open_study(tmp_path, Disk(tmp_path), seed=0).ask()
    journal = tmp_path / STUDY_FILE
    os.truncate(journal, journal.stat().st_size - torn)
    again = open_study(tmp_path, Disk(tmp_path), seed=0)
    numbers = [again.ask().number, again.ask().number]
    assert numbers[1] == numbers[0] + 1
    assert len(open_study(tmp_path, Disk(tmp_path), seed=0).trials) == numbers[1] + 1


def test_a_journal_on_a_full_disk_holds_whole_lines(bare, tmp_path, monkeypatch):
    study = open_study(tmp_path, Disk(tmp_path), seed=0)
    study.ask()

    def full(descriptor):
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="has no room"):
            study.ask()
    assert len(open_study(tmp_path, Disk(tmp_path), seed=0).trials) == 1


def test_a_training_goes_on_without_checkpoints_after_the_cache_has_made_way(bench, tmp_path, one_thread):
    """Features take 20 kB, a checkpoint 300 kB."""
    cache, run = tmp_path / "cache", tmp_path / "run"
    store = bench.frozen.store = FeatureStore(cache, run=run, max_disk=200_000)
    bench.frozen.features(bench.train)
    store.flush()
    assert "features" in {kept.about["kind"] for kept in stored_collections(cache)}
    trial = bench.trial(checkpoint=run / "trial")
    trial.late_checkpoint = run / "late"
    what = {"epochs": 2.0, "batch_size": 16, "learning_rate": 3e-3, "layer_decay": 1.0, "weight_decay": 0.0}
    plan = Plan(**what, schedule="cosine", frozen_stages=0, augment=0.0)
    assert [progress.permille for progress in train(bench.model(trial), trial, plan)] == list(RUNGS)
    assert not any(path.is_file() for path in run.rglob("*"))
    assert not stored_collections(cache)


def test_a_search_on_a_disk_that_is_full_from_the_start_leaves_nothing(table, zoo, here, monkeypatch, tmp_path):
    def full(descriptor):
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    request = SearchRequest(data=str(table), models=(str(zoo),), trials=1)
    with pytest.raises(RunError, match="Free some space"):
        Search(request, tmp_path / "new" / "run").run()
    assert not (tmp_path / "new").exists()


def test_files_with_the_same_contents_take_their_room_once(tmp_path):
    equal = EqualFiles()
    for name, contents in (("one", {"a": b"x" * 900, "b": b"y"}), ("two", {"a": b"x" * 900, "c": b"z"})):
        (tmp_path / name).mkdir()
        for file, content in contents.items():
            (tmp_path / name / file).write_bytes(content)
        equal.share(tmp_path / name)
    assert folder_bytes(tmp_path) == 902
    shutil.rmtree(tmp_path / "one")
    assert (tmp_path / "two" / "a").read_bytes() == b"x" * 900
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a").write_bytes(b"new")  # what took the place of another
    equal.share(tmp_path / "one")
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "a").write_bytes(b"x" * 900)
    equal.share(tmp_path / "three")
    assert [(tmp_path / name / "a").read_bytes() for name in ("one", "three")] == [b"new", b"x" * 900]


def test_less_than_a_run_takes_is_refused():
    assert parse_disk("50MB") == LEAST_DISK
    with pytest.raises(BudgetError, match="too little disk"):
        parse_disk("49MB")


@needs_full
def test_what_cannot_be_printed_is_one_message(command_line):
    arguments, environment = command_line._arguments(["plugins"], [])
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(arguments, env=environment, stdout=full, stderr=subprocess.PIPE, encoding="utf-8")
    assert answer.returncode == 2
    assert answer.stderr.startswith("autotl: ")
    assert "No space left" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_older_words_for_a_full_disk_are_known_too():
    said = 'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'
    assert is_disk_full(RuntimeError(said))
    assert not is_disk_full(RuntimeError(said.replace("28", "2")))


def test_what_says_in_words_only_that_the_disk_is_full_is_one_message(command_line, distribution):
    code = """
import autotl
from safetensors import SafetensorError

class Full:
    name, help = "fill", "finds no room"
    def add_arguments(self, parser): pass
    def run(self, options): raise SafetensorError("I/O error: No space left on device (os error 28)")

@autotl.hookimpl
def autotl_commands(context):
    return [Full()]
"""
    answer = command_line("fill", also=[distribution("full", code)])
    assert answer.returncode == 2
    told = "autotl: what was to be written finds no room (I/O error: No space left on device (os error 28))\n"
    assert answer.stderr == told


@needs_full
def test_a_worker_is_not_ended_by_a_log_that_is_full():
    code = """
import sys
from autotl.search.line import WorkerEnd
line = WorkerEnd()
print("a library's word")
print("ours", file=sys.stderr, flush=True)
line.say("done")
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen([sys.executable, "-c", code], stderr=full, **pipes) as worker,
    ):
        assert json.loads(worker.stdout.readline())["say"] == "done"


@pytest.mark.slow
def test_a_search_keeps_to_its_share_of_the_disk(table, zoo, bare, tiny, monkeypatch, tmp_path):
    """300 kB: a model is 80 kB, a checkpoint of all weights 320 kB."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "thirdparty" / "tiny"), prepend=os.pathsep)
    monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / "cache"))
    most, sizes = 300_000, []

    def measure(event):
        models = folder_bytes(tmp_path / "run" / "trials") + folder_bytes(tmp_path / "run" / "paused")
        sizes.append(models + folder_bytes(tmp_path / "cache" / "store"))

    request = SearchRequest(data=str(table), models=(str(zoo),), trials=3, max_disk=most)
    Search(request, tmp_path / "run", listeners=[measure]).run()
    assert 0 < max(sizes) <= most
    assert len(autotl.load(tmp_path / "run").predict(table)) == 200
    assert not list((tmp_path / "run" / "paused").glob("*"))


def can_mount():
    """Whether this machine lets anybody have a small disk of their own."""
    if not shutil.which("unshare"):
        return False
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="nobody may mount a file system here")
def test_on_a_disk_that_fills_up_the_bundle_loads_at_every_moment_and_the_run_goes_on():
    script = ROOT / "benchmarks" / "faults" / "full_disk.py"
    answer = subprocess.run(
        [sys.executable, str(script), "--times", "2"], capture_output=True, encoding="utf-8", check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "2 of 2 without a fault" in answer.stdout
