"""``autotl export``: a run's best model for programs without AutoTL, checked against it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from autotl.escaping import as_json

if TYPE_CHECKING:
    from autotl.exporters.checking import Comparison

HELP = "write a run's best model in another form, and check that it answers alike"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="a run's folder, or a bundle")
    parser.add_argument("--to", required=True, metavar="NAME", help="the form; 'autotl plugins' lists exporters")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the new folder")
    parser.add_argument(
        "--data", metavar="PATH", help="a table to check it on, up to 200 rows of it (default: the run's own)"
    )
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(options: argparse.Namespace) -> int:
    from autotl.api import export

    comparison = export(options.folder, to=options.to, out=options.out, data=options.data)
    if options.json:
        print(as_json(dataclasses.asdict(comparison)))
    else:
        _show(comparison, options.out, own=options.data is None)
    return 0


def _show(found: Comparison, out: str, *, own: bool) -> None:
    """own: whether the rows are of the table that the model was searched on."""
    from rich.console import Console
    from rich.table import Table

    from autotl.data.wording import counted

    table = Table("", box=None, header_style="dim", pad_edge=False)
    for name in ("bundle", "export"):
        table.add_column(name, justify="right", no_wrap=True)
    if found.score is not None and found.bundle_score is not None:
        table.add_row(found.metric, f"{found.bundle_score:.4f}", f"{found.score:.4f}")
    table.add_row("one row", f"{1000 * found.bundle_seconds:.3g} ms", f"{1000 * found.seconds:.3g} ms")
    table.add_row("size", f"{found.bundle_size / 1e6:.3g} MB", f"{found.size / 1e6:.3g} MB")
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"\n{found.agreement:.1%} of {counted(found.rows, 'row')} get the same answer; "
        f"the numbers behind it differ by {found.difference:.2g} at most",
        soft_wrap=True,
    )
    if own and found.score is not None:
        console.print(
            f"The rows are of the search's own table, and the model has seen most of them: of {found.metric} only the "
            "difference between bundle and export says something",
            soft_wrap=True,
        )
    console.print(f"\nNext:\n  {out}/README.md says how it is loaded", markup=False, style="dim", soft_wrap=True)
