"""The README says what is true: its commands parse, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from autotl.cli.main import build_parser
from autotl.plugins.manager import plugins

ROOT = Path(__file__).parents[1]
PAGES = sorted(path for path in ROOT.rglob("*.md") if not {".venv", "runs", "dist"} & set(path.relative_to(ROOT).parts))
COMMANDS = [
    (page.relative_to(ROOT).as_posix(), line.split("#")[0].strip())
    for page in PAGES
    for block in re.findall(r"```\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.startswith("autotl ")
]


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_every_command_in_the_pages_is_one(page, command):
    build_parser(plugins().commands).parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_two_commands_are_chores():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "python3 tasks.py demo\npython3 tasks.py test" in readme
