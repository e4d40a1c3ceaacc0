"""``autotl plugins``: what is installed, what each adds, and what is switched off and why."""

from __future__ import annotations

import argparse
import dataclasses

from autotl.escaping import as_json

HELP = "list the plugins found, what each adds, and why one is off"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(options: argparse.Namespace) -> int:
    from autotl.plugins.manager import plugins

    records = plugins().records
    if options.json:
        print(as_json([dataclasses.asdict(record) for record in records]))
        return 0

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("plugin", "package", "version", "state", "adds", box=None, header_style="dim")
    for record in records:
        adds = Text(", ".join(record.adds) or record.reason, "" if record.state == "on" else "red")
        table.add_row(record.name, record.package, record.version, record.state, adds)
    Console(highlight=False).print(table)
    return 0
