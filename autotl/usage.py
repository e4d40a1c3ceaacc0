"""What processes and folders take of this machine, may take, and keep."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def peak_memory(child: int | None = None) -> int:
    """Bytes that this process had resident at most so far, mapped files counted; 0 where the system does not say.

    child: the number of a process that is asked for instead; only Linux says it.
    """
    if sys.platform.startswith("linux"):  # what getrusage says of a process begins with what the one before it had
        with contextlib.suppress(OSError, ValueError, StopIteration):
            status = Path(f"/proc/{child or 'self'}/status").read_text(encoding="ascii", errors="replace")
            return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    if sys.platform == "win32" or child is not None:
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def free_memory() -> int | None:
    """Bytes that may still be taken, by the machine's and the container's account; None where nobody says."""
    limits = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for accounts in _accounts("memory"):
        if (left := left_in_container(accounts)) is not None:
            limits.append(left)
    return min(limits, default=None)


def left_in_container(accounts: Path) -> int | None:
    """Bytes that a container may still take; None where `accounts`, a folder of cgroup's, names no limit.

    What its processes read from files or wrote to them counts as used there, until the kernel takes it back: that is
    left, too (as Kubernetes reckons working sets).
    """
    for most, used, of_files in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError, KeyError):  # "max" is no number: no limit
            limit, taken = (int((accounts / name).read_text(encoding="ascii")) for name in (most, used))
            lines = (accounts / "memory.stat").read_text(encoding="ascii").splitlines()
            return max(limit - taken + int(dict(line.split() for line in lines)[of_files]), 0)
    return None


#: Files that a process should be able to have open: each segment of the store that is mapped is one, and macOS lets a
#: process have 256 unless it asks for more.
OPEN_FILES = 8192


def allow_open_files() -> None:
    """Raises this process's own limit on open files, as far as the system lets it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


#: Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8

#: Bytes that a process keeps for its next allocation, and the most that releases of glibc take that refuse these.
_KEPT, _MOST_OF_OLDER = 2**30, 2**25


def keep_freed_memory() -> None:
    """Has this process use memory again that it freed, where glibc gives all blocks above 32 MB back at once.

    For processes of our own: activations are such blocks, and what was given back is cleared by the kernel, page by
    page, when it is asked for again. On two cores of a Xeon, s with and without: 6.1 and 10.9 for 512 photographs
    through two MobileNetV2-1.0, mirrored too; 0.56 and 0.71 for a training step of one in fp32, 0.59 and 0.66 in bf16,
    with 2.40 and 2.23 GB resident. Threads share one arena, as a block above 64 MB finds no place in their own: 256
    photographs in a thread took 0.8 s in place of 1.1. Other C libraries go their own way.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            if not library.mallopt(_MMAP_THRESHOLD, _KEPT):  # refused, it would stay where it began, at 128 KB
                library.mallopt(_MMAP_THRESHOLD, _MOST_OF_OLDER)
            library.mallopt(_TRIM_THRESHOLD, _KEPT)
            library.mallopt(_ARENA_MAX, 1)


def cores() -> int:
    """Cores that this process may keep busy: those that it may run on, as far as its container's time goes."""
    found = _cores_to_run_on()
    for accounts in _accounts("cpu"):
        found = min(found, cores_of_container(accounts) or found)
    return found


def _accounts(controller: str) -> Iterator[Path]:
    """Folders of cgroup's that may limit this process: its own, and all above, as Slurm and systemd nest them.

    A container that sees only its own has it at the top.
    """
    yield from accounts_above(Path("/sys/fs/cgroup"), _own_groups(), controller)


def accounts_above(top: Path, groups: str, controller: str) -> Iterator[Path]:
    """The same for the lines of ``/proc/PID/cgroup``, and `top`, where all are mounted."""
    for line in ["0::/", f"1:{controller}:/", *groups.splitlines()]:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mounted = top / controller if controllers else top
        inside = PurePosixPath(path.lstrip("/"))
        if ".." not in inside.parts:  # of another namespace
            yield from (mounted / part for part in (inside, *inside.parents))


def _own_groups() -> str:
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cores_to_run_on() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform.startswith("linux") else os.cpu_count() or 1


def cores_of_container(accounts: Path) -> int | None:
    """Cores whose time a container has, rounded up; None where `accounts`, a folder of cgroup's, names no limit."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            quota, period = map(int, " ".join((accounts / name).read_text(encoding="ascii") for name in files).split())
            return math.ceil(quota / period) if quota > 0 else None
    return None


def threads_of_container() -> dict[str, str]:
    """What to add to the environment of a process that will compute, in a container that has less time than cores.

    OpenMP counts cores alone, and threads beyond the quota use it up while they wait for each other, so that all stand
    still for the rest of each period: with the time of one of two cores, a training step of MobileNetV2-1.0 took 1.7 to
    1.8 s with two threads and 1.6 s with one, and containers on servers see many more cores.
    """
    return {"OMP_NUM_THREADS": str(cores())} if cores() < _cores_to_run_on() else {}


#: How often a thread of OpenMP looks whether the others are there before it sleeps, a thirtieth of the default, and how
#: long those of numpy's BLAS wait for more, as a power of two of processor cycles. With one busy process beside it, a
#: training step that takes 0.52 s took 9.5 s by default and 1.7 s with this (benchmarks/NOTES.md).
SPINNING = {"GOMP_SPINCOUNT": "10000", "OPENBLAS_THREAD_TIMEOUT": "20"}


def spin_variables() -> dict[str, str]:
    """What to add to the environment of a process that will compute and does not have the machine to itself.

    Whoever has set one of these knows better.
    """
    said = {"GOMP_SPINCOUNT"} if "OMP_WAIT_POLICY" in os.environ else set()
    return {name: value for name, value in SPINNING.items() if name not in os.environ.keys() | said}


def folder_bytes(folder: Path) -> int:
    """Bytes of the files below a folder; a file with several names counts once."""
    sizes: dict[int, int] = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed since it was listed
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                sizes[status.st_ino] = status.st_size
    return sum(sizes.values())
