"""Whole plugins that break their contract are told what they promised."""

from __future__ import annotations

import subprocess
import sys

import pytest

from autotl.testing import (
    BrokenPromise,
    check_plugin,
)


def test_a_plugin_that_is_not_there_is_told_what_is():
    with pytest.raises(BrokenPromise, match=r"plugin 'absent': is found by its entry point. Found: core, "):
        check_plugin("absent")


def test_a_plugin_that_is_off_is_told_why(put_on_path, distribution):
    put_on_path(distribution("broken", "raise RuntimeError('out of order')"))
    with pytest.raises(BrokenPromise, match=r"autotl-broken can be switched on. Found: RuntimeError: out of order"):
        check_plugin("broken")


def test_a_plugin_that_loads_torch_is_told(put_on_path, distribution):
    put_on_path(distribution("heavy", "import torch\n"))
    with pytest.raises(BrokenPromise, match=r"plugin 'heavy': its hooks.*import no network library.*Found: .*torch"):
        check_plugin("heavy")


def test_autotl_may_be_imported_where_it_is_installed_from_its_wheel(put_on_path, distribution, tmp_path):
    """A wheel lists its modules, which an editable installation does not; and AutoTL requires torch."""
    written = tmp_path / "wheel" / "autotl-0.1.0.dist-info"
    written.mkdir(parents=True)
    (written / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: autotl\nVersion: 0.1.0\nRequires-Dist: torch>=2.6\n"
    )
    (written / "top_level.txt").write_text("autotl\n")
    light = distribution("light", "import autotl\n")
    with (light / "autotl_light-3.2.dist-info" / "METADATA").open("a") as metadata:
        metadata.write("Requires-Dist: autotl>=0.1\n")
    put_on_path(light, written.parent)
    check_plugin("light")


def test_what_a_plugin_brings_is_checked(put_on_path, distribution):
    code = """
import autotl
from autotl.plugins.contracts import Real, Strategy, Work

class Kind(Strategy):
    name = "kind"
    def parameters(self, context): return [Real("rate", 0.0, 1.0)]
    def portfolio(self, context): return [{"rate": 2.0}]
    def work(self, context, settings): return Work(0.0)
    def fit(self, trial): yield

@autotl.hookimpl
def autotl_strategies(context):
    return [Kind()]
"""
    put_on_path(distribution("kind", code))
    with pytest.raises(BrokenPromise, match=r"strategy 'kind': settings of the portfolio lie inside.*'rate': 2.0"):
        check_plugin("kind")


def test_an_authors_test_is_three_lines(tmp_path):
    test = "from autotl.testing import check_plugin\ndef test_it():\n    check_plugin('screeners')\n"
    (tmp_path / "test_it.py").write_text(test, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", tmp_path]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
