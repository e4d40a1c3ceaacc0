"""When memory runs out: it is noticed, less is done at once, and the result is the same."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autotl.config import LEAST_MEMORY, parse_memory, parse_size
from autotl.errors import BudgetError
from autotl.failures import is_out_of_memory
from autotl.features.memory import halving_on_out_of_memory
from autotl.usage import free_memory, left_in_container

LIMITED = """
import torch
from autotl.failures import is_out_of_memory
from autotl.features.memory import limit_memory
torch.ones(1)
limit_memory(1_500_000_000)
kept = torch.ones(10_000_000)
for size in (4_000_000_000, 500_000_000):
    try:
        torch.ones(size)
    except Exception as error:
        assert is_out_of_memory(error), repr(error)
        print("out of memory", flush=True)
print(kept.sum().item())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's limit is Linux's")
def test_beyond_the_ceiling_allocations_fail_and_the_process_lives():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n") == ["out of memory", "out of memory", "10000000.0", ""]


TOO_LITTLE = """
import torch
from autotl.features.memory import limit_memory
kept = torch.ones(60_000_000)
limit_memory(200_000_000)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's limit is Linux's")
def test_a_process_that_uses_more_than_it_may_says_so():
    done = subprocess.run([sys.executable, "-c", TOO_LITTLE], capture_output=True, text=True, timeout=60, check=False)
    assert re.search(r"MemoryError: Python with torch takes \d{3} MB by itself", done.stderr)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="others do not say")
def test_free_memory_is_known():
    assert 0 < free_memory() < 1 << 50


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 200\ninactive_file 650\n"}, 750),
        ({"memory.max": "max", "memory.current": "900", "memory.stat": "inactive_file 650\n"}, None),
        (
            {
                "memory.limit_in_bytes": "1000",
                "memory.usage_in_bytes": "990",
                "memory.stat": "inactive_file 1\ntotal_inactive_file 40\n",
            },
            50,
        ),
        ({}, None),
    ],
)
def test_what_a_container_keeps_of_files_is_left_to_take(tmp_path, files, left):
    for name, contents in files.items():
        (tmp_path / name).write_text(contents)
    assert left_in_container(tmp_path) == left


def test_other_errors_are_not_taken_for_want_of_memory():
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert is_out_of_memory(MemoryError())


@given(st.integers(1, 70), st.integers(1, 70))
def test_halves_cover_every_row_once_and_none_is_larger_than_fits(rows, fits):
    done = []

    def run(part):
        if len(part) > fits:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        done.append(part)

    halving_on_out_of_memory(run, np.arange(rows))
    np.testing.assert_array_equal(np.concatenate(done), np.arange(rows))


def test_one_row_that_is_too_much_says_so():
    def run(part):
        raise torch.cuda.OutOfMemoryError("out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        halving_on_out_of_memory(run, np.arange(8))


@given(
    st.floats(1, 900), st.sampled_from([("GB", 10**9), ("TB", 10**12), ("GiB", 2**30), ("g", 10**9), (" TiB ", 2**40)])
)
def test_sizes_mean_what_they_say(number, unit):
    name, size = unit
    assert parse_size(f"{number:.2f}{name}") == int(float(f"{number:.2f}") * size)


@pytest.mark.parametrize("text", ["1KB", "199MB"])
def test_too_little_memory_is_refused(text):
    with pytest.raises(BudgetError, match="at least 200MB"):
        parse_memory(text)


def test_least_memory_is_taken():
    assert parse_memory("200MB") == LEAST_MEMORY
