"""Packages of this repository, installed as anyone would install them, for the tests that ask for it alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def install(site: Path, *packages: Path) -> None:
    """Builds the wheels of packages and installs them into a new folder, without a network and what they require."""
    pytest.importorskip("hatchling", reason="building needs hatchling, which a machine without network may not have")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels = site.with_name(f"{site.name}-wheels")
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, *packages]
    subprocess.run([*pip, *map(str, build)], check=True)
    built = sorted(map(str, wheels.glob("*.whl")))
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(site), *built], check=True)
