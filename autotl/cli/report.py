"""``autotl report``: writes what a run came to into one file that a browser shows."""

from __future__ import annotations

import argparse
from pathlib import Path

from autotl.cli.options import new_file, writing

HELP = "write the report of a run, finished or not, as one HTML file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="the run's folder, such as runs/flowers")
    parser.add_argument("--out", metavar="FILE", help="the file to write, new (default: report.html in the run)")


def run(options: argparse.Namespace) -> int:
    from autotl.runs.folder import REPORT_FILE
    from autotl.search.reporting import report_again

    folder = Path(options.folder)
    out = new_file(options.out) if options.out else None
    with writing(out or folder / REPORT_FILE):
        print(report_again(folder, out))
    return 0
