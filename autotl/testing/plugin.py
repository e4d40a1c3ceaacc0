"""Whether an installed plugin keeps its contracts, as far as that shows without weights and data."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

from autotl.plugins.contracts import ModelFamily, ZooContext
from autotl.plugins.manager import PluginRecord, plugins
from autotl.testing.exporter import check_exporter_facts
from autotl.testing.family import check_candidate, check_family_facts
from autotl.testing.metric import check_metric
from autotl.testing.promises import BrokenPromise, expect, expect_no_error
from autotl.testing.regularizer import check_strengths
from autotl.testing.screener import check_screener
from autotl.testing.strategy import check_choices

#: Loads one plugin, asks its families for candidates, and prints all modules that this needed.
_LOAD = """
import sys
from importlib.metadata import entry_points
from autotl.plugins.contracts import ZooContext
from autotl.plugins.manager import GROUP, PluginManager
for family in PluginManager(entry_points(group=GROUP, name=sys.argv[1])).families:
    family.candidates(ZooContext())
print()
print(*sys.modules)
"""


def check_plugin(name: str) -> None:
    """The plugin that ``autotl plugins`` lists under `name` is on, loads no network library, and keeps its contracts.

    What it says of families, strategies, regularizers, exporters and commands is checked, and screeners and metrics
    altogether; the others' weights, trainings and folders are the business of `check_family`, `check_strategy`,
    `check_regularizer` and `check_exporter`. Raises `BrokenPromise`.
    """
    thing = f"plugin {name!r}"
    records = {record.name: record for record in plugins().records}
    expect(name in records, thing, "is found by its entry point", f"{', '.join(records)}: is its package installed?")
    record = records[name]
    expect(record.state == "on", thing, f"{record.package} can be switched on", record.reason)
    _check_imports(thing, record)

    def brings(kind: str, named: str) -> bool:
        return any(f"{what} ".startswith(f"{kind} {named} ") for what in record.adds)

    for family in plugins().families:
        if brings("family", family.name):
            _check_family(family)
    for strategy in plugins().strategies:
        if brings("strategy", strategy.name):
            check_choices(strategy)
    for regularizer in plugins().regularizers:
        if brings("regularizer", regularizer.name):
            check_strengths(regularizer)
    for screener in plugins().screeners:
        if brings("screener", screener.name):
            check_screener(screener)
    for metric in plugins().metrics:
        if brings("metric", metric.name):
            check_metric(metric)
    for exporter in plugins().exporters:
        if brings("exporter", exporter.name):
            check_exporter_facts(exporter)
    for command in plugins().commands:
        if brings("command", command.name):
            with expect_no_error(f"command {command.name!r}", "add_arguments() adds its options"):
                command.add_arguments(argparse.ArgumentParser())
            one_line = bool(command.help) and "\n" not in command.help
            expect(one_line, f"command {command.name!r}", "help is one line", repr(command.help))


def _check_family(family: ModelFamily) -> None:
    check_family_facts(family)
    thing = f"family {family.name!r}"
    with expect_no_error(thing, "candidates() lists what there is, without a hub and without folders"):
        candidates = family.candidates(ZooContext())
    names = [candidate.name for candidate in candidates]
    twice = sorted({name for name in names if names.count(name) > 1})
    expect(not twice, thing, "a name appears once among its candidates", ", ".join(twice))
    for candidate in candidates:
        check_candidate(family, candidate)


def _check_imports(thing: str, record: PluginRecord) -> None:
    """In a process of its own, as this one has torch."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    answer = subprocess.run(
        [sys.executable, "-c", _LOAD, record.name], env=environment, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise BrokenPromise(thing, "can be loaded in a process of its own", answer.stderr.strip().splitlines()[-1])
    loaded = {module.partition(".")[0] for module in answer.stdout.splitlines()[-1].split()}
    found = ", ".join(sorted(loaded & _network_libraries(record.package)))
    promise = "its hooks, and candidates(), import no network library: import it inside the methods that need it"
    expect(not found, thing, promise, found)


def _network_libraries(package: str) -> set[str]:
    """Modules of torch, and of what the package requires that has to do with it: none of them loads in a moment."""
    own = _requirements(package) - _requirements("autotl") - {"autotl"}
    heavy = {"torch", *(name for name in own if "torch" in _requirements(name))}
    modules = packages_distributions()
    return {module for module, names in modules.items() if heavy & set(map(_normalized, names))}


def _requirements(package: str) -> set[str]:
    """Names of the distributions that an installed one requires, its extras' too."""
    try:
        lines = requires(package) or []
    except PackageNotFoundError:
        return set()
    return {_normalized(match[0]) for line in lines if (match := re.match(r"[\w.-]+", line))}


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
