"""The contracts are kept; what else the plugin promises is yours to test."""

from __future__ import annotations

from autotl.plugins.contracts import ZooContext
from autotl.plugins.manager import plugins
from autotl.testing import check_family, check_plugin


def test_the_plugin_keeps_its_contracts() -> None:
    check_plugin("NAME")


def test_the_family_keeps_its_contract_with_every_backbone() -> None:
    family = plugins().family("NAME")
    for candidate in family.candidates(ZooContext()):
        check_family(family, candidate, ["a text", "another one, which is longer", "third", "and the fourth text"])
