"""``autotl inspect``: what AutoTL makes of a table, before anything is spent."""

from __future__ import annotations

import argparse
import sys

from autotl.cli.options import add_data, add_roles, inspected, new_file, writing
from autotl.escaping import as_json

HELP = "show what would be learned from a table, and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--test", metavar="PATH", help="a labelled table whose rows must not be trained on")
    add_roles(parser)
    parser.add_argument("--out", metavar="FILE", help="CSV to write: the rows that would be set aside, and why")
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(options: argparse.Namespace) -> int:
    from collections import Counter

    from autotl.data.audit import audit
    from autotl.data.inspection import read_test
    from autotl.data.set_aside import write_set_aside
    from autotl.data.wording import counted, kind_of_input, listed

    out = new_file(options.out) if options.out else None
    inspection = inspected(options)
    audited = audit(inspection, test=read_test(options.test, inspection.task) if options.test else None)
    found, notes = audited.inspection, [*inspection.notes, *audited.notes]
    if out:
        with writing(out):
            write_set_aside(out, found)
        print(f"{counted(len(found.set_aside), 'row')} in {out}", file=sys.stderr)
    counts = Counter(audited.facts["class_counts"])
    if options.json:
        answer = {
            "task": {"target": found.task.target, **found.task.model_dump()},
            "rows": found.table.rows,
            "kept": len(found.kept),
            "columns": [
                {"name": r.name, "role": r.role, "confidence": r.confidence, "evidence": r.evidence}
                for r in found.roles
            ],
            "class_counts": counts,
            "notes": notes,
            "audit": audited.facts,
        }
        print(as_json(answer))
        return 0

    from rich.console import Console
    from rich.table import Table

    from autotl.report.plain import plain

    console = Console(highlight=False)
    columns = Table("column", "role", "evidence", box=None, header_style="dim")
    for role in found.roles:
        columns.add_row(plain(role.name), role.role, plain(role.evidence))
    console.print(columns)
    task = found.task
    console.print()
    what = f"{kind_of_input(task.modality)} {listed(task.columns)}"
    console.print(plain(f"{task.kind} task: predict {task.target!r} from {what}, by {task.metric}"))
    console.print(plain(f"{len(found.kept)} of {found.table.rows} rows can be used"))
    listing = ", ".join(f"{name} {count}" for name, count in counts.most_common(20))
    told = f": {listing}" + (", …" if len(counts) > 20 else "") if counts else ""
    console.print(plain(task.rules.describe(task) + told))
    if size := audited.facts["input"]:
        spread = f"{size['least']} to {size['most']}, median {size['median']:g}"
        console.print(plain(f"{size['unit']} of an input: {spread}"))
    console.print(plain(audited.facts["split"]))
    for note in notes:
        console.print(plain(f"note: {note}", "yellow"))
    return 0
