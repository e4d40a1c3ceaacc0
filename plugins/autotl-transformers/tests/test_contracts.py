"""The plugin and its family keep AutoTL's contracts, with an encoder of every type."""

from __future__ import annotations

from autotl.testing import check_family, check_plugin


def test_the_plugin_keeps_its_contracts():
    check_plugin("transformers")


def test_the_family_keeps_its_contract(family, local, kind, texts):
    check_family(family, local[kind], texts)
