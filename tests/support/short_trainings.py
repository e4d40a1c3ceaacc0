"""Trainings of fewer steps than a small table has, for whole searches whose tests ask about something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autotl.plugins import contracts

STEPS = 60

#: A ``sitecustomize`` by which our command line and its workers train no longer, and other programs find nothing new.
SITE = f"""
import sys
if any(word.startswith("autotl.") for word in sys.orig_argv):
    import autotl.plugins.contracts
    autotl.plugins.contracts.FEWEST_STEPS = {STEPS}
"""


def write_site(folder: Path) -> Path:
    """Makes `folder`, for the path of processes that shall train briefly."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    return folder


def train_briefly(patched: pytest.MonkeyPatch, folder: Path) -> None:
    """In this process, and by `folder` in those that it starts."""
    patched.setattr(contracts, "FEWEST_STEPS", STEPS)
    patched.setenv("PYTHONPATH", str(write_site(folder)), prepend=os.pathsep)
