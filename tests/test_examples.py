"""The examples: each can be followed by its README, and the notebook runs from top to bottom."""

from __future__ import annotations

import json
import shutil

import pytest
from pages import ROOT, Reader, blocks, commands, pages, quick_python
from short_trainings import train_briefly, write_site

PAGES = [page for page in pages() if page.parts[0] == "examples" and blocks(page)]

NOTEBOOK = ROOT / "examples" / "images" / "shapes.ipynb"

SEARCH = "autotl search --data train.csv --test test.csv --budget 2m"

#: Made by following the examples, where somebody did.
MADE = shutil.ignore_patterns(
    "runs", "__pycache__", "*.png", "*.tar", "zoo", "few.csv", "unequal.csv", "docstrings-onnx"
)

#: Fewer rows than a person would look at.
SMALLER = {
    "images/make_images.py": ("EACH, SIDE = 60", "EACH, SIDE = 12"),
    "dials/make_images.py": ("TRAIN, TEST, SIDE = 600, 200", "TRAIN, TEST, SIDE = 60, 20"),
    "topics/make_table.py": ("MOST = 150", "MOST = 20"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory, zoo):
    """A text encoder under a name that the examples use, and a network for images whose weights nobody trained."""
    timm = pytest.importorskip("timm")
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(zoo / "one", folder / "all-MiniLM-L6-v2")
    shape = {"embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": 32, "num_classes": 0}
    network = timm.create_model("vit_tiny_patch16_224", pretrained_cfg_overlay={"input_size": (3, 32, 32)}, **shape)
    timm.models.save_for_hf(network, str(folder / "tiny-vit"), safe_serialization=True, model_args=shape)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """By which trainings are brief."""
    return write_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def copied(tmp_path_factory, command_line, models, site):
    """The examples, with a run of the first, which another goes on with."""
    folder = tmp_path_factory.mktemp("copied") / "examples"
    shutil.copytree(ROOT / "examples", folder, ignore=MADE)
    for name, (many, few) in SMALLER.items():
        text = (folder / name).read_text(encoding="utf-8")
        assert many in text
        (folder / name).write_text(text.replace(many, few), encoding="utf-8")
    options = ("search", "--data", "train.csv", "--test", "test.csv", "--trials", 1, "--quiet")
    answer = command_line(*options, cwd=folder / "docstrings", also=[site], environment={"AUTOTL_ZOO": str(models)})
    assert answer.returncode == 0, answer.stderr
    return folder


@pytest.fixture
def place(copied, models, site, here, monkeypatch):
    """Goes to the folder of an example."""
    train_briefly(monkeypatch, site)

    def go(example):
        monkeypatch.setenv("AUTOTL_ZOO", str(models))
        monkeypatch.chdir(copied.parent / example)
        monkeypatch.syspath_prepend(str(copied.parent / example))
        return copied.parent / example

    return go


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_an_example_can_be_followed(page, place, command_line):
    reader = Reader(place(page.parent), command_line.start)
    if page.parent.name == "docstrings":
        reader.done.add(SEARCH)
    reader.follow_page(page)


def test_the_run_that_is_shared_is_the_pages():
    (page,) = (page for page in PAGES if page.parent.name == "docstrings")
    assert [command for block in blocks(page) for command in commands(block)] == [SEARCH]


@pytest.mark.slow
def test_the_notebook_runs(place):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    place("examples/images")
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile(quick_python("".join(cell["source"])), cell["id"], "exec"), names)
    assert len(names["run"].predict(names["paths"])) == 3


def test_the_notebook_is_kept_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 4
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
