"""The code blocks of the pages, and how one is run as a reader would, in seconds instead of minutes.

A block is ``sh``, ``python``, or no code (``text``). One that cannot be run has the reason right above it::

    <!-- not run: needs a network -->
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from autotl.cli.main import main

ROOT = Path(__file__).parents[2]

_LEFT_OUT = {"build", "dist", "runs"}

_FENCE = re.compile(r"(?:<!-- not run: (?P<reason>.+?) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
_SNIPPET = re.compile(r"^--8<--\n(.+)\n--8<--\n", re.M)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    code: str
    reason: str  #: why it is not run, or nothing

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """All Markdown of the repository, but for what is hidden or made."""
    tops = [top for top in ROOT.iterdir() if not top.name.startswith(".")]  # .venv is large
    found = [page for top in tops for page in ([top] if top.suffix == ".md" else top.rglob("*.md"))]
    inside = sorted(page.relative_to(ROOT) for page in found)
    return [page for page in inside if not any(part in _LEFT_OUT or part.startswith(".") for part in page.parts)]


def blocks(page: Path) -> list[Block]:
    """Those of a page, with what they include in its place."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page.as_posix(),
            text.count("\n", 0, match.start("code")),
            match["language"],
            _SNIPPET.sub(lambda found: (ROOT / found[1]).read_text(encoding="utf-8"), match["code"]),
            match["reason"] or "",
        )
        for match in _FENCE.finditer(text)
    ]


def commands(block: Block) -> Iterator[str]:
    """The commands of a block for a shell, without their comments."""
    for line in re.sub(r"\\\n\s*", "", block.code).splitlines():
        if command := re.sub(r"(^|\s)#.*", "", line).strip():
            yield command


class Reader:
    """Follows pages in a folder of its own, where nothing has to be done twice.

    `done`: commands that need not be run any more, since their results are in the folder. What cannot be done in a test
    is checked instead: that packages and extras to install, and chores, are there. Budgets become one trial.
    """

    def __init__(self, folder: Path, start: Callable[..., subprocess.Popen[str]]) -> None:
        self.folder = folder
        self.done: set[str] = set()
        self._start = start
        self._names: dict[str, Any] = {}  #: that a page's Python has made so far
        self._serving: list[subprocess.Popen[str]] = []
        self._addresses: dict[str, str] = {}

    def follow_page(self, page: Path) -> None:
        """All blocks of a page that are code and can be run; services that it began are ended."""
        self._names = {"__name__": "__main__"}
        try:
            for block in blocks(page):
                if block.language != "text" and not block.reason:
                    self.follow(block)
        finally:
            self.close()

    def follow(self, block: Block) -> None:
        """Fails where a reader would meet an error."""
        if block.language == "python":
            exec(compile(quick_python(block.code), str(block), "exec"), self._names)
            return
        for command in commands(block):
            if command not in self.done:
                self._run(command)
                self.done.add(command)

    def close(self) -> None:
        """Ends services, as Ctrl-C does."""
        for process in self._serving:
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        self._serving, self._addresses = [], {}

    def _run(self, command: str) -> None:
        words = shlex.split(command)
        if words[:2] == ["autotl", "serve"]:
            self._serve(words[1:])
        elif words[0] == "autotl":
            _begin_anew()
            assert main(quick(words[1:])) == 0, command
        elif words[:2] == ["pip", "install"]:
            check_installable(words[-1])
        elif words[:2] == ["python3", "tasks.py"]:
            assert f"\ndef {words[2]}()" in (ROOT / "tasks.py").read_text(encoding="utf-8"), command
        else:
            for written, real in self._addresses.items():
                command = command.replace(written, real)
            self._run_in_shell(command)

    def _run_in_shell(self, command: str) -> None:
        python = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command)
        answer = subprocess.run(["bash", "-c", python], cwd=self.folder, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, f"{command}\n{answer.stderr}"

    def _serve(self, words: list[str]) -> None:
        """Until `close`; asks it for its health."""
        port = words[words.index("--port") + 1] if "--port" in words else "8000"
        process = self._start(*words, "--port", 0, cwd=self.folder)
        self._serving.append(process)
        assert process.stderr is not None
        told = next((line for line in process.stderr if "explains how it is asked" in line), "")
        address = told.split()[0] if told else ""
        self._addresses[f"http://127.0.0.1:{port}"] = address.rstrip("/")
        connection = HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=30)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200


def quick(words: list[str]) -> list[str]:
    """The same command with one trial in place of a budget, said or not."""
    if "--budget" in words:
        place = words.index("--budget")
        words = words[:place] + words[place + 2 :]
    elif words[0] not in {"search", "distill"}:
        return words
    return [*words, "--trials", "+1" if words[0] == "resume" else "1"]


def quick_python(code: str) -> str:
    """The same for ``budget="…"``."""
    return re.sub(r'\bbudget="\w+"', "trials=1", code)


def check_installable(requirement: str) -> None:
    """Whether a package is ours, with these extras."""
    match = re.fullmatch(r"([\w-]+)(?:\[([\w,-]+)\])?", requirement)
    assert match is not None, requirement
    name, extras = match[1], set(filter(None, (match[2] or "").split(",")))
    folder = ROOT if name == "autotl" else ROOT / "plugins" / name
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert extras <= project.get("optional-dependencies", {}).keys(), requirement


def _begin_anew() -> None:
    """A reader starts a process for each command, whose clock starts with it; here one process follows all."""
    for name, module in list(sys.modules.items()):
        if name.startswith("autotl.cli.") and hasattr(module, "PROCESS_START"):
            module.PROCESS_START = time.monotonic()
