"""Finds plugins, keeps the broken ones out, and answers which families and strategies there are.

Discovery reads metadata only. The contract's version stands in the entry-point group's name, so a plugin
that was built for another contract is named and left alone before any of its code is imported.
"""

from __future__ import annotations

import argparse
import functools
import os
import queue
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires, version
from typing import Any, Literal

import pluggy

import autotl
from autotl.errors import PluginError
from autotl.plugins import hookspecs
from autotl.plugins.contracts import (
    OWN_FAMILY,
    Command,
    Exporter,
    Metric,
    Modality,
    ModelFamily,
    Regularizer,
    Screener,
    Strategy,
)

GROUP_PREFIX = "autotl.plugins."
GROUP = GROUP_PREFIX + "v1"

#: What each hook's answers have to be.
CONTRACTS: dict[str, type[Any]] = {
    "autotl_model_families": ModelFamily,
    "autotl_strategies": Strategy,
    "autotl_regularizers": Regularizer,
    "autotl_screeners": Screener,
    "autotl_metrics": Metric,
    "autotl_exporters": Exporter,
    "autotl_commands": Command,
}

#: What the command line has of its own.
OWN_COMMANDS = (
    "search", "resume", "watch", "report", "show", "compare", "predict", "evaluate", "export", "serve", "inspect",
    "models", "plan", "portfolio", "plugins", "plugin", "cache", "doctor", "completion",
)  # fmt: skip

#: Seconds after which a plugin that is still being imported is left alone; ours take some milliseconds, since no plugin
#: is to import a network library.
PATIENCE = 10.0

#: Plugins that the process which started this one left alone, so that they are not waited for twice.
OFF_VARIABLE = "AUTOTL_PLUGINS_OFF"


@dataclass(frozen=True)
class PluginRecord:
    """One plugin that was found, and what became of it."""

    name: str
    package: str
    version: str
    state: Literal["on", "off"]
    adds: tuple[str, ...] = ()  #: such as "family timm (image)"
    reason: str = ""  #: why it is off


