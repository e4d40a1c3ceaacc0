"""What would be published: each package builds out of its source archive, with all of its files and no others."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="building needs hatchling, which a machine without network may not have")

import build_packages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_packages.build(tmp_path_factory.mktemp("dist"))


def test_every_package_has_all_of_its_files_and_no_others(built):
    assert build_packages.faults(built) == []
    names = {path.name.partition("-")[0] for path in built}
    assert {"autotl", "autotl_timm", "autotl_mlflow", "autotl_tensorboard"} <= names


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("autotl", "autotl/py.typed"),
        ("autotl", "autotl/report/style.css"),
        ("autotl", "autotl/cli/plugin_template/tests/test_NAME.py"),
        ("autotl_timm", "autotl_timm/py.typed"),
    ],
)
def test_a_file_that_was_forgotten_is_named(built, tmp_path, package, file):
    (wheel,) = [path for path in built if path.name.startswith(f"{package}-") and path.suffix == ".whl"]
    lacking = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(lacking, "w") as new:
        for name in old.namelist():
            if name != file:
                new.writestr(name, old.read(name))
    faults = build_packages.faults([lacking if path == wheel else path for path in built])
    assert f"{wheel.name}: {file} is missing" in faults


def test_what_was_taken_along_is_named(built, tmp_path):
    (wheel,) = [path for path in built if path.name.startswith("autotl-") and path.suffix == ".whl"]
    larger = Path(shutil.copy(wheel, tmp_path))
    with zipfile.ZipFile(larger, "a") as opened:
        opened.writestr("tests/test_it.py", "")
    faults = build_packages.faults([larger if path == wheel else path for path in built])
    assert faults == [f"{wheel.name}: tests/test_it.py does not belong there"]


def test_a_package_that_is_not_there_is_named(built):
    faults = build_packages.faults([path for path in built if not path.name.startswith("autotl_peft-")])
    assert faults == ["autotl_peft: not one source archive and one wheel"]
