"""``autotl models``: which backbones could be searched here, from where, at what cost, and why not."""

from __future__ import annotations

import argparse
import dataclasses
import json

from autotl.cli.options import add_models, add_roles

HELP = "list the pretrained backbones that could be searched here"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="PATH", help="a table: lists only the backbones for its inputs")
    add_roles(parser)
    add_models(parser)
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(options: argparse.Namespace) -> int:
    from autotl.config import parse_licences
    from autotl.data.inspection import SKIP_LIMIT, inspect_table
    from autotl.data.roles import Overrides
    from autotl.plugins.contracts import ZooContext
    from autotl.plugins.manager import plugins
    from autotl.zoo import hub
    from autotl.zoo.inventory import inventory, zoo_folders

    families = plugins().families
    if options.data:
        overrides = Overrides(options.target, options.image, options.text, options.group)
        skip_limit = SKIP_LIMIT if options.skip_unreadable is None else options.skip_unreadable
        modality = inspect_table(options.data, overrides, metric=options.metric, skip_limit=skip_limit).task.modality
        families = plugins().families_for(modality)
    folders = zoo_folders(options.models)
    online = not options.offline and hub.reachable()
    listings = inventory(families, ZooContext(folders, online), licences=parse_licences(options.licenses))
    if options.json:
        print(
            json.dumps(
                [
                    {**dataclasses.asdict(item.candidate), "usable": item.usable, "reason": item.reason}
                    for item in listings
                ]
            )
        )
        return 0

    from rich.console import Console
    from rich.table import Table

    from autotl.report.plain import plain

    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("backbone", no_wrap=True)
    table.add_column("input", min_width=5)
    for name in ("parameters", "size", "prior"):
        table.add_column(name, justify="right", min_width=len(name))
    table.add_column("licence")
    table.add_column("usable")
    for item in listings:
        candidate = item.candidate
        table.add_row(
            plain(candidate.key),
            candidate.modality,
            f"{candidate.parameters / 1e6:.1f} M",
            str(candidate.input_size),
            f"{candidate.prior:.2f}",
            plain(candidate.licence),
            f"yes: {item.reason}" if item.usable else f"no: {item.reason}",
            style="" if item.usable else "dim",
        )
    console = Console(highlight=False)
    console.print(table)
    if not listings:
        console.print("no plugin here brings backbones: pip install 'autotl[all]'")
    return 0