class PluginManager:
    """The plugins of one process."""

    def __init__(self, found: Sequence[EntryPoint]) -> None:
        self._pluggy = pluggy.PluginManager("autotl")
        self._pluggy.add_hookspecs(hookspecs)
        self.records: list[PluginRecord] = []
        #: What their code is imported from, but for ours in the core.
        self.modules = frozenset(point.module.partition(".")[0] for point in found) - {"autotl"}
        self._found: dict[str, dict[str, Any]] = {hook: {} for hook in CONTRACTS}
        # our own first: trial 0 is the first strategy's recipe, and no plugin should change what that is by its name
        for point in sorted(found, key=lambda point: (point.dist is None or point.dist.name != "autotl", point.name)):
            self._discover(point)

    def _discover(self, point: EntryPoint) -> None:
        package = point.dist.name if point.dist else "?"
        version = point.dist.version if point.dist else "?"
        if point.group != GROUP:
            contract = point.group.removeprefix(GROUP_PREFIX)
            reason = f"made for plugin contract {contract}, this AutoTL speaks v1: install a matching {package}"
            self.records.append(PluginRecord(point.name, package, version, "off", reason=reason))
            return
        if point.name in os.environ.get(OFF_VARIABLE, "").split():
            reason = f"{TimeoutError.__name__}: it did not answer when this search began"
            self.records.append(PluginRecord(point.name, package, version, "off", reason=reason))
            return
        taken = self._pluggy.has_plugin(point.name)
        try:
            if taken:
                raise PluginError(f"another package has a plugin called {point.name!r}: uninstall one of them")
            self._switch_on(point, package, version)
        except (Exception, SystemExit) as error:  # a foreign plugin may fail in any way, and must cost itself only
            if self._pluggy.has_plugin(point.name) and not taken:
                self._pluggy.unregister(name=point.name)
            reason = f"{type(error).__name__}: {error}"
            self.records.append(PluginRecord(point.name, package, version, "off", reason=reason))

    def _switch_on(self, point: EntryPoint, package: str, version: str) -> None:
        self._pluggy.register(_in_time(point.load, point.name), name=point.name)
        self._pluggy.check_pending()
        context = hookspecs.PluginContext(autotl_version=autotl.__version__)
        answers = {
            hook: _in_time(functools.partial(self._caller(point.name, hook), context=context), f"{point.name}.{hook}")
            for hook in CONTRACTS
        }
        brought = {hook: self._check(answer, hook) for hook, answer in answers.items()}
        for hook, things in brought.items():
            self._found[hook] |= things
        adds = [_describe(thing, hook) for hook, things in brought.items() for thing in things.values()]
        if self._hears(point.name):
            adds.append(f"listener {point.name}")
        self.records.append(PluginRecord(point.name, package, version, "on", tuple(adds)))

    def _caller(self, name: str, hook: str) -> Callable[..., Any]:
        """Calls a hook of one plugin alone."""
        others = [other for other_name, other in self._pluggy.list_name_plugin() if other_name != name]
        return self._pluggy.subset_hook_caller(hook, remove_plugins=others)

    def _hears(self, name: str) -> bool:
        return any(found.plugin_name == name for found in self._pluggy.hook.autotl_event.get_hookimpls())

    def _check(self, answers: Sequence[Any], hook: str) -> dict[str, Any]:
        checked: dict[str, Any] = {}
        for thing in (thing for answer in answers for thing in answer):
            contract = CONTRACTS[hook]
            if not isinstance(thing, contract):
                raise PluginError(f"{type(thing).__name__} does not satisfy the contract {contract.__name__}")
            if thing.name in self._found[hook] or thing.name in checked:
                raise PluginError(f"the name {thing.name!r} is taken by another plugin")
            if contract is ModelFamily and thing.name == OWN_FAMILY:
                raise PluginError(f"the name {thing.name!r} is taken by AutoTL's bag of words")
            if isinstance(thing, Command):
                _try_command(thing)
            checked[thing.name] = thing
        return checked

    @property
    def families(self) -> list[ModelFamily]:
        return list(self._found["autotl_model_families"].values())

    @property
    def strategies(self) -> list[Strategy]:
        return list(self._found["autotl_strategies"].values())

    @property
    def regularizers(self) -> list[Regularizer]:
        return list(self._found["autotl_regularizers"].values())

    @property
    def screeners(self) -> list[Screener]:
        return list(self._found["autotl_screeners"].values())

    @property
    def metrics(self) -> list[Metric]:
        return list(self._found["autotl_metrics"].values())

    @property
    def exporters(self) -> list[Exporter]:
        return list(self._found["autotl_exporters"].values())

    @property
    def commands(self) -> list[Command]:
        return list(self._found["autotl_commands"].values())

    @property
    def listeners(self) -> dict[str, Callable[..., Any]]:
        """The hook `autotl_event` of each plugin that has it, by the plugin's name."""
        names = [record.name for record in self.records if record.state == "on" and self._hears(record.name)]
        return {name: self._caller(name, "autotl_event") for name in names}

    @property
    def unresponsive(self) -> list[str]:
        """Plugins that were left alone because they did not come to an end, by name."""
        return [record.name for record in self.records if record.reason.startswith(TimeoutError.__name__)]

    def family(self, name: str) -> ModelFamily:
        """Raises `PluginError` when no plugin that is on brings it."""
        families: dict[str, ModelFamily] = self._found["autotl_model_families"]
        if name not in families:
            off = "".join(f" {record.package} is off: {record.reason}." for record in self.records if record.reason)
            raise PluginError(
                f"this needs the model family {name!r}, and no plugin here brings it.{off} "
                f"Install its package (all of ours: pip install 'autotl[all]')"
            )
        return families[name]

    def origin(self, name: str, kind: str = "family") -> str:
        """Package and version that bring a family, or something of another kind; the core's own are of no plugin."""
        adds = f"{kind} {name} "
        records = (r for r in self.records if any(f"{what} ".startswith(adds) for what in r.adds))
        return next((f"{record.package} {record.version}" for record in records), f"autotl {autotl.__version__}")

    def made_by(self, family: str) -> str:
        """What a family computes with: its origin, torch, and what else its package requires, with their versions."""
        origin = self.origin(family)
        return ", ".join([origin, *_versions({"torch", *_required(origin.partition(" ")[0])})])

    @property
    def complaints(self) -> list[str]:
        """A sentence for each plugin that is off."""
        off = [record for record in self.records if record.state == "off"]
        return [f"plugin {r.name} of {r.package} {r.version} is off: {r.reason}" for r in off]

    def strategy(self, name: str) -> Strategy:
        """Raises `PluginError` when no plugin that is on brings it."""
        strategies: dict[str, Strategy] = self._found["autotl_strategies"]
        if name not in strategies:
            raise PluginError(f"this needs the strategy {name!r}, and no plugin here brings it")
        return strategies[name]

    def exporter(self, name: str) -> Exporter:
        """Raises `PluginError` when no plugin that is on brings it."""
        exporters: dict[str, Exporter] = self._found["autotl_exporters"]
        if name not in exporters:
            known = ", ".join(sorted(exporters))
            raise PluginError(f"no plugin here exports to {name!r}; those that are on export to {known}")
        return exporters[name]

    def families_for(self, modality: Modality) -> list[ModelFamily]:
        return [family for family in self.families if family.modality == modality]


def _in_time(call: Callable[[], Any], name: str) -> Any:
    """What `call` returns. Raises what it raises, and `TimeoutError` when it takes longer than `PATIENCE`."""
    ended: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()

    def work() -> None:
        try:
            ended.put((call(), None))
        except BaseException as error:  # raised again where it is waited for
            ended.put((None, error))

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        answer, error = ended.get(timeout=PATIENCE)
    except queue.Empty:
        raise TimeoutError(f"{name} did not answer within {PATIENCE:.0f} s") from None
    if error is not None:
        raise error
    return answer


def _required(package: str) -> set[str]:
    """The names of what a package requires, without its extras."""
    with suppress(PackageNotFoundError):
        lines = (line for line in requires(package) or () if "extra ==" not in line)
        return {match[0].lower() for line in lines if (match := re.match(r"[\w.-]+", line))}
    return set()


def _versions(packages: set[str]) -> list[str]:
    """Such as ``torch 2.15.0``, of those that are installed."""
    found = []
    for package in sorted(packages):
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return found


def _try_command(command: Command) -> None:
    """Raises `PluginError` for a name of ours, and whatever a command raises that cannot say its options."""
    if command.name in OWN_COMMANDS:
        raise PluginError(f"the command {command.name!r} is AutoTL's own")
    parser = argparse.ArgumentParser(command.name)
    _in_time(functools.partial(command.add_arguments, parser), f"{command.name}.add_arguments")


def _describe(thing: Any, hook: str) -> str:
    """Such as ``family timm (image)``."""
    if hook == "autotl_model_families":
        return f"family {thing.name} ({thing.modality})"
    return f"{CONTRACTS[hook].__name__.lower()} {thing.name}"


@functools.cache
def plugins() -> PluginManager:
    """The plugins installed in this environment, found once a process."""
    everything = entry_points()
    groups = sorted(group for group in everything.groups if group.startswith(GROUP_PREFIX))
    return PluginManager([point for group in groups for point in everything.select(group=group)])
