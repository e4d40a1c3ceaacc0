"""The pages say what is true: every block of code in them runs, and every link leads somewhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib

import pandas as pd
import pytest
from pages import ROOT, Reader, blocks, commands, pages
from short_trainings import train_briefly, write_site

from autotl.cli.main import build_parser, main
from autotl.plugins.manager import plugins

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks(page)]

#: Followed in a folder with tables and a run: all but the examples, which have tables of their own
#: (`test_examples.py`), and what `autotl plugin new` writes (`test_new_plugin.py`).
FOLLOWED = [page for page in PAGES if page.parts[0] not in {"autotl", "examples"} and blocks(page)]

SEARCH = "autotl search --data flowers.csv --budget 5m"

#: Written when the site is built.
MADE = {"docs/commands.md", "docs/api.md"}

#: What the pages call backbones; all are the tiny family's here.
NAMES = ("all-MiniLM-L6-v2", "mobilenetv3_small_100.lamb_in1k")


@pytest.fixture(scope="module")
def reader(tmp_path_factory, command_line, zoo, frame, new_table):
    """Has the tables that the pages speak of, and has run the search that most begin with."""
    folder = tmp_path_factory.mktemp("reader")
    for name in NAMES:
        shutil.copytree(zoo / "one", folder / "models" / name)
    frame.to_csv(folder / "flowers.csv", index=False)
    labelled = pd.read_csv(new_table)
    labelled.to_csv(folder / "test.csv", index=False)
    labelled.drop(columns="label").to_csv(folder / "new.csv", index=False)
    products = pd.DataFrame({"title": frame["text"], "about": frame["text"].str.upper() + " …", "kind": frame["label"]})
    products.to_csv(folder / "products.csv", index=False)
    options = ("search", "--data", "flowers.csv", "--trials", 1, "--quiet")
    environment, brief = {"AUTOTL_ZOO": str(folder / "models")}, write_site(folder / "brief")
    answer = command_line(*options, cwd=folder, also=[brief], environment=environment)
    assert answer.returncode == 0, answer.stderr
    reader = Reader(folder, command_line.start)
    reader.done.add(SEARCH)
    return reader


@pytest.mark.slow
@pytest.mark.parametrize("page", FOLLOWED, ids=str)
def test_a_page_can_be_followed(page, reader, here, monkeypatch):
    train_briefly(monkeypatch, reader.folder / "brief")
    monkeypatch.chdir(reader.folder)
    monkeypatch.setenv("AUTOTL_ZOO", str(reader.folder / "models"))
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "plugins" / "autotl-nearest-mean"))
    reader.follow_page(page)


def test_most_blocks_are_code_that_runs():
    assert {block.language for block in BLOCKS} == {"sh", "python", "text"}
    assert len([block for block in BLOCKS if block.language != "text" and not block.reason]) >= 40
    assert len([block for block in BLOCKS if block.reason]) <= 4
    assert SEARCH in {command for block in BLOCKS for command in commands(block)}


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.reason or block.page.startswith("autotl")], ids=str
)
def test_a_command_that_is_not_run_is_one_all_the_same(block):
    for command in commands(block):
        if command.startswith("autotl "):
            build_parser(plugins().commands).parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\((?!https?:|mailto:)([^)#]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / page.parent / link).exists()] == []


def test_the_site_shows_every_page():
    site = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    shown = set(re.findall(r"[\w/-]+\.md", str(site["nav"]))) - MADE
    there = {page.as_posix() for page in PAGES}
    assert shown <= there
    assert {page for page in there if page.startswith(("docs/", "plugins/"))} <= shown


def test_the_two_commands_are_chores():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "python3 tasks.py demo\npython3 tasks.py test" in readme


def test_the_reference_of_commands_has_each_with_its_options(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import build

    text = build.commands()
    for part in ("## autotl search", "### autotl models pack", "## autotl distill", "From the plugin autotl-distill"):
        assert part in text
    for option in ("`--data PATH`", "`-o, --out FILE`", "`--target-latency TIME`", "`NAME …`", "`--json`"):
        assert option in text
    assert "%%" not in text


#: What each command of `docs/json.md` that is tried there is called with.
ASKED = {
    "inspect": ("--data", "flowers.csv"),
    "evaluate": ("runs/flowers", "--data", "test.csv"),
    "show": ("runs/flowers", "0"),
    "compare": ("runs/flowers", "runs/flowers"),
    "cache": (),
    "plugins": (),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", ASKED)
def test_json_has_the_fields_that_the_page_names(command, reader, monkeypatch, capsys):
    monkeypatch.chdir(reader.folder)
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    (said,) = re.findall(rf"^\| `autotl {command}` \| (.*?)(?:; with .*)? \|$", page, re.M)
    assert main([command, *ASKED[command], "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    fields = set(found[0] if isinstance(found, list) else found)
    if command == "evaluate":  # where each metric that fits is a field
        fields -= {"accuracy", "balanced_accuracy", "macro_f1", "neg_log_loss"}
    assert set(re.findall(r"`(\w+)`", said)) == fields


def test_the_reference_of_names_has_what_programs_call(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import build

    text = build.names()
    for part in (
        "## autotl.fit\n",
        "    budget: str | float | None = None,",
        "### Predictor.predict_proba\n",
        "`DataError`",
    ):
        assert part in text
    assert "Searches for the best fine-tuned model of a table" in text
