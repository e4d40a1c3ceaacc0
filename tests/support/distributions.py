"""Distributions of one plugin module, as folders for a path."""

from __future__ import annotations

from pathlib import Path


def write_distribution(folder: Path, name: str, code: str, *, group: str = "autotl.plugins.v1") -> Path:
    """The path's entry in `folder`, with the package ``autotl-NAME 3.2``."""
    site = folder / f"site-{name}"
    information = site / f"autotl_{name}-3.2.dist-info"
    information.mkdir(parents=True)
    (site / f"autotl_{name}.py").write_text(code, encoding="utf-8")
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: autotl-{name}\nVersion: 3.2\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{name} = autotl_{name}\n")
    return site
