"""``autotl cache``: what is kept from earlier searches, and how to be rid of it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from autotl.escaping import as_json

HELP = "show or clear what is kept from earlier searches"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clear", action="store_true", help="remove all of it; later searches compute it again")
    parser.add_argument("--json", action="store_true", help="for machines: JSON on standard output")


def _in_words(about: Mapping[str, Any]) -> tuple[str, str]:
    """What a collection holds, and of which backbone."""
    kind, view = about.get("kind"), about.get("view")
    if kind == "inputs":
        return "inputs, read once", ""
    boundary = about.get("boundary")
    after = f"{kind} after {'stages' if isinstance(boundary, str) else 'stage'} {boundary}"
    return after if view == "exact" else f"{after}, {view}", str(about.get("backbone"))


def run(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from autotl.config import cache_folder
    from autotl.features.store import clear_store, default_limit, stored_collections

    cache = cache_folder()
    if options.clear:
        removed = clear_store(cache)
        print(as_json({"removed": removed}) if options.json else f"removed {removed / 1e6:.1f} MB from {cache}")
        return 0
    collections, limit = stored_collections(cache), default_limit(cache)
    used = sum(collection.size for collection in collections)
    if options.json:
        facts = {"folder": str(cache), "used": used, "limit": limit, "kept": [asdict(kept) for kept in collections]}
        print(as_json(facts))
        return 0

    import time

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from autotl.report.plain import plain

    table = Table(box=box.SIMPLE_HEAD)
    for column in ("kept", "of", "rows", "MB", "last used"):
        table.add_column(column, justify="right" if column in {"rows", "MB"} else "left", overflow="fold")
    for kept in collections:
        table.add_row(
            *map(plain, _in_words(kept.about)), str(kept.rows), f"{kept.size / 1e6:.1f}",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.last_used)),
        )  # fmt: skip
    console = Console()
    if collections:
        console.print(table)
    console.print(f"{cache}: {used / 1e6:.1f} MB of at most {limit / 1e9:.1f} GB", soft_wrap=True)
    return 0
