"""The plugin and its family keep AutoTL's contracts, with a network of every kind."""

from __future__ import annotations

from autotl.testing import check_family, check_plugin


def test_the_plugin_keeps_its_contracts():
    check_plugin("timm")


def test_the_family_keeps_its_contract(family, local, kind, many_photos):
    check_family(family, local[kind], many_photos[:4])
