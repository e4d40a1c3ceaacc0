"""The feature store: what went in comes out, and nothing else ever does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import stored_rows
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stored_rows import digest, fill, row

from autotl.features.store import SEGMENT_BYTES, FeatureStore, clear_store, stored_collections


def segments(cache):
    return sorted(cache.glob("store/*/*.safetensors"))


def found(cache, numbers, *, size=64, **about):
    """Which of `numbers` a new process would find; each must be right."""
    collection = FeatureStore(cache).collection(**(about or {"kind": "numbers"}))
    present = [number for number in numbers if collection.get(digest(number)) is not None]
    for number in present:
        np.testing.assert_array_equal(collection.get(digest(number))["x"], row(number, size)["x"])
    return present


ARRAYS = st.sampled_from([np.uint8, np.int32, np.float16, np.float32, np.int64, np.bool_, np.uint16])


@settings(max_examples=30, deadline=None)
@given(data=st.data(), dtype=ARRAYS, inner=st.lists(st.integers(1, 3), max_size=2))
def test_any_arrays_come_back_in_another_process_as_they_went_in(data, dtype, inner):
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    rows = [
        {
            "x": np.arange(length * int(np.prod(inner))).reshape(length, *inner).astype(dtype),
            "mask": np.ones(length, bool),
        }
        for length in lengths
    ]
    with tempfile.TemporaryDirectory() as folder:
        first = FeatureStore(Path(folder)).collection(kind="any")
        first.add([digest(number) for number in range(len(rows))], rows)
        first.flush()
        again = FeatureStore(Path(folder)).collection(kind="any")
        for number, known in enumerate(rows):
            for name, array in again.get(digest(number)).items():
                assert array.dtype == known[name].dtype
                np.testing.assert_array_equal(array, known[name])


def test_rows_can_be_read_before_they_are_written(tmp_path):
    collection = FeatureStore(tmp_path).collection(kind="numbers")
    collection.add([digest(1)], [row(1)])
    np.testing.assert_array_equal(collection.get(digest(1))["x"], row(1)["x"])
    assert not segments(tmp_path)
    assert digest(2) not in collection


def test_rows_that_need_more_bits_than_others_are_kept_beside_them(tmp_path):
    rows = [{"x": np.arange(4, dtype=np.float16)}, {"x": np.full(4, 1e6, np.float32)}]
    written = FeatureStore(tmp_path).collection(kind="states")
    written.add([digest(0), digest(1)], rows)
    written.flush()
    read = FeatureStore(tmp_path).collection(kind="states")
    for number, known in enumerate(rows):
        np.testing.assert_array_equal(read.get(digest(number))["x"], known["x"])


def test_what_decides_the_values_decides_the_collection(tmp_path):
    fill(FeatureStore(tmp_path), [1], weights="a", boundary=2)
    assert found(tmp_path, [1], weights="a", boundary=2) == [1]
    assert found(tmp_path, [1], weights="a", boundary=3) == []
    assert found(tmp_path, [1], weights="b", boundary=2) == []


def test_large_additions_are_written_on_the_way(tmp_path):
    collection = FeatureStore(tmp_path).collection(kind="numbers")
    size = SEGMENT_BYTES // 4
    for number in range(5):
        collection.add([digest(number)], [row(number, size)])
    assert len(segments(tmp_path)) == 1
    assert found(tmp_path, range(5), size=size) == [0, 1, 2, 3]


def test_what_waits_in_many_collections_is_written_on_the_way_too(tmp_path):
    store = FeatureStore(tmp_path)
    size = SEGMENT_BYTES // 4
    for view in range(8):  # of which none is worth a file
        for number in range(2):
            store.collection(view=view).add([digest(number)], [row(number, size)])
    assert len(segments(tmp_path)) == 7
    assert found(tmp_path, range(2), size=size, view=0) == [0, 1]
    assert found(tmp_path, range(2), size=size, view=7) == []


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_torn_file_is_never_read(tmp_path, share):
    fill(FeatureStore(tmp_path), range(20))
    (path,) = segments(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert found(tmp_path, range(20)) == []


@settings(max_examples=60, deadline=None)
@example(place=0.517781810928414, bits=1)  # of what a row is found by
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_a_flipped_byte_loses_rows_but_never_gives_a_wrong_one(place, bits):
    with tempfile.TemporaryDirectory() as folder:
        fill(FeatureStore(Path(folder)), range(20))
        (path,) = segments(Path(folder))
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= bits
        path.write_bytes(content)
        assert len(found(Path(folder), range(20))) <= 20


def test_least_recently_used_segments_make_way(tmp_path):
    for number in range(4):
        fill(FeatureStore(tmp_path), [number], size=1000, number=number)
        os.utime(max(segments(tmp_path), key=lambda path: path.stat().st_mtime), (number + 1, number + 1))
    before = sum(path.stat().st_size for path in segments(tmp_path))
    assert found(tmp_path, [0], size=1000, number=0) == [0]  # and is the latest used now
    fill(FeatureStore(tmp_path, limit=before), [9], size=1000, number=9)
    assert found(tmp_path, [1], size=1000, number=1) == []
    for number in (0, 2, 3, 9):
        assert found(tmp_path, [number], size=1000, number=number) == [number]
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= before


def test_rows_of_other_tables_count_for_nobody_and_make_way_before_ours(tmp_path):
    """They share collections with ours, as decoded images do, and no row of them is asked for."""
    fill(FeatureStore(tmp_path), range(100), size=1000)
    run = tmp_path / "run"
    run.mkdir()
    store = FeatureStore(tmp_path, limit=250_000, run=run, max_disk=100_000)
    fill(store, range(200, 240), size=1000)
    assert found(tmp_path, range(200, 240), size=1000) == list(range(200, 240))
    fill(store, range(300, 500), size=1000)  # more than half of what run and cache may take: held in memory
    assert found(tmp_path, range(100), size=1000) == list(range(100))
    assert not found(tmp_path, range(300, 500), size=1000)


def test_a_run_without_room_lets_go_of_its_own_and_of_nobody_elses(tmp_path):
    fill(FeatureStore(tmp_path), range(20), size=1000)
    run = tmp_path / "run"
    run.mkdir()
    store = FeatureStore(tmp_path, run=run, max_disk=50_000)
    fill(store, range(30, 40), size=1000)
    with pytest.raises(OSError, match="--max-disk"):
        store.claim(60_000)
    store.give_way()
    fill(store, range(50, 60), size=1000)
    assert found(tmp_path, range(20), size=1000) == list(range(20))
    assert not found(tmp_path, range(30, 60), size=1000)


def test_states_of_trainings_that_ended_make_way_for_those_of_others(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    store = FeatureStore(tmp_path, run=run, max_disk=100_000)
    fill(store, range(5), size=1000)
    for depth in range(4):
        fill(store, range(20), size=1000, kind="states", boundary=depth)
        store.let_states_make_way()
    there = [len(found(tmp_path, range(20), size=1000, kind="states", boundary=depth)) for depth in range(4)]
    assert there[0] == 0
    assert there[3] == 20
    assert found(tmp_path, range(5), size=1000) == list(range(5))
    # what a later training begins from again is in use again
    fill(store, (), kind="states", boundary=3).get(digest(0))
    fill(store, range(20), size=1000, kind="states", boundary=4)
    assert len(found(tmp_path, range(20), size=1000, kind="states", boundary=3)) == 20


def test_beyond_the_limit_rows_stay_in_memory_as_far_as_they_may(tmp_path):
    collection = fill(FeatureStore(tmp_path, limit=100, memory=1000), [1], size=500)
    assert not segments(tmp_path)
    assert digest(1) in collection
    fill(collection._store, [2], size=600)
    assert digest(2) not in collection


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_costs_only_the_disk(tmp_path):
    tmp_path.chmod(0o500)
    assert digest(1) in fill(FeatureStore(tmp_path), [1])


def test_two_processes_may_write_the_same(tmp_path):
    one, two = FeatureStore(tmp_path), FeatureStore(tmp_path)
    fill(one, range(10))
    fill(two, range(5, 15))
    assert found(tmp_path, range(15)) == list(range(15))


def test_the_store_says_what_is_in_it_and_can_be_cleared(tmp_path):
    fill(FeatureStore(tmp_path), range(7), kind="features", backbone="timm/a")
    (known,) = stored_collections(tmp_path)
    assert known.rows == 7
    assert known.about["backbone"] == "timm/a"
    assert known.size == segments(tmp_path)[0].stat().st_size
    assert clear_store(tmp_path) == known.size
    assert stored_collections(tmp_path) == []
    assert clear_store(tmp_path) == 0


@pytest.mark.slow
def test_a_kill_while_writing_leaves_nothing_wrong(tmp_path, monkeypatch):
    """Writers are forks of a process that has imported what they need, so that fifty of them begin in a second."""
    monkeypatch.setenv("PYTHONPATH", str(Path(stored_rows.__file__).parent), prepend=os.pathsep)
    writers = multiprocessing.get_context("forkserver")
    writers.set_forkserver_preload(["stored_rows"])
    random = np.random.default_rng(0)
    for round_ in range(50):
        hears, tells = writers.Pipe(duplex=False)
        writer = writers.Process(target=stored_rows.write_on, args=(tells, tmp_path, round_ * 100_000), daemon=True)
        writer.start()
        tells.close()
        assert hears.recv() == "on"
        time.sleep(random.uniform(0.0, 0.05))
        writer.kill()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
    total = 0
    for round_ in range(50):
        numbers = range(round_ * 100_000, round_ * 100_000 + 4000)
        total += len(found(tmp_path, numbers, size=20_000))
    assert total > 0
