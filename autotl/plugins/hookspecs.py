"""The hooks. A plugin is a module with functions of these names, marked with `autotl.hookimpl`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pluggy

from autotl.events import Event
from autotl.plugins.contracts import Command, Exporter, Metric, ModelFamily, Regularizer, Screener, Strategy

hookspec = pluggy.HookspecMarker("autotl")
hookimpl = pluggy.HookimplMarker("autotl")


@dataclass(frozen=True)
class PluginContext:
    """Handed to every hook: one frozen object, so that fields can be added without breaking a plugin."""

    autotl_version: str


@dataclass(frozen=True)
class EventContext:
    """Handed over with each event of a run, always the same; equal for a run that is resumed later in the process."""

    autotl_version: str
    folder: Path  #: of the run, from the root; it has a ``run.json`` from the event ``task`` on


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


@hookspec
def autotl_event(context: EventContext, event: Event) -> None:
    """Hears what happens in a search, as ``events.jsonl`` has it; a search that is resumed tells what is new.

    Called with one event after another on a thread of the plugin's own, for which the search does not wait: whoever
    raises, or takes half a minute over one, hears no more. At the end, which is ``finished`` or ``failed``, there are
    some moments to hear what is left. Kinds and fields that are not known are to be passed over: more will come.
    """
