"""What processes may take of a machine that they share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from autotl import usage


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "garbage"}, None),
        ({}, None),
    ],
)
def test_a_container_has_the_time_of_so_many_cores(tmp_path, files, cores):
    for name, contents in files.items():
        (tmp_path / name).write_text(contents)
    assert usage.cores_of_container(tmp_path) == cores


SLURM = "0::/system.slice/slurm/job_1/step_0\n"
NESTED = "5:cpu,cpuacct:/user.slice\n4:memory:/user.slice/me\n1:name=systemd:/x\n"


@pytest.mark.parametrize(
    ("groups", "controller", "expected"),
    [
        (SLURM, "memory", ["system.slice/slurm/job_1/step_0", "system.slice/slurm/job_1", "system.slice", "."]),
        (NESTED, "memory", ["memory/user.slice/me", "memory/user.slice", "memory", "."]),
        (NESTED, "cpu", ["cpu/user.slice", "cpu", "."]),
        ("0::/../outside\n", "cpu", ["cpu", "."]),
        ("", "memory", ["memory", "."]),
    ],
)
def test_limits_are_looked_for_where_a_process_is_and_above(tmp_path, groups, controller, expected):
    found = set(usage.accounts_above(tmp_path, groups, controller))
    assert {tmp_path / part for part in expected} <= found
    assert all(tmp_path == folder or tmp_path in folder.parents for folder in found)
    assert not any("outside" in str(folder) or "cpuacct:" in str(folder) for folder in found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere, processes run where they like")
def test_cores_are_those_that_the_process_may_run_on():
    code = "import os; os.sched_setaffinity(0, {%d}); from autotl.usage import cores; print(cores())"
    answer = subprocess.run(
        [sys.executable, "-c", code % min(os.sched_getaffinity(0))], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "1"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system keeps them apart")
def test_memory_of_the_process_that_started_this_one_is_not_counted():
    code = "from autotl.usage import peak_memory; print(peak_memory())"
    held = b"1" * 600_000_000
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(answer.stdout) < len(held) / 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere nobody says")
def test_memory_of_a_process_that_was_started_is_its_own():
    held = "b = b'1' * 300_000_000; print('held', flush=True); input()"
    large, small = (
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for code in (held, "print('held', flush=True); input()")
    )
    for process in (large, small):
        process.stdout.readline()
    assert usage.peak_memory(large.pid) > 300_000_000
    large.communicate("\n")  # has ended, and is the largest that has
    assert 1_000_000 < usage.peak_memory(small.pid) < 100_000_000
    small.communicate("\n")
    assert usage.peak_memory(small.pid) == 0


def test_threads_are_limited_only_where_a_container_has_less_time_than_cores(monkeypatch):
    monkeypatch.setattr(usage, "_cores_to_run_on", lambda: 8)
    monkeypatch.setattr(usage, "cores_of_container", lambda accounts: None)
    assert usage.threads_of_container() == {}
    monkeypatch.setattr(usage, "cores_of_container", lambda accounts: 3)
    assert usage.cores() == 3
    assert usage.threads_of_container() == {"OMP_NUM_THREADS": "3"}
