"""What the core's tests share: a third party's tiny text family, a table that it can learn, the command line.

`thirdparty/` holds real distributions (package and dist-info), which an environment finds by its path alone.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import made_tasks
import numpy as np
import pandas as pd
import pytest
from distributions import write_distribution

THIRD_PARTY = Path(__file__).parent / "thirdparty"


def pytest_collection_modifyitems(items):
    """Files with the most slow tests come first: where two processes share them, neither waits for one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _interruptible():
    """A shell has its background jobs ignore Ctrl-C, and so all that they start; tests press it. So does nohup."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hung_up = signal.signal(signal.SIGHUP, signal.SIG_DFL) if hasattr(signal, "SIGHUP") else None
    yield
    signal.signal(signal.SIGINT, before)
    if hung_up is not None:
        signal.signal(signal.SIGHUP, hung_up)


@pytest.fixture(scope="session")
def zoo() -> Path:
    """A folder of two tiny models, "one" and "two"."""
    return THIRD_PARTY / "zoo"


def put_first(patched, *folders):
    from autotl.plugins.manager import plugins

    for folder in folders:
        patched.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    plugins.cache_clear()


@pytest.fixture
def put_on_path(monkeypatch):
    """Makes distributions of this process out of folders, and has plugins found anew."""
    from autotl.plugins.manager import plugins

    yield functools.partial(put_first, monkeypatch)
    plugins.cache_clear()


@pytest.fixture
def tiny(put_on_path):
    """The tiny family, in this process."""
    put_on_path(THIRD_PARTY / "tiny")
    from autotl.plugins.manager import plugins

    return plugins().family("tiny")


@pytest.fixture
def distribution(tmp_path):
    """Writes a distribution with one plugin module and returns the folder to put on the path."""
    return functools.partial(write_distribution, tmp_path)


def keyword_frame(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Texts of three classes; nine in ten hold a word of their class among twelve that say nothing."""
    words = {"animal": ["cat", "dog", "horse"], "plant": ["oak", "fern", "moss"], "stone": ["slate", "flint", "marble"]}
    generator = np.random.default_rng(seed)
    filler = [f"word{number}" for number in range(60)]
    records = []
    for number in range(rows):
        label = list(words)[number % 3]
        text = generator.choice(filler, 12).tolist()
        if generator.random() < 0.9:
            text[generator.integers(12)] = str(generator.choice(words[label]))
        records.append({"id": f"r{number}", "text": " ".join(text), "label": label})
    return pd.DataFrame(records)


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return keyword_frame()


