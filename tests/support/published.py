"""Pretrained networks and data sets, where this machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shared_folder() -> Path:
    """The folder that holds them, or the end of the test: published weights are not ours to copy; CI has them."""
    folder = Path(os.environ.get("AUTOTL_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip("no folder with pretrained networks here; AUTOTL_SHARED names one")
    return folder
