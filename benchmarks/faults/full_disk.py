"""A disk that fills up at a random moment of a search: the bundle must load at every moment, and the run go on.

``python benchmarks/faults/full_disk.py --times 20``: each time a search on a small file system of its own (a tmpfs in a
namespace of this process, which needs no root), with the tiny family of the tests. At some moment all that is free is
taken, in every other round what the search frees, too. The search must end by itself or with one line and exit code 2;
then the room is given back and the run continued, unless there was no model yet, and then nothing of it must be left.
Exit code 1 when anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

#: Of the file system, in MB: some hundred times what a search with the tiny family takes.
SIZE = 64

#: Seconds from the first model within which the disk fills up: about the length of a search of `TRIALS` trials.
EARLIEST, LATEST, TRIALS = -2.0, 4.0, 5

ROWS = [f"{word} {number % 7} {number % 11}" for number, word in enumerate(("cat dog", "oak fern", "slate flint") * 50)]
LABELS = ("animal", "plant", "stone") * 50


class Filler:
    """Takes all the room of a file system, and gives it back."""

    def __init__(self, folder: Path, *, greedy: bool) -> None:
        """greedy: whether it takes what others free, too."""
        self._file, self._greedy = (folder / "filler").open("wb", buffering=0), greedy
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._take()
        self._thread.start()

    def _take(self) -> None:
        for size in (2**20, 2**12, 1):
            try:
                while self._file.write(bytes(size)):
                    pass
            except OSError:  # full
                continue

    def _fill(self) -> None:
        while self._greedy and not self._over.wait(0.005):
            self._take()

    def give_back(self) -> None:
        self._over.set()
        self._thread.join()
        self._file.close()
        Path(self._file.name).unlink()


@dataclass
class Round:
    """What came of one search; `faults` is empty when nothing was lost."""

    moment: float  #: seconds after the first model, or where negative after the start
    greedy: bool
    ended: int = 0
    resumed: int | None = None
    looks: int = 0  #: at the bundle, while the disk was full
    faults: tuple[str, ...] = ()


class Searches:
    """Searches on a small file system."""

    def __init__(self, disk: Path) -> None:
        self._disk, self._run = disk, disk / "run"
        self._table = disk / "table.csv"
        self._table.write_text("text,label\n" + "\n".join(map(",".join, zip(ROWS, LABELS, strict=True))) + "\n")

    def round(self, moment: float, *, greedy: bool) -> Round:
        """One search from its beginning to its end, and on after that."""
        found, faults = Round(moment, greedy), list[str]()
        zoo = TESTS / "thirdparty" / "zoo"
        search = self._start(
            "search", "--data", self._table, "--models", zoo, "--trials", TRIALS, "--out", self._run
        )  # fmt: skip
        while moment > 0 and not self._has_a_model and search.poll() is None:
            time.sleep(0.02)
        time.sleep(abs(moment))
        filler = Filler(self._disk, greedy=greedy)
        while search.poll() is None:
            if self._has_a_model:
                found.looks += 1
                faults += self._bundle_faults("while the disk was full")
            time.sleep(0.01)
        found.ended, words = search.wait(), search.communicate()[0]
        faults += self._bundle_faults("after the end") if self._run.exists() else []
        if found.ended not in (0, 2) or "Traceback" in words or len(words.splitlines()) > 1:
            faults.append(f"ended with {found.ended}: {words[-500:]}")
        filler.give_back()
        if found.ended == 2 and self._run.exists():
            resumed = self._start("resume", self._run)
            words = resumed.communicate()[0]
            found.resumed = resumed.returncode
            faults += [f"resume ended with {found.resumed}: {words[-500:]}"] if found.resumed else []
            faults += self._bundle_faults("after it was resumed")
        found.faults = tuple(faults)
        for folder in (self._run, self._disk / "cache"):
            shutil.rmtree(folder, ignore_errors=True)
        return found

    @property
    def _has_a_model(self) -> bool:
        return (self._run / "best" / "bundle.json").exists()

    def _start(self, command: str, *arguments: object) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "autotl.cli.main", command, *map(str, arguments), "--quiet"]
        environment = os.environ | {"AUTOTL_CACHE": str(self._disk / "cache"), "HF_HUB_OFFLINE": "1"}
        return subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )

    def _bundle_faults(self, when: str) -> list[str]:
        """What keeps the bundle from answering, also where it is replaced by another while it is read."""
        import autotl

        try:
            answers = autotl.load(self._run).predict_proba(self._table)
        except Exception as error:
            return [f"{when}: {type(error).__name__}: {error}"]
        return [] if answers.shape == (len(ROWS), 3) else [f"{when}: answers of shape {answers.shape}"]


def main() -> int:
    """Prints a line a round. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is None:
        return _in_a_namespace(options)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", options.inside], check=True)
    searches, generator = Searches(Path(options.inside)), random.Random(options.seed)
    line = "{:>5}  {:>8}  {:>6}  {:>4}  {:>7}  {:>5}  {}"
    print(line.format("round", "second", "greedy", "exit", "resumed", "looks", "faults"))
    lost = 0
    for number in range(options.times):
        found = searches.round(generator.uniform(EARLIEST, LATEST), greedy=number % 2 == 1)
        lost += bool(found.faults)
        greedy, resumed = "yes" if found.greedy else "", "" if found.resumed is None else found.resumed
        faults = "; ".join(found.faults) or "none"
        print(line.format(number, f"{found.moment:.2f}", greedy, found.ended, resumed, found.looks, faults), flush=True)
    print(f"{options.times - lost} of {options.times} without a fault")
    return 1 if lost else 0


def _in_a_namespace(options: argparse.Namespace) -> int:
    """Runs this once more, where it may mount a file system that nobody else sees."""
    path = os.pathsep.join(map(str, (ROOT, TESTS / "thirdparty" / "tiny", os.environ.get("PYTHONPATH", ""))))
    with tempfile.TemporaryDirectory(prefix="autotl-full-disk-") as folder:
        words = ["--times", str(options.times), "--seed", str(options.seed), "--inside", folder]
        command = ["unshare", "--map-root-user", "--mount", sys.executable, __file__, *words]
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
