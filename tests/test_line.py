"""The line between engine and worker: who waits learns at once that nobody is there any more."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from autotl.search.line import EngineEnd, WorkerGone


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """Makes the engine's end of a worker that says these bytes and is killed."""

    def make(said: bytes) -> EngineEnd:
        (tmp_path / "said").write_bytes(said)
        program = tmp_path / "python"
        program.write_text(f"#!/bin/sh\ncat '{tmp_path / 'said'}'\nkill -KILL $$\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return EngineEnd(tmp_path / "worker.log")

    return make


@pytest.mark.parametrize(
    "torn", [b'{"say": "jud', '{"say": "note", "text": "ä'.encode()[:-1]], ids=["a word", "a letter"]
)
def test_a_worker_killed_in_the_middle_of_a_message_is_gone_at_once(worker, torn):
    line = worker(b'{"say": "done"}\n' + torn)
    try:
        assert line.hear(10) == {"say": "done"}
        with pytest.raises(WorkerGone, match="was killed"):
            line.hear(10)
    finally:
        line.close()


def test_arrays_arrive_to_the_bit_and_may_be_written_to(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    answers = np.array([[1e-30, 1.0], [0.1, np.nan]], np.float32)
    rows, none = np.arange(6)[::2], np.empty((0, 3), bool)
    line = EngineEnd(tmp_path / "worker.log")
    try:
        line.tell(answers=answers, views=[{"answers": answers.T}], rows=rows, none=none)
        said = line.hear(10)
    finally:
        line.close()
    for given, found in ((answers, said["answers"]), (answers.T, said["views"][0]["answers"]), (rows, said["rows"])):
        assert found.dtype == given.dtype
        np.testing.assert_array_equal(found, given)
    assert (said["none"].shape, said["none"].dtype) == ((0, 3), np.dtype(bool))
    said["answers"][0] = 0.5


def test_a_path_of_another_systems_bytes_arrives_as_it_is(tmp_path, monkeypatch):
    """JSON spells it in ASCII; as UTF-8 it cannot be written, and who waits for an answer then waits for ever."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec cat\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    line = EngineEnd(tmp_path / "worker.log")
    try:
        line.tell(cell="caf\udce9.png", text="漢字")
        assert line.hear(10) == {"cell": "caf\udce9.png", "text": "漢字"}
    finally:
        line.close()


def test_a_worker_imports_nothing_that_lies_in_the_working_folder(tmp_path, monkeypatch):
    for name in ("torch", "random", "autotl"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, "", tmp_path / "a path object"])
    line = EngineEnd(tmp_path / "worker.log")
    try:
        with pytest.raises(TimeoutError):  # it waits to be told
            line.hear(3)
    finally:
        line.close()
    assert "mine" not in (tmp_path / "worker.log").read_text()


def test_a_worker_that_hangs_up_and_lives_is_gone_at_once(tmp_path, monkeypatch):
    """It may wait for a driver, or for an answer that nobody will read."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 600 >&-\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    line, began = EngineEnd(tmp_path / "worker.log"), time.monotonic()
    try:
        with pytest.raises(WorkerGone, match="hung up"):
            line.hear(60)
    finally:
        line.close()
    assert time.monotonic() - began < 30
