"""``autotl``: reads the command, runs it, and turns errors that people can mend into one line and exit code 2."""

from __future__ import annotations

from autotl.cli.started import PROCESS_START  # isort: skip  # noqa: F401  first of all: it is the time now

import argparse
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

import autotl
from autotl.cli import (
    cache,
    compare,
    completion,
    doctor,
    evaluate,
    export,
    inspect,
    models,
    plan,
    plugin,
    plugins,
    portfolio,
    predict,
    report,
    resume,
    search,
    serve,
    show,
    watch,
)
from autotl.cli.actions import CommandParser
from autotl.errors import AutoTLError
from autotl.escaping import for_terminal
from autotl.failures import is_out_of_memory
from autotl.files import is_disk_full
from autotl.usage import keep_freed_memory, threads_of_container

if TYPE_CHECKING:
    from autotl.plugins.contracts import Command

_COMMANDS = (
    search, resume, watch, report, show, compare, predict, evaluate, export, serve, inspect, models, plan, portfolio,
    plugins, plugin, cache, doctor, completion,
)  # fmt: skip


#: What is wrong with a path that nobody has to look for in our code: it is locked, or no path at all.
_UNUSABLE = {errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}


def build_parser(foreign: Sequence[Command] = ()) -> argparse.ArgumentParser:
    """The whole command line, with the commands of plugins."""
    parser = argparse.ArgumentParser(
        prog="autotl",
        description="A table of images or texts in, the best fine-tuned model that your time can buy out.",
        epilog="Start with: autotl search --data data.csv --budget 5m",
    )
    parser.add_argument("--version", action="version", version=f"autotl {autotl.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=CommandParser)
    for module in _COMMANDS:
        command = commands.add_parser(_name(module), help=module.HELP, description=module.HELP)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    for added in foreign:
        command = commands.add_parser(added.name, help=added.help, description=added.help)
        added.add_arguments(command)
        command.set_defaults(run=added.run)
    return parser


def _foreign(arguments: Sequence[str]) -> Sequence[Command]:
    """Commands of plugins, which are looked for where the first word is none of ours."""
    if arguments and arguments[0] in {"--version", *map(_name, _COMMANDS)}:
        return ()
    from autotl.plugins.manager import plugins as installed

    return installed().commands


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


class _Plain(logging.Formatter):
    """Log lines name folders and what is in them: characters that the terminal would obey are spelled out."""

    def format(self, record: logging.LogRecord) -> str:
        return for_terminal(super().format(record))


def _log_plainly() -> None:
    """Warnings go to standard error, unless whoever runs this process has said where."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("autotl: %(message)s"))
    logging.basicConfig(handlers=[handler])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 2 input that cannot be used, 130 interrupted."""
    _write_every_character()
    _log_plainly()
    keep_freed_memory()
    for name, value in threads_of_container().items():
        os.environ.setdefault(name, value)  # before torch is loaded
    try:
        words = sys.argv[1:] if arguments is None else arguments
        options = build_parser(_foreign(words)).parse_args(words)
        code: int = options.run(options)
        with suppress(BrokenPipeError):
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
        _silence_output()
        return code
    except AutoTLError as error:
        print(f"autotl: {for_terminal(' '.join(str(error).splitlines()))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        _silence_output()  # `autotl models | head` is no error
        return 0
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # so rich ends; it has silenced the output
            return 0
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _UNUSABLE and error.filename is not None:
            told = f"autotl: {error.filename} cannot be used ({error.strerror})"
            print(for_terminal(told), file=sys.stderr)
            return 2
        if is_out_of_memory(error):
            print("autotl: memory ran out; close other programs, or give fewer rows at a time", file=sys.stderr)
            return 2
        if not is_disk_full(error):
            raise
        what = getattr(error, "filename", None) or "what was to be written"
        told = f"autotl: {what} finds no room ({getattr(error, 'strerror', None) or error})"
        print(for_terminal(told), file=sys.stderr)
        _silence_output()
        return 2
    except KeyboardInterrupt:
        print("autotl: interrupted", file=sys.stderr)
        return 130


def _silence_output() -> None:
    """What still waits to be printed would fail again at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_every_character() -> None:
    """Files and pipes get UTF-8, which is what tables and JSON are read in; a terminal that shows less gets escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        if sys.stdout.isatty():
            sys.stdout.reconfigure(errors="backslashreplace")
        else:
            sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
