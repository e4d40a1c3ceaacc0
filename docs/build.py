"""Builds the site of these pages into ``build/site``; ``python3 tasks.py docs`` installs what it takes and calls this.

Pages are staged in the places that they have in the repository, so that a link between two of them leads somewhere in
both. Two of them are made on the way: the reference of commands of the parsers, those of installed plugins too, and the
reference of names of the docstrings.
"""

from __future__ import annotations

import argparse
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import autotl
from autotl import errors
from autotl.cli.main import build_parser
from autotl.plugins.manager import plugins
from autotl.predictor.predictor import Evaluation

ROOT = Path(__file__).resolve().parents[1]
STAGED = ROOT / "build" / "pages"

#: What is shown or linked to, under these names only: people keep tables and runs beside the examples.
SHOWN = (
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "docs/*.md", "docs/images/*.png",
    "benchmarks/*.md", "examples/**/*.md", "examples/**/*.py", "examples/**/*.ipynb", "plugins/*/README.md",
    "autotl/plugins/contracts.py", "autotl/events.py",
)  # fmt: skip

_COMMANDS = """# Commands

Every command says this of itself with `--help`. Exit codes are 0 when it is done, 2 for input that cannot be used (one
line on standard error says why and what to do) and 130 after Ctrl-C or SIGTERM.
"""

_NAMES = """# Names in Python

[From Python](python.md) shows them at work. What plugins are made of is on [a page of its own](plugins.md).
"""


def stage() -> None:
    """Copies the pages, and writes the references beside them."""
    shutil.rmtree(STAGED, ignore_errors=True)
    for path in (path for pattern in SHOWN for path in ROOT.glob(pattern)):
        target = STAGED / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    (STAGED / "docs" / "commands.md").write_text(commands(), encoding="utf-8")
    (STAGED / "docs" / "api.md").write_text(names(), encoding="utf-8")


def names() -> str:
    """What a program calls, as Markdown: functions, classes with their methods, exceptions."""
    lines = [_NAMES]
    for function in (autotl.fit, autotl.load, autotl.export):
        lines += _documented(f"## autotl.{function.__name__}", function)
    for kind in (autotl.Predictor, autotl.Run, Evaluation):
        lines += _documented(f"## {kind.__name__}", kind)
        for name, member in vars(kind).items():
            if not name.startswith("_") and inspect.getdoc(member) and not isinstance(member, str | int | float):
                lines += _documented(f"### {kind.__name__}.{name}", member)
    lines += ["## Exceptions", "", "| | |", "|---|---|"]
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, autotl.AutoTLError):
            lines.append(f"| `{kind.__name__}` | {_escaped(inspect.getdoc(kind) or '')} |")
    return "\n".join([*lines, ""])


def _documented(heading: str, what: object) -> Iterator[str]:
    """A heading, how it is called, an argument a line where there are many, and what its docstring says."""
    told = inspect.getdoc(what) or ""
    yield from (heading, "")
    if callable(what):
        name, parameters = heading.split()[-1], dict(inspect.signature(what).parameters)
        parameters.pop("self", None)
        arguments = list(map(str, parameters.values()))
        by_name = [parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values()]
        if any(by_name):
            arguments.insert(by_name.index(True), "*")
        called = f"{name}({', '.join(arguments)})"
        if len(called) > 100:
            called = "\n    ".join([f"{name}(", *(f"{argument}," for argument in arguments)]) + "\n)"
        yield from ("```text", called.replace("'", ""), "```", "")
        if parameters:  # what is said of each becomes an item of a list
            told = re.sub(rf"(?:\n|(?<=[.;]) )({'|'.join(parameters)}): ", r"\n- **\1**: ", told)
    yield from (told, "")


def commands() -> str:
    """Every command with every option, as Markdown."""
    manager = plugins()
    foreign = {command.name: manager.origin(command.name, "command").split()[0] for command in manager.commands}
    lines = [_COMMANDS]
    for name, help_, parser in _inner(build_parser(manager.commands)):
        lines += [f"## {parser.prog}", "", _sentence(help_), ""]
        if name in foreign:
            lines += [f"From the plugin {foreign[name]}.", ""]
        lines += [*_usage_and_options(parser)]
        for _, inner_help, inner in _inner(parser):
            lines += [f"### autotl {name} {inner.prog.split()[-1]}", "", _sentence(inner_help), ""]
            lines += [*_usage_and_options(inner)]
    return "\n".join(lines)


def _inner(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Name, help and parser of each command inside. argparse has no public way to ask for them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                yield name, helps[name], inner


def _usage_and_options(parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        and action.help != argparse.SUPPRESS
    ]
    needed = [_called(action) for action in shown if action.required]
    inner = ["ACTION …"] if any(isinstance(action, argparse._SubParsersAction) for action in parser._actions) else []
    yield from ("```text", " ".join([parser.prog, *needed, *inner]), "```", "")
    if shown:
        yield from ("| option | what it says |", "|---|---|")
    for action in shown:
        told = (action.help or "") % {**vars(action), "prog": parser.prog}
        yield f"| `{_called(action)}` | {_escaped(told)}{' (needed)' if action.required else ''} |"
    yield ""


def _called(action: argparse.Action) -> str:
    """As it is written on the command line: ``-o, --out FILE``."""
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    many = " …" if action.nargs in ("+", "*") else ""
    return f"{', '.join(action.option_strings)} {value}{many}".strip()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")


if __name__ == "__main__":
    stage()
    sys.exit(subprocess.call([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT))
