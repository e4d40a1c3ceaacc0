"""The floors of `docs/architecture.md`: what stands on one imports only from those below."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from pages import ROOT

import autotl

CORE = Path(autotl.__file__).parent
LINE = re.compile(r"^\| (\d+) \| (`[^|]+) \|", re.MULTILINE)

#: The floor of each path, a folder or a file, and the room that it is or is a part of: a line of the page.
ROOMS = {
    path.strip("/"): (int(floor), room)
    for floor, room in LINE.findall((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    for path in re.findall(r"`([^`]+)`", room)
}


def room_of(file: str) -> tuple[int, str] | None:
    """The innermost room that a module's file belongs to; None where the page has none."""
    return next((ROOMS[path] for path in (file, *map(str, Path(file).parents)) if path in ROOMS), None)


def file_of(module: str) -> str:
    path = module.removeprefix("autotl.").replace(".", "/")
    return f"{path}.py" if (CORE / f"{path}.py").is_file() else f"{path}/__init__.py"


def imported(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Modules of ours that code imports, with the line; not what it imports for type checkers."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                continue
            case ast.ImportFrom(module=str(module)) if module.startswith("autotl."):
                for alias in child.names:
                    inner = f"{module}.{alias.name}"
                    yield child.lineno, inner if (CORE / file_of(inner)).is_file() else module
            case ast.Import():
                yield from ((child.lineno, alias.name) for alias in child.names if alias.name.startswith("autotl."))
        yield from imported(child)


def test_every_module_has_a_room_and_every_room_is_there():
    rooms = {path: room_of(path.relative_to(CORE).as_posix()) for path in CORE.rglob("*.py")}
    assert not [path for path, room in rooms.items() if room is None]
    assert set(rooms.values()) == set(ROOMS.values())
    assert not [path for path in ROOMS if not (CORE / path).exists()]


def test_imports_go_down():
    wrong = []
    for path in sorted(CORE.rglob("*.py")):
        name = path.relative_to(CORE).as_posix()
        floor, room = room_of(name)
        for line, module in imported(ast.parse(path.read_text(encoding="utf-8"))):
            below, other = room_of(file_of(module))
            if room != other and floor <= below:
                wrong.append(f"{name}:{line}, on floor {floor}, imports {module} of floor {below}")
    assert not wrong, "\n".join(wrong)


def test_the_core_names_no_plugin():
    names = {path.parent.name for path in (ROOT / "plugins").glob("*/pyproject.toml")}
    assert names
    names |= {name.replace("-", "_") for name in names} | {name.removeprefix("autotl-") for name in names}
    found = []
    for path in sorted(CORE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Constant(str(text)) if text in names:
                    found.append(f"{path.relative_to(CORE)}:{node.lineno} says {text!r}")
                case ast.Import() | ast.ImportFrom():
                    modules = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                    if names.intersection(module.split(".")[0] for module in modules):
                        found.append(f"{path.relative_to(CORE)}:{node.lineno} imports one")
    assert not found, "\n".join(found)
