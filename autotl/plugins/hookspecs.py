"""The hooks. A plugin is a module with functions of these names, marked with `autotl.hookimpl`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pluggy

from autotl.plugins.contracts import Command, Exporter, Metric, ModelFamily, Regularizer, Screener, Strategy

hookspec = pluggy.HookspecMarker("autotl")
hookimpl = pluggy.HookimplMarker("autotl")


@dataclass(frozen=True)
class PluginContext:
    """Handed to every hook: one frozen object, so that fields can be added without breaking a plugin."""

    autotl_version: str


@hookspec
def autotl_model_families(context: PluginContext) -> Sequence[ModelFamily]:  # type: ignore[empty-body]
    """Families of pretrained backbones. Called once a process; must not import a network library."""


@hookspec
def autotl_strategies(context: PluginContext) -> Sequence[Strategy]:  # type: ignore[empty-body]
    """Ways to fine-tune. Called once a process; must not import torch."""


@hookspec
def autotl_regularizers(context: PluginContext) -> Sequence[Regularizer]:  # type: ignore[empty-body]
    """What keeps trainings from overfitting. Called once a process; must not import torch."""


@hookspec
def autotl_screeners(context: PluginContext) -> Sequence[Screener]:  # type: ignore[empty-body]
    """Second opinions on frozen features. Called once a process; must not import torch."""


@hookspec
def autotl_metrics(context: PluginContext) -> Sequence[Metric]:  # type: ignore[empty-body]
    """Scores to choose models by. Called once a process; must not import torch."""


@hookspec
def autotl_exporters(context: PluginContext) -> Sequence[Exporter]:  # type: ignore[empty-body]
    """Forms to export answers in. Called once a process; must import neither torch nor what the forms are read by."""


@hookspec
def autotl_commands(context: PluginContext) -> Sequence[Command]:  # type: ignore[empty-body]
    """Commands for the command line. Called by ``autotl``, whatever the command; must import next to nothing."""