@pytest.fixture(scope="session")
def table(tmp_path_factory, frame) -> Path:
    """200 rows, three classes."""
    path = tmp_path_factory.mktemp("table") / "kinds.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def new_table(tmp_path_factory) -> Path:
    """60 other rows of the same kind."""
    path = tmp_path_factory.mktemp("new") / "new.csv"
    keyword_frame(60, seed=1).to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def bare_environment(tmp_path_factory) -> dict[str, str]:
    """Environment variables without this machine's zoo, caches and hub."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOTL_", "HF_"))}
    kept["OMP_WAIT_POLICY"] = "passive"  # networks this small are slowed down tenfold by threads that spin
    return kept | {"AUTOTL_CACHE": str(home / "cache"), "HF_HOME": str(home / "hub"), "HF_HUB_OFFLINE": "1"}


def make_bare(patched, environment):
    for name in [name for name in os.environ if name.startswith(("AUTOTL_", "HF_"))]:
        patched.delenv(name)
    for name in ("AUTOTL_CACHE", "HF_HOME", "HF_HUB_OFFLINE"):
        patched.setenv(name, environment[name])


@pytest.fixture
def bare(monkeypatch, bare_environment):
    """This process with `bare_environment`."""
    make_bare(monkeypatch, bare_environment)


@pytest.fixture
def here(bare, tiny, monkeypatch, tmp_path):
    """This process as a place to search and predict in, with the tiny family."""
    monkeypatch.setenv("PYTHONPATH", str(THIRD_PARTY / "tiny"), prepend=os.pathsep)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def searching(bare_environment):
    """``with searching(*folders) as patched``: `here` with further distributions, for what several tests ask about."""
    from autotl.plugins.manager import plugins

    @contextlib.contextmanager
    def enter(*folders):
        path = [THIRD_PARTY / "tiny", *folders]
        with pytest.MonkeyPatch.context() as patched:
            make_bare(patched, bare_environment)
            put_first(patched, *path)
            patched.setenv("PYTHONPATH", os.pathsep.join(map(str, path)), prepend=os.pathsep)
            patched.setenv("OMP_WAIT_POLICY", "passive")
            yield patched
        plugins.cache_clear()

    return enter


@pytest.fixture
def refused(tmp_path, tmp_path_factory, monkeypatch, capsys, bare, tiny):
    """Runs a command that must be refused in one line, with exit code 2 and nothing written; returns what it says."""
    from autotl.cli.main import main

    empty = tmp_path_factory.mktemp("cwd")
    monkeypatch.chdir(empty)

    def run(*arguments):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert main([str(argument) for argument in arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("autotl: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert list(empty.iterdir()) == []
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return err

    return run


class CommandLine:
    """``autotl`` in processes of its own, with the tiny family installed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def _arguments(self, arguments, also):
        given = self.environment.get("PYTHONPATH")  # where the packages are not installed
        path = os.pathsep.join(map(str, (THIRD_PARTY / "tiny", *also, *([given] if given else []))))
        command = [sys.executable, "-m", "autotl.cli.main", *map(str, arguments)]
        return command, self.environment | {"PYTHONPATH": path}

    def __call__(self, *arguments, cwd=None, also=(), environment=None, timeout=120):
        """Runs to its end. also: further folders of distributions."""
        command, variables = self._arguments(arguments, also)
        return subprocess.run(
            command,
            cwd=cwd,
            env=variables | (environment or {}),
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments, cwd=None, also=()):
        """Starts it as a terminal would, in a process group of its own."""
        command, variables = self._arguments(arguments, also)
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def command_line(bare_environment) -> CommandLine:
    return CommandLine(bare_environment)


@pytest.fixture
def started(command_line):
    """Starts commands that are ended with the test, whatever becomes of it."""
    running = []

    def start(*arguments, **options):
        process = command_line.start(*arguments, **options)
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Bench:
    """A frozen tiny backbone that has seen the table, and trials on it."""

    def __init__(self, family, zoo, frame, cache):
        import torch

        from autotl.features.frozen import FrozenBackbone
        from autotl.features.rows import EncodedRows
        from autotl.features.speed import SpeedBook
        from autotl.features.store import FeatureStore
        from autotl.plugins.contracts import ZooContext

        candidate = family.candidates(ZooContext((zoo,)))[0]
        self.family = family
        store = FeatureStore(cache)
        rows = EncodedRows(family.encoder(candidate, []), frame["text"].tolist(), modality="text", store=store)
        self.frozen = FrozenBackbone(
            candidate, family, rows, device=torch.device("cpu"), speeds=SpeedBook(cache), store=store
        )
        self.train = rows.readable(np.arange(150))
        self.targets = frame["label"].astype("category").cat.codes.to_numpy().astype(np.int64)

    def trial(self, *, seed=0, clock=None, fill_time=False, settings=None, checkpoint=None, effects=()):
        from autotl.budget import Clock
        from autotl.training.settings import Settings
        from autotl.training.trial import ProbeHeads, Trial

        return Trial(
            effects=effects,
            checkpoint=checkpoint,
            settings=Settings(settings or {}),
            frozen=self.frozen,
            probes=ProbeHeads(made_tasks.of_classes(3), self.targets, self.train, seed),
            train=self.train,
            targets=self.targets,
            task=made_tasks.of_classes(3),
            seed=seed,
            clock=clock or Clock(),
            fill_time=fill_time,
        )

    def model(self, trial, *, drop=0.0):
        from autotl.training.model import Classifier

        backbone = self.family.load(self.frozen.candidate, drop=drop)
        return Classifier(backbone, trial.probes.penalty_and_head(self.frozen)[1])


@pytest.fixture
def one_thread():
    """Networks this small are slowed down by a second thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def bench(tiny, zoo, frame, tmp_path):
    return Bench(tiny, zoo, frame, tmp_path / "cache")
