"""A stranger's plugin: a text family small enough to search with in seconds, and two strategies that misbehave."""

from __future__ import annotations

import autotl
from autotl_tiny.family import TinyFamily
from autotl_tiny.strategies import Crashes, ForgetsSetting


@autotl.hookimpl
def autotl_model_families(context):
    return [TinyFamily()]


@autotl.hookimpl
def autotl_strategies(context):
    return [Crashes(), ForgetsSetting()]
