"""``autotl completion``: read by a real shell, which then completes what people type."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from autotl.cli.main import main

#: Asks for what bash would offer behind the words after the first line, as it does when the tab key is pressed.
ASK = """
source ./autotl.sh
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$(complete -p autotl | sed 's/.*-F \\([^ ]*\\) .*/\\1/') autotl "${COMP_WORDS[COMP_CWORD]}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def press_tab(tmp_path, capsys):
    """What bash offers behind ``autotl`` and some words, in a folder with a table, models and two runs."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    assert main(["completion", "bash"]) == 0
    (tmp_path / "autotl.sh").write_text(capsys.readouterr().out, encoding="utf-8")
    (tmp_path / "flowers.csv").touch()
    (tmp_path / "models").mkdir()
    for name in ("flowers", "flowers-2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "events.jsonl").touch()

    def press(*words):
        answer = subprocess.run(
            ["bash", "--norc", "-c", ASK, "bash", "autotl", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stderr == ""
        return answer.stdout.split()

    return press


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["se"], ["search", "serve"]),
        (["search", "--bud"], ["--budget"]),
        (["search", "--data", "fl"], ["flowers.csv"]),
        (["search", "--models", "mo"], ["models"]),
        (["search", "--models", "fl"], []),
        (["predict", ""], ["models", "runs", "runs/flowers", "runs/flowers-2"]),
        (["show", "runs/fl"], ["runs/flowers", "runs/flowers-2"]),
        (["compare", "runs/flowers", "runs/flowers-"], ["runs/flowers-2"]),
        (["search", "--teacher", "runs/flowers-"], ["runs/flowers-2"]),
        (["models", "pa"], ["pack"]),
        (["completion", "z"], ["zsh"]),
    ],
)
def test_bash_offers_commands_options_files_and_runs(press_tab, words, offered):
    assert [word.rstrip("/") for word in press_tab(*words)] == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_a_shell_takes_its_script(tmp_path, capsys, shell):
    assert main(["completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out, encoding="utf-8")
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_another_shell_is_told_which_there_are(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["completion", "cmd"])
    assert ended.value.code == 2
    assert "bash" in capsys.readouterr().err
