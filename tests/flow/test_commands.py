"""Plugins, models and refusals on the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "autotl"


def test_a_strangers_plugin_appears_with_what_it_adds(autotl):
    records = {record["name"]: record for record in json.loads(autotl("plugins", "--json").stdout)}
    assert records["tiny"]["state"] == "on"
    assert "family tiny (text)" in records["tiny"]["adds"]
    assert records["core"]["package"] == "autotl"


def test_a_plugin_that_fails_is_named_and_off(autotl):
    records = {record["name"]: record for record in json.loads(autotl("plugins", "--json").stdout)}
    assert records["broken"]["state"] == "off"
    assert "this plugin cannot be imported" in records["broken"]["reason"]


def test_a_plugin_for_another_contract_is_named_and_never_imported(autotl):
    done = autotl("plugins", "--json")
    assert done.returncode == 0  # importing it would have ended the process
    records = {record["name"]: record for record in json.loads(done.stdout)}
    assert records["tomorrow"]["state"] == "off"
    assert "v2" in records["tomorrow"]["reason"]


def test_models_of_a_strangers_family_are_listed(autotl, zoo):
    listed = json.loads(autotl("models", "--models", zoo, "--json").stdout)
    assert {item["name"] for item in listed if item["usable"]} == {"tiny-a", "tiny-b"}


def test_inspect_shows_roles_with_evidence(autotl, table):
    answer = json.loads(autotl("inspect", "--data", table, "--json").stdout)
    assert {column["name"]: column["role"] for column in answer["columns"]} == {"sentence": "text", "label": "target"}
    assert all(column["evidence"] for column in answer["columns"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "--data", "missing.csv"], "missing.csv"),
        (["search", "--data", "{table}", "--target", "labl"], "Did you mean 'label'"),
        (["search", "--data", "{table}", "--metric", "beauty"], "beauty"),
        (["search", "--data", "{table}", "--budget", "0s"], "outside"),
        (["search", "--data", "{table}", "--budget", "soon"], "not a time"),
        (["search", "--data", "{table}", "--trials", "0"], "0 trials"),
        (["search", "--data", "{table}", "--models", "nowhere"], "no such folder of models"),
        (["search", "--data", "{table}", "--models", "."], "no text backbone"),
        (["search", "--data", "{table}", "--models", "{zoo}", "--out", "{table}/run"], "cannot be written"),
        (["search", "--data", "{table}", "--models", "{zoo}", "--test", "missing.csv"], "missing.csv"),
        (["predict", "nowhere", "--data", "{table}"], "no such run"),
        (["resume", "nowhere"], "no run here"),
        (["evaluate", "{zoo}", "--data", "{table}"], "no bundle here"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(autotl, table, zoo, arguments, words):
    done = autotl(*(argument.format(table=table, zoo=zoo) for argument in arguments))
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("autotl: ")
    assert words in last
    assert "Traceback" not in done.stderr
    assert list(autotl.folder.iterdir()) == []


def rows(count, *labels):
    return "".join(f"sentence number {n} says this,{labels[n % len(labels)]}\n" for n in range(count))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"text,label\n", "no rows"),
        ("text,label\n" + rows(30, "yes"), "every row has the label"),
        ("text,label\n" + rows(30, "yes", "no") + "an odd one,rare\n", "only one row"),
        ("text,label\n" + rows(30, "") + rows(20, "yes", "no"), "have no label"),
        (b"text,label\n" + "caf\xe9 words,yes\n".encode("latin-1") * 5, "UTF-8"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused(autotl, zoo, tmp_path, content, words):
    table = tmp_path / "bad.csv"
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    done = autotl("search", "--data", table, "--models", zoo, "--trials", 1)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr.strip().splitlines()[-1]
    assert "bad.csv" in done.stderr
    assert list(autotl.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import autotl", {"torch", "optuna", "pydantic", "rich", "pandas"}),
        ("from autotl.cli.main import build_parser; build_parser()", {"torch", "optuna", "pydantic", "rich", "pandas"}),
        ("import autotl.search.engine", {"torch"}),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(statement, absent):
    code = f"{statement}\nimport sys; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert "autotl" in loaded
    assert absent & loaded == set()


def test_the_core_imports_no_family_and_names_no_plugin():
    found = [
        f"{path.relative_to(CORE)}: {line}"
        for path in CORE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"^\s*(import|from) (timm|transformers|peft|autotl_)", line)
    ]
    assert found == []
