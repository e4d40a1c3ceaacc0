"""A search with limits: a backbone that breaks them is trained to teach one that keeps them, by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ZOO = Path(__file__).parents[3] / "tests" / "thirdparty" / "zoo"

#: The tiny family twice: once said to be large and strong, once small and with a single feature.
SIZES = """
import dataclasses
from pathlib import Path
import autotl
from autotl.plugins.contracts import ZooContext

@autotl.hookimpl
def autotl_model_families(context):
    from autotl_tiny.family import TinyFamily

    class Large(TinyFamily):
        name, said = "large", dict(parameters=10**6, prior=0.9)

        def candidates(self, context):
            (one,) = super().candidates(ZooContext((Path({folder!r}),)))
            return [dataclasses.replace(one, family=self.name, **self.said)]

    class Poor(Large):
        name, said = "poor", dict(prior=0.4)

        def load(self, candidate, **how):
            return one_feature(super().load(candidate, **how))

        def restore(self, folder):
            backbone, encoder = super().restore(folder)
            return one_feature(backbone), encoder

    def one_feature(backbone):
        pool = backbone.pool
        backbone.pool = lambda state: pool(state) * (pool(state).new_ones(32).cumsum(0) == 1)
        return backbone

    return [Large(), Poor()]
"""


def events(run, kind):
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


@pytest.mark.slow
def test_what_breaks_the_limits_teaches_what_keeps_them(environment, table, tmp_path):
    information = tmp_path / "site" / "autotl_sizes-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: autotl-sizes\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[autotl.plugins.v1]\nsizes = autotl_sizes\n")
    (tmp_path / "site" / "autotl_sizes.py").write_text(SIZES.format(folder=str(ZOO / "two")))
    run, nothing = tmp_path / "run", tmp_path / "nothing"
    nothing.mkdir()
    command = ["search", "--data", table, "--models", nothing, "--backbones", "poor/two", "--max-params", "100k"]
    command += ["--trials", 3, "--out", run]
    answer = subprocess.run(
        [sys.executable, "-m", "autotl.cli.main", *map(str, command)],
        env=environment | {"PYTHONPATH": f"{environment['PYTHONPATH']}:{tmp_path / 'site'}"},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    notes = [note["text"] for note in events(run, "note")]
    assert "large/two, which breaks the limits, is trained to teach one that keeps them" in notes
    teacher = json.loads((run / "teacher" / "bundle.json").read_text(encoding="utf-8"))
    assert "large/two" in {member["backbone"] for member in teacher["members"]}
    assert events(run, "trial_started")[-1]["strategy"] == "distill"
    best = json.loads((run / "best" / "bundle.json").read_text(encoding="utf-8"))
    assert "large/two" not in {member["backbone"] for member in best["members"]}
    assert not (run / "paused").exists() or not list((run / "paused").glob("*-1000*"))
