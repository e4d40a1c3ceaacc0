"""Checks that a plugin keeps its contracts, for the plugin's own tests.

A test is three lines::

    from autotl.testing import check_strategy

    def test_it_keeps_the_contract():
        check_strategy(MyStrategy())

What is not kept raises `BrokenPromise`, an `AssertionError` that names the thing, what it promised and what was found.
Strategies and regularizers are tried on small networks and tables that the kit brings; all of it runs on the CPU.
"""

from __future__ import annotations

from autotl.testing.bench import Bench, image_bench, number_bench, text_bench
from autotl.testing.bundle import make_bundle
from autotl.testing.exporter import check_exporter
from autotl.testing.family import check_family
from autotl.testing.listener import check_event_listener
from autotl.testing.metric import check_metric
from autotl.testing.plugin import check_plugin
from autotl.testing.promises import BrokenPromise
from autotl.testing.regularizer import check_regularizer
from autotl.testing.screener import check_screener
from autotl.testing.stored_states import check_stored_states
from autotl.testing.strategy import check_strategy

__all__ = [
    "Bench",
    "BrokenPromise",
    "check_event_listener",
    "check_exporter",
    "check_family",
    "check_metric",
    "check_plugin",
    "check_regularizer",
    "check_screener",
    "check_stored_states",
    "check_strategy",
    "image_bench",
    "make_bundle",
    "number_bench",
    "text_bench",
]
