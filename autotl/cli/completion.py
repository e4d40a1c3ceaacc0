"""``autotl completion``: what a shell needs to complete commands, options, files and runs.

shtab writes it, a script that the shell reads once: nothing of Python starts when somebody presses the tab key, as it
would with argcomplete.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

HELP = "print what has a shell complete commands, options, files and runs"

_SHELLS = ("bash", "zsh", "fish", "tcsh")

#: What lists folders, and runs in the place where searches put them, by shell.
_RUNS = {"bash": "_autotl_runs", "zsh": "_autotl_runs", "fish": "(_autotl_runs)", "tcsh": "d"}
_LIST_RUNS = {
    "bash": """
_autotl_runs() {
  {
    compgen -d -- "$1"
    local events
    for events in runs/*/events.jsonl; do
      [[ -e $events && $events == "$1"* ]] && printf '%s\\n' "${events%/*}"
    done
  } | sort -u
}
""",
    "zsh": """
_autotl_runs() {
  local -a runs
  runs=(runs/*/events.jsonl(N:h))
  compadd -f -a runs
  _files -/
}
""",
    "fish": """
function _autotl_runs
  for events in runs/*/events.jsonl
    string replace --regex '/[^/]*$' '' $events
  end
  __fish_complete_directories (commandline -ct)
end
""",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "shell", choices=_SHELLS, help="for bash, a line in ~/.bashrc: source <(autotl completion bash)"
    )


def run(options: argparse.Namespace) -> int:
    import shtab

    from autotl.cli.main import build_parser
    from autotl.plugins.manager import plugins

    completers: dict[str, Any] = {"PATH": shtab.FILE, "FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY}
    completers |= {"RUNS": shtab.DIRECTORY, "RUN": _RUNS}
    parser = build_parser(plugins().commands)
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar in completers:
            action.complete = completers[action.metavar]  # type: ignore[attr-defined]
    print(shtab.complete(parser, options.shell, preamble=_LIST_RUNS))  # type: ignore[arg-type]  # one for each shell
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
