"""The plugin as it is installed, in a folder of its own, and a run that it recorded."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from installing import install
from recorded_runs import record_run

from autotl.plugins.manager import plugins

pytest.importorskip("tensorboard")


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tensorboard") / "site"
    install(folder, Path(__file__).parents[1])
    return folder


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    plugins.cache_clear()
    yield
    plugins.cache_clear()


@pytest.fixture(scope="session")
def run(site, tmp_path_factory) -> Path:
    return record_run(site, tmp_path_factory.mktemp("recorded") / "place")
