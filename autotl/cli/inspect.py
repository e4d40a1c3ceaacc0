"""``autotl inspect``: what AutoTL makes of a table, before anything is spent."""

from __future__ import annotations

import argparse
import json

from autotl.cli.options import add_data, add_roles

HELP = "show what would be learned from a table, and why"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    add_roles(parser)
    parser.add_argument("--json", action="store_true", help="JSON on standard output")


def run(options: argparse.Namespace) -> int:
    from collections import Counter

    from autotl.data.inspection import SKIP_LIMIT, inspect_table
    from autotl.data.roles import Overrides

    found = inspect_table(
        options.data,
        Overrides(target=options.target, image=options.image, text=options.text),
        metric=options.metric,
        skip_limit=SKIP_LIMIT if options.skip_unreadable is None else options.skip_unreadable,
    )
    counts = Counter(found.task.classes[label] for label in found.labels.tolist())
    if options.json:
        answer = {
            "task": found.task.model_dump(),
            "rows": found.table.rows,
            "kept": len(found.kept),
            "columns": [
                {"name": r.name, "role": r.role, "confidence": r.confidence, "evidence": r.evidence}
                for r in found.roles
            ],
            "class_counts": counts,
            "notes": found.notes,
        }
        print(json.dumps(answer, ensure_ascii=False))
        return 0

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    columns = Table("column", "role", "evidence", box=None, header_style="dim")
    for role in found.roles:
        columns.add_row(Text(role.name), role.role, Text(role.evidence))
    console.print(columns)
    task = found.task
    console.print(
        Text(f"\n{task.kind} task: predict {task.target!r} from {task.modality} {task.input.name!r}, by {task.metric}")
    )
    console.print(Text(f"{len(found.kept)} of {found.table.rows} rows can be used"))
    classes = ", ".join(f"{name} {count}" for name, count in counts.most_common(20))
    console.print(Text(f"{len(task.classes)} classes: {classes}" + (", …" if len(counts) > 20 else "")))
    for note in found.notes:
        console.print(Text(f"note: {note}", "yellow"))
    return 0
