"""The plugin as it is installed, in a folder of its own, and a run that it recorded in a database."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from installing import install
from recorded_runs import record_run

from autotl.plugins.manager import plugins

pytest.importorskip("mlflow")


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow") / "site"
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


@pytest.fixture(scope="session")
def database(run) -> Path:
    """Where MLflow writes by default: beside where the search was started."""
    return run.parent / "mlflow.db"


@pytest.fixture
def client(database, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return mlflow.MlflowClient(f"sqlite:///{database}")
