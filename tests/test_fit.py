"""`autotl.fit`: a search from a program, on frames and files."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import optuna
import pandas as pd
import pytest
from run_folders import events

import autotl
from autotl.cli.main import main
from autotl.errors import AutoTLError

THIRD_PARTY = Path(__file__).parent / "thirdparty"


def test_fit_returns_a_model_from_a_frame(frame, zoo, here, tmp_path):
    found = autotl.fit(frame, target="label", trials=1, models=zoo, out=tmp_path / "fitted", quiet=True)
    assert list(found.predict_proba(frame.head(7)).shape) == [7, 3]
    assert (found.predict(frame) == frame["label"]).mean() > 0.6
    board = found.leaderboard()
    assert {"head", "0"} <= set(board["trial"])
    assert board["best"].sum() >= 1
    assert (autotl.load(tmp_path / "fitted").predict(frame) == found.predict(frame)).all()
    with pytest.raises(AutoTLError, match="exists already"):
        autotl.fit(frame, target="label", trials=1, models=zoo, out=tmp_path / "fitted", quiet=True)


def test_a_fitted_model_is_loaded_at_its_first_use_and_not_in_the_time_of_the_search(
    command_line, table, zoo, tmp_path
):
    """In a process of its own: this one has long loaded torch."""
    program = f"""
import shutil, sys
import autotl
run = autotl.fit({str(table)!r}, models={str(zoo)!r}, trials=1, out="run", quiet=True)
assert "torch" not in sys.modules
assert run.classes_.tolist() == ["animal", "plant", "stone"]
assert len(run.leaderboard()) and "accuracy" in repr(run)
assert "torch" not in sys.modules
assert (run.predict({str(table)!r}) == autotl.load("run").predict({str(table)!r})).all()
late = autotl.Run(shutil.copytree("run", "copy"))
shutil.rmtree("copy")
try:
    late.predict({str(table)!r})
except autotl.AutoTLError as error:
    assert "copy" in str(error) and "cannot be loaded" in str(error)
else:
    raise AssertionError("a model whose folder is gone answers")
"""
    path = [str(THIRD_PARTY / "tiny"), *filter(None, [command_line.environment.get("PYTHONPATH")])]
    environment = command_line.environment | {"PYTHONPATH": os.pathsep.join(path)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, timeout=120)


def test_fit_tests_on_a_frame_as_on_its_file(frame, table, new_table, zoo, here, tmp_path, capsys):
    new = pd.read_csv(new_table)
    new.loc[0, "text"], new.loc[1, "label"] = None, None
    new.to_csv("new.csv", index=False)
    asked = {"models": zoo / "one", "trials": 1, "quiet": True}
    runs = [
        autotl.fit(data, test=test, out=out, **asked)
        for data, test, out in ((table, "new.csv", "files"), (table, new, "mixed"), (frame, new, "frames"))
    ]
    (expected,) = events(Path("files"), "tested")
    assert (expected["rows"], expected["score"]) == (58, runs[0].score(new))
    for run in ("mixed", "frames"):
        (found,) = events(Path(run), "tested")
        assert found == expected
    assert main(["resume", "frames", "--trials", "+1"]) == main(["resume", "mixed", "--trials", "+1"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert "frames was made from a DataFrame, which is gone" in told[0]
    assert told[1].endswith("mixed was tested on a DataFrame, which is gone; save it: autotl resume mixed --test PATH")
    assert main(["report", "mixed"]) == 0
    assert "The table to test on was a DataFrame" in Path("mixed/report.html").read_text(encoding="utf-8")
    assert main(["resume", "mixed", "--trials", "+1", "--test", "new.csv", "--quiet"]) == 0


def test_faults_of_a_frame_to_test_on_name_it(frame, zoo, here, tmp_path):
    asked = {"models": zoo, "trials": 1, "out": tmp_path / "run", "quiet": True}
    with pytest.raises(AutoTLError, match=r"^the test DataFrame has no column 'text'"):
        autotl.fit(frame, target="label", test=frame[["label"]], **asked)
    with pytest.raises(AutoTLError, match=r"^the test DataFrame: row 1: 'label' is 'animals'"):
        autotl.fit(frame, target="label", test=frame.assign(label="animals"), **asked)
    with pytest.raises(AutoTLError, match="a path or a pandas DataFrame, not a list"):
        autotl.fit(frame, target="label", test=[("a", "b")], **asked)
    assert not (tmp_path / "run").exists()


def test_fit_says_nothing_when_quiet_and_leaves_logging_and_warnings_as_they_were(frame, zoo, here, tmp_path, capfd):
    """The process is somebody's program, which may use Optuna and the logging of Python in its own way."""

    def ways():
        return logging.root.level, list(logging.root.handlers), optuna.logging.get_verbosity(), list(warnings.filters)

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    before = ways()
    autotl.fit(frame, target="label", trials=1, models=zoo, out=tmp_path / "fitted", quiet=True)
    assert ways() == before
    optuna.logging.set_verbosity(verbosity)
    assert capfd.readouterr() == ("", "")
