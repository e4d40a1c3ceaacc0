"""Without a network: nothing asks for one, and what is on the machine is enough."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from short_trainings import SITE

from autotl.cli.main import main
from autotl.plugins.contracts import Candidate, Recipe
from autotl.zoo.origin import origin_of

#: Found by every Python that is started with it on its path.
BLOCKED = """
import socket

def refuse(*arguments, **options):
    with open({log!r}, "a") as log:
        log.write(f"{{arguments}}\\n")
    raise OSError("no network here")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""

ROWS = [f"the film was {word} and the plot {word}" for word in ("good", "bad", "great", "boring") * 15]


@pytest.fixture
def autotl(tmp_path):
    """``autotl`` in processes that write down whom they would talk to, and train briefly."""
    site, log = tmp_path / "site", tmp_path / "log"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKED.format(log=str(log)) + SITE)

    def run(*arguments):
        path = os.pathsep.join((str(site), *filter(None, [os.environ.get("PYTHONPATH")])))
        environment = {k: v for k, v in os.environ.items() if k not in {"HF_HUB_OFFLINE", "AUTOTL_ZOO"}}
        environment |= {"PYTHONPATH": path, "AUTOTL_CACHE": str(tmp_path / "cache"), "HF_ENDPOINT": "http://192.0.2.1"}
        command = [sys.executable, "-m", "autotl.cli.main", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=120, check=False
        )
        return done, log.read_text() if log.exists() else ""

    return run


@pytest.fixture
def snapshot(zoo, empty_hub_cache):
    """A model in the hub's cache, as huggingface_hub leaves it."""
    folder = empty_hub_cache / "models--mine--bert" / "snapshots" / "abc123"
    shutil.copytree(zoo / "bert", folder)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def test_the_hub_is_looked_for_where_it_may_be(autotl):
    done, asked = autotl("models")
    assert done.returncode == 0, done.stderr
    assert "192.0.2.1" in asked


@pytest.mark.slow
def test_offline_search_opens_no_connection_and_records_what_it_used(autotl, snapshot, tmp_path):
    lines = [f"{text},{'good' if 'good' in text or 'great' in text else 'bad'}" for text in ROWS]
    data = tmp_path / "films.csv"
    data.write_text("\n".join(["text,label", *(f"{number} {line}" for number, line in enumerate(lines))]))
    done, asked = autotl(
        "search", "--data", data, "--trials", 1, "--offline", "--licenses", "permissive", "--quiet", "--out", "run"
    )
    assert done.returncode == 0, done.stderr
    assert asked == ""
    (origin,) = json.loads(Path(tmp_path, "run", "run.json").read_text())["origins"]
    digest = hashlib.sha256((snapshot / "model.safetensors").read_bytes()).hexdigest()
    assert origin == {
        "backbone": "transformers/mine/bert", "source": "cache", "licence": "mit", "revision": "abc123",
        "weights": {"model.safetensors": digest},
    }  # fmt: skip


def test_cached_model_is_packed_and_unpacked_with_what_is_known_of_it(snapshot, tmp_path, monkeypatch, capsys):
    blobs = snapshot.parent.parent / "blobs"
    blobs.mkdir()
    for file in list(snapshot.iterdir()):  # as the cache has them
        shutil.move(file, blobs / file.name)
        file.symlink_to(Path("..", "..", "blobs", file.name))
    shared = blobs.parent.parent / "blobs"  # of all models, to which newer releases link from there
    shared.mkdir()
    shutil.move(blobs / "model.safetensors", shared / "weights")
    (blobs / "model.safetensors").symlink_to(Path("..", "..", "blobs", "weights"))
    monkeypatch.chdir(tmp_path)
    assert main(["models", "--offline", "pack", "-o", "zoo.tar", "mine/bert"]) == 0
    assert main(["models", "unpack", "zoo.tar"]) == main(["models", "verify", "zoo"]) == 0
    (tmp_path / "zoo" / "bert" / "README.md").unlink()  # the list knows the licence too
    capsys.readouterr()
    assert main(["models", "--models", "zoo", "--licenses", "mit", "--json"]) == 0
    (found,) = [
        item for item in json.loads(capsys.readouterr().out) if item["usable"] and item["family"] == "transformers"
    ]
    assert (found["name"], found["licence"]) == ("bert", "mit")
    known = {field.name: found[field.name] for field in dataclasses.fields(Candidate) if field.name != "recipe"}
    candidate = Candidate(**known, recipe=Recipe(**found["recipe"]))
    assert origin_of(candidate).revision == "abc123"
    assert (tmp_path / "zoo" / "bert" / "model.safetensors").read_bytes() == (blobs / "model.safetensors").read_bytes()
