"""``autotl plugin new NAME``: begins a plugin, a package that works and passes its own tests at once."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "begin a plugin of your own: a package that works, with its tests"

#: A package as it is written, but for its name: this word in files and in their names.
_TEMPLATE, _PLACEHOLDER = Path(__file__).parent / "plugin_template", "NAME"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    new = actions.add_parser("new", help=HELP, description=HELP)
    new.add_argument("name", metavar="NAME", help="small letters, digits and underscores; its package is autotl-NAME")
    new.add_argument("--out", default=".", metavar="FOLDER", help="where to put the folder NAME (default: here)")


def run(options: argparse.Namespace) -> int:
    import re

    from autotl.errors import PluginError
    from autotl.plugins.manager import plugins

    name, folder = options.name, Path(options.out).expanduser() / options.name
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise PluginError(
            f"{name!r} cannot be a plugin's name: write small letters, digits and underscores, as in demo_2"
        )
    if name in {record.name for record in plugins().records}:
        raise PluginError(f"a plugin named {name!r} is installed already (see 'autotl plugins'): choose another name")
    if folder.exists():
        raise PluginError(f"{folder} exists already, and nothing is written over: choose another name or --out FOLDER")
    try:
        _write(name, folder)
    except OSError as error:
        raise PluginError(f"{folder} cannot be written: {error.strerror}") from error
    print(f"{folder} is a plugin with a family of text backbones; README.md says where yours go in.")
    print(f"\nNext:\n  pip install --editable {folder}\n  pytest {folder}\n  autotl plugins")
    return 0


def _write(name: str, folder: Path) -> None:
    for source in sorted(_TEMPLATE.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            target = folder / str(source.relative_to(_TEMPLATE)).replace(_PLACEHOLDER, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8").replace(_PLACEHOLDER, name)
            target.write_text(text, encoding="utf-8")
