"""What is ours passes the kit."""

from __future__ import annotations

import pytest

from autotl.plugins.contracts import ZooContext
from autotl.plugins.manager import plugins
from autotl.testing import (
    check_family,
    check_plugin,
    check_regularizer,
    check_screener,
    check_strategy,
    text_bench,
)
from autotl.testing.tiny import TinyFamily

TEXTS = ["one", "two words", "and three words", "now there are five words", "two more"]
PICTURES = ["0/1", "1/2", "2/3", "0/4"]


def ours(things):
    """Those that the core brings, whatever else is installed."""
    return [thing for thing in things if type(thing).__module__.startswith("autotl.")]


@pytest.mark.parametrize("name", ["core", "exporters", "regularizers", "screeners"])
def test_our_plugins_keep_their_contracts(name):
    check_plugin(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [strategy.name for strategy in ours(plugins().strategies)])
def test_our_strategies_keep_their_contract(name):
    """Those that train as the first does, on one bench instead of two: it takes ten seconds."""
    check_strategy(plugins().strategy(name), None if name in {"finetune", "probe"} else text_bench())


@pytest.mark.parametrize("regularizer", ours(plugins().regularizers), ids=lambda regularizer: regularizer.name)
def test_our_regularizers_keep_their_contract(regularizer):
    check_regularizer(regularizer)


@pytest.mark.parametrize("screener", ours(plugins().screeners), ids=lambda screener: screener.name)
def test_our_screeners_keep_their_contract(screener):
    check_screener(screener)


@pytest.mark.parametrize(("modality", "cells"), [("text", TEXTS), ("image", PICTURES)])
def test_the_kits_own_families_keep_the_contract(modality, cells):
    family = TinyFamily(modality)
    (candidate,) = family.candidates(ZooContext())
    check_family(family, candidate, cells)


def test_a_third_partys_family_keeps_the_contract(tiny, zoo):
    check_plugin("tiny")
    for candidate in tiny.candidates(ZooContext((zoo,))):
        check_family(tiny, candidate, TEXTS)
