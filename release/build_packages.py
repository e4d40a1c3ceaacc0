"""Builds every package and looks into it: ``python release/build_packages.py FOLDER``, with hatchling and no network.

A source archive first, then the wheel out of that archive, so that both hold what they need. Files beside Python's (a
style sheet, a template, ``py.typed``) are easily forgotten, and tests easily taken along.
"""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]


def build(folder: Path) -> list[Path]:
    """Source archives and wheels of all packages, in `folder`, which holds no others."""

    def hatchling(target: str, package: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder.resolve()]
        subprocess.run(command, cwd=package, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    for package in PACKAGES:
        hatchling("sdist", package)
    archives = sorted(folder.glob("*.tar.gz"))
    for archive in archives:
        with tempfile.TemporaryDirectory() as place, tarfile.open(archive) as opened:
            if hasattr(tarfile, "data_filter"):  # from 3.11.4 on
                opened.extraction_filter = tarfile.data_filter
            opened.extractall(place)
            hatchling("wheel", Path(place) / archive.name.removesuffix(".tar.gz"))
    return [*archives, *sorted(folder.glob("*.whl"))]


def faults(built: list[Path]) -> list[str]:
    """What is wrong with the archives and wheels of `build`, a sentence each."""
    found, wheels = [], {}
    for package in PACKAGES:
        module = "autotl" if package == ROOT else package.name.replace("-", "_")
        named = re.compile(rf"{module}-\d[^-]*(-py3-none-any\.whl|\.tar\.gz)")
        try:
            archive, wheel = sorted(
                (path for path in built if named.fullmatch(path.name)), key=lambda each: each.suffix
            )
        except ValueError:
            found.append(f"{module}: not one source archive and one wheel")
            continue
        wheels[module] = wheel
        source = {path.relative_to(package).as_posix() for path in files(package / module)}
        found += [f"{wheel.name}: {fault}" for fault in wheel_faults(wheel, module, source)]
        found += [f"{archive.name}: {fault}" for fault in archive_faults(archive, source)]
    return [*found, *requirement_faults(wheels)]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def wheel_faults(wheel: Path, module: str, source: set[str]) -> list[str]:
    """source: the files of the package, as they lie beside its pyproject.toml."""
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    own = {name for name in names if name.startswith(f"{module}/")}
    information = {name for name in names if re.match(rf"{module}-[^/]+\.dist-info/", name)}
    found = [f"{name} is missing" for name in sorted(source - own)]
    found += [f"{name} does not belong there" for name in sorted(names - source - information)]
    found += [] if f"{module}/py.typed" in own else ["it has no py.typed"]
    metadata = metadata_of(wheel)
    found += [] if metadata["License-Expression"] == "MIT" else ["it names no licence"]
    found += [] if metadata.get_payload() else ["it has no description"]
    return found


def archive_faults(archive: Path, source: set[str]) -> list[str]:
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    found = [f"{name} is missing" for name in sorted(({"pyproject.toml", "README.md"} | source) - names)]
    allowed = source | {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}
    strange = sorted(name for name in names - allowed if not name.startswith("tests/"))
    return [*found, *(f"{name} does not belong there" for name in strange)]


def requirement_faults(wheels: dict[str, Path]) -> list[str]:
    """Every plugin asks for this core, and the core has an extra for every plugin."""
    core = metadata_of(wheels["autotl"]) if "autotl" in wheels else None
    if core is None:
        return []
    extras = " ".join(core.get_all("Requires-Dist", []))
    major, minor = core["Version"].split(".")[:2]
    wanted = {f"autotl>={major}.{minor}", f"autotl<{major}.{int(minor) + 1}"}
    found = []
    for module, wheel in wheels.items():
        if module == "autotl":
            continue
        metadata = metadata_of(wheel)
        asked = next((line for line in metadata.get_all("Requires-Dist", []) if re.match(r"autotl[<>]", line)), "")
        bounds = {f"autotl{bound}" for bound in asked.removeprefix("autotl").split(",")}
        found += [] if bounds == wanted else [f"{wheel.name}: asks for {asked or 'no autotl'}"]
        found += [] if f"{metadata['Name']}<" in extras else [f"{wheel.name}: no extra of autotl brings it"]
    return found


def metadata_of(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(opened.read(name))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for old in [*target.glob("*.whl"), *target.glob("*.tar.gz")]:
        old.unlink()
    sys.exit("\n".join(faults(build(target))) or None)
