"""Finds plugins, keeps the broken ones out, and answers which families and strategies there are.

Discovery reads metadata only. The contract's version stands in the entry-point group's name, so a plugin
that was built for another contract is named and left alone before any of its code is imported.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeVar

import pluggy

import autotl
from autotl.errors import PluginError
from autotl.plugins import hookspecs
from autotl.plugins.contracts import Modality, ModelFamily, Screener, Strategy

GROUP_PREFIX = "autotl.plugins."
GROUP = GROUP_PREFIX + "v1"

_Named = TypeVar("_Named", ModelFamily, Strategy, Screener)


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
        self._families: dict[str, ModelFamily] = {}
        self._strategies: dict[str, Strategy] = {}
        self._screeners: dict[str, Screener] = {}
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
        try:
            self._switch_on(point.name, package, version, point.load())
        except (Exception, SystemExit) as error:  # a foreign plugin may fail in any way, and must cost itself only
            if self._pluggy.has_plugin(point.name):
                self._pluggy.unregister(name=point.name)
            reason = f"{type(error).__name__}: {error}"
            self.records.append(PluginRecord(point.name, package, version, "off", reason=reason))

    def _switch_on(self, name: str, package: str, version: str, plugin: Any) -> None:
        self._pluggy.register(plugin, name=name)
        self._pluggy.check_pending()
        context = hookspecs.PluginContext(autotl_version=autotl.__version__)
        others = [other for other in self._pluggy.get_plugins() if other is not plugin]
        caller = functools.partial(self._pluggy.subset_hook_caller, remove_plugins=others)
        families = self._check(caller("autotl_model_families")(context=context), ModelFamily, self._families)  # type: ignore[type-abstract]
        strategies = self._check(caller("autotl_strategies")(context=context), Strategy, self._strategies)  # type: ignore[type-abstract]
        screeners = self._check(caller("autotl_screeners")(context=context), Screener, self._screeners)  # type: ignore[type-abstract]
        self._families |= families
        self._strategies |= strategies
        self._screeners |= screeners
        adds = [f"family {family.name} ({family.modality})" for family in families.values()]
        adds += [f"strategy {name}" for name in strategies]
        adds += [f"screener {name}" for name in screeners]
        self.records.append(PluginRecord(name, package, version, "on", tuple(adds)))

    @staticmethod
    def _check(answers: Sequence[Any], contract: type[_Named], taken: dict[str, _Named]) -> dict[str, _Named]:
        checked: dict[str, _Named] = {}
        for thing in (thing for answer in answers for thing in answer):
            if not isinstance(thing, contract):
                raise PluginError(f"{type(thing).__name__} does not satisfy the contract {contract.__name__}")
            if thing.name in taken or thing.name in checked:
                raise PluginError(f"the name {thing.name!r} is taken by another plugin")
            checked[thing.name] = thing
        return checked

    @property
    def families(self) -> list[ModelFamily]:
        return list(self._families.values())

    @property
    def strategies(self) -> list[Strategy]:
        return list(self._strategies.values())

    @property
    def screeners(self) -> list[Screener]:
        return list(self._screeners.values())

    def family(self, name: str) -> ModelFamily:
        """Raises `PluginError` when no plugin that is on brings it."""
        if name not in self._families:
            off = "".join(f" {record.package} is off: {record.reason}." for record in self.records if record.reason)
            raise PluginError(
                f"this needs the model family {name!r}, and no plugin here brings it.{off} "
                f"Install its package (for ours: pip install autotl-{name})"
            )
        return self._families[name]

    def origin(self, family: str) -> str:
        """Package and version that bring a family."""
        adds = f"family {family} "
        return next(f"{r.package} {r.version}" for r in self.records if any(what.startswith(adds) for what in r.adds))

    def strategy(self, name: str) -> Strategy:
        """Raises `PluginError` when no plugin that is on brings it."""
        if name not in self._strategies:
            raise PluginError(f"this needs the strategy {name!r}, and no plugin here brings it")
        return self._strategies[name]

    def families_for(self, modality: Modality) -> list[ModelFamily]:
        return [family for family in self.families if family.modality == modality]


@functools.cache
def plugins() -> PluginManager:
    """The plugins installed in this environment, found once a process."""
    everything = entry_points()
    groups = sorted(group for group in everything.groups if group.startswith(GROUP_PREFIX))
    return PluginManager([point for group in groups for point in everything.select(group=group)])
