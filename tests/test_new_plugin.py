"""``autotl plugin new``: what it writes works at once, and it writes over nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from installing import install

from autotl.cli.main import main


def test_a_new_plugin_is_a_package_with_its_name_everywhere(tmp_path, capsys):
    assert main(["plugin", "new", "demo", "--out", str(tmp_path)]) == 0
    assert f"pip install --editable {tmp_path / 'demo'}" in capsys.readouterr().out
    files = {str(path.relative_to(tmp_path / "demo")) for path in (tmp_path / "demo").rglob("*") if path.is_file()}
    assert files == {
        "pyproject.toml", "README.md", "tests/test_demo.py",
        "autotl_demo/__init__.py", "autotl_demo/family.py", "autotl_demo/network.py",
    }  # fmt: skip
    assert not [file for file in files if "NAME" in (tmp_path / "demo" / file).read_text(encoding="utf-8")]
    project = (tmp_path / "demo" / "pyproject.toml").read_text(encoding="utf-8")
    assert 'demo = "autotl_demo"' in project
    assert '[project.entry-points."autotl.plugins.v1"]' in project


@pytest.mark.slow
def test_a_new_plugin_passes_its_own_tests_and_is_searched(command_line, table, tmp_path):
    assert main(["plugin", "new", "demo", "--out", str(tmp_path)]) == 0
    site = tmp_path / "site"
    install(site, tmp_path / "demo")

    environment = os.environ | {"PYTHONPATH": str(site)}
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "demo")]
    answer = subprocess.run(tests, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout

    listed = json.loads(command_line("plugins", "--json", also=[site]).stdout)
    (found,) = [one for one in listed if one["name"] == "demo"]
    assert (found["package"], found["state"], found["adds"]) == ("autotl-demo", "on", ["family demo (text)"])

    options = ["--data", table, "--offline", "--trials", 1, "--out", "run", "--quiet"]
    answer = command_line("search", *options, cwd=tmp_path, also=[site])
    assert answer.returncode == 0, answer.stderr
    assert "demo/random-64" in (tmp_path / "run" / "leaderboard.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["Demo", "2demo", "my-plugin", "a.b", "../up", "demo_", "", "naïve", "a b"])
def test_a_name_that_cannot_be_a_package_is_refused(tmp_path, capsys, name):
    assert main(["plugin", "new", name, "--out", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"autotl: {name!r} cannot be a plugin's name")
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_taken_is_refused(tmp_path, capsys):
    assert main(["plugin", "new", "screeners", "--out", str(tmp_path)]) == 2
    assert "a plugin named 'screeners' is installed already" in capsys.readouterr().err


def test_a_folder_that_exists_is_left_alone(tmp_path, capsys):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("precious")
    assert main(["plugin", "new", "demo", "--out", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["plugin", "new", "demo", "--out", str(tmp_path / "file")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("autotl: ")
    assert told.count("\n") == 1


def test_what_to_do_is_asked_for(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["plugin"])
    assert ended.value.code == 2
    assert "ACTION" in capsys.readouterr().err
