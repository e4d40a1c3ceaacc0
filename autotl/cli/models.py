"""``autotl models``: which backbones could be searched here, and how they get to machines without a network."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from autotl.cli.actions import CommandParser
from autotl.cli.options import add_models, add_roles, inspected, new_file
from autotl.escaping import as_json

if TYPE_CHECKING:
    from autotl.zoo.inventory import Listing
    from autotl.zoo.manifest import Manifest

HELP = "list the pretrained backbones that could be searched here; pack them for a machine without a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="PATH", help="a table: lists only the backbones for its inputs")
    add_roles(parser)
    add_models(parser)
    parser.add_argument("--json", action="store_true", help="JSON on standard output")
    actions = parser.add_subparsers(metavar="ACTION", title="actions, after all other options", dest="action")
    if isinstance(parser, CommandParser):
        parser.actions = actions
    pack = actions.add_parser("pack", help="write models into one file; what is on the hub is downloaded first")
    pack.add_argument("names", nargs="+", metavar="NAME", help="as 'autotl models' lists them, with or without family")
    pack.add_argument("-o", "--out", required=True, metavar="FILE", help="the archive, such as zoo.tar")
    unpack = actions.add_parser("unpack", help="make a folder for --models of such a file, each byte as it was packed")
    unpack.add_argument("archive", metavar="FILE")
    unpack.add_argument("--into", metavar="FOLDER", help="a new one (default: named after the file)")
    verify = actions.add_parser("verify", help="look whether such a folder is still what was packed")
    verify.add_argument("folder", metavar="FOLDER")


def run(options: argparse.Namespace) -> int:
    action = {"pack": _pack, "unpack": _unpack, "verify": _verify}.get(options.action, _list)
    return action(options)


def _pack(options: argparse.Namespace) -> int:
    from autotl.errors import ZooError
    from autotl.plugins.manager import plugins
    from autotl.zoo.archive import pack
    from autotl.zoo.inventory import TOO_LARGE, called

    out = new_file(options.out)
    listings = {item.candidate.key: item for item in _listings(options)}
    candidates = [item.candidate for item in listings.values()]
    chosen = []
    for name in dict.fromkeys(options.names):
        found = [listings[candidate.key] for candidate in called(name, candidates)]
        if len({(item.candidate.source, item.candidate.location) for item in found}) != 1:
            known = "several backbones have this name: write one with its family" if found else "see 'autotl models'"
            raise ZooError(f"no backbone {name!r} to pack: {known}")
        # several are the same files for other inputs, in families that are named after the one of texts
        item = min(found, key=lambda item: len(item.candidate.key))
        if not item.usable and item.reason != TOO_LARGE:  # it is fetched now
            raise ZooError(f"{item.candidate.key} cannot be packed: {item.reason}")
        chosen.append(item.candidate)
    for candidate in chosen:  # whatever a family needs of the hub is in its cache afterwards
        if candidate.source == "hub":
            family = plugins().family(candidate.family)
            family.encoder(candidate, [])
            family.load(candidate)
    return _show(pack(chosen, out), f"packed into {out}", options)


def _unpack(options: argparse.Namespace) -> int:
    from autotl.zoo.archive import unpack

    archive = Path(options.archive).expanduser()
    into = Path(options.into).expanduser() if options.into else Path(archive.stem)
    return _show(unpack(archive, into), f"unpacked: search them with --models {into}", options)


def _verify(options: argparse.Namespace) -> int:
    from autotl.zoo.archive import verify

    return _show(verify(Path(options.folder).expanduser()), "every file is as it was packed", options)


def _show(manifest: Manifest, outcome: str, options: argparse.Namespace) -> int:
    if options.json:
        print(as_json(manifest.model_dump(mode="json")))
        return 0
    from rich.console import Console
    from rich.table import Table

    from autotl.report.plain import plain

    table = Table("backbone", "folder", "licence", "revision", box=None, header_style="dim", pad_edge=False)
    table.add_column("MB", justify="right")
    for model in manifest.models:
        words = (model.backbone, model.folder, model.licence, model.revision, f"{model.size / 1e6:.1f}")
        table.add_row(*map(plain, words))
    console = Console(highlight=False)
    console.print(table)
    console.print(plain(outcome))
    return 0


def _listings(options: argparse.Namespace) -> list[Listing]:
    from autotl.config import parse_licences, zoos_of_environment
    from autotl.plugins.contracts import ZooContext
    from autotl.plugins.manager import plugins
    from autotl.zoo import hub
    from autotl.zoo.inventory import inventory, zoo_folders

    families, columns = plugins().families, 1
    if options.data:
        task = inspected(options).task
        families, columns = plugins().families_for(task.modality), len(task.inputs)
    folders = zoo_folders((*options.models, *zoos_of_environment()))
    online = not options.offline and hub.reachable()
    return inventory(families, ZooContext(folders, online, columns), licences=parse_licences(options.licenses))


def _list(options: argparse.Namespace) -> int:
    listings = _listings(options)
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

    from autotl.report.plain import plain

    console = Console(highlight=False)
    for item in listings:  # no table: names alone can fill a line
        candidate, style = item.candidate, "" if item.usable else "dim"
        facts = (
            f"{candidate.modality}, {candidate.parameters / 1e6:.1f} M parameters, size {candidate.input_size}, "
            f"prior {candidate.prior:.2f}, licence {candidate.licence}"
        )
        verdict = f"{'usable' if item.usable else 'not usable'}: {item.reason}"
        console.print(plain(candidate.key, style), soft_wrap=True)
        for sentence in (facts, verdict):
            for line in textwrap.wrap(sentence, console.width, initial_indent="  ", subsequent_indent="    "):
                console.print(plain(line, style))
    if not listings:
        console.print("no plugin here brings backbones: pip install 'autotl[all]'")
    return 0
