"""Only weights of the licences that are asked for are used, and a run says where its weights come from."""

from __future__ import annotations

import hashlib
import re

import pytest

from autotl.cli.main import main
from autotl.config import parse_licences
from autotl.errors import ZooError
from autotl.plugins.contracts import Candidate, Recipe, ZooContext
from autotl.plugins.manager import plugins
from autotl.zoo.inventory import inventory, usable_candidates
from autotl.zoo.licences import allowed
from autotl.zoo.origin import origin_of


def one(name, licence, source="folder", location=""):
    recipe = Recipe(learning_rate=1e-3)
    return Candidate(name, "shelf", "text", source, location, 1000, 8, 16, licence, 0.5, recipe)


class Family:
    name, modality, augments = "shelf", "text", False

    def candidates(self, context):
        return [one("free", "Apache-2.0"), one("held", "cc-by-nc-4.0"), one("strange", "unknown")]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("permissive", {"free"}),
        ("Permissive, CC-BY-NC-4.0", {"free", "held"}),
        ("cc-by-nc-4.0", {"held"}),
        (["apache-2.0", "unknown"], {"free", "strange"}),
        (None, {"free", "held", "strange"}),
    ],
)
def test_licences_asked_for_are_kept(text, names):
    licences = parse_licences(text)
    listings = inventory([Family()], ZooContext(), licences=licences)
    assert {item.candidate.name for item in listings if item.usable} == names
    assert {c.name for c in usable_candidates("text", [Family()], ZooContext(), licences=licences)} == names
    for item in listings:
        if not item.usable:
            assert item.reason == f"its licence is {item.candidate.licence}, which --licenses leaves out"


def test_nothing_left_says_what_there_is():
    with pytest.raises(ZooError, match=r"--licenses gpl-3.0 allows: there are Apache-2.0, cc-by-nc-4.0, unknown"):
        usable_candidates("text", [Family()], ZooContext(), licences=("gpl-3.0",))


@pytest.mark.parametrize("text", ["", " , ", []])
def test_no_name_is_refused(text):
    with pytest.raises(ZooError, match="names no licence"):
        parse_licences(text)


@pytest.mark.parametrize("licence", ["unknown", "other", "none", "", "cc-by-nc-4.0", "gpl-3.0", "openrail", "llama2"])
def test_what_is_not_known_to_be_permissive_is_not(licence):
    assert not allowed(licence, ("permissive",))


def test_origin_is_the_licence_and_the_bytes(tmp_path):
    snapshot = tmp_path / "models--mine--one" / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    found = origin_of(one("one", "mit", location=str(snapshot)))
    assert found.model_dump() == {
        "backbone": "shelf/one", "source": "folder", "licence": "mit", "revision": "abc123",
        "weights": {"model.safetensors": hashlib.sha256(b"weights").hexdigest()},
    }  # fmt: skip


def test_origin_of_a_download_is_that_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    there = one("one", "mit", source="hub", location="mine/one")
    assert origin_of(there).weights == {}
    snapshot = tmp_path / "models--mine--one" / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    assert origin_of(there).revision == "abc123"
    assert origin_of(there).weights.keys() == {"model.safetensors"}


@pytest.mark.parametrize("width", [80, 120])
def test_all_that_is_listed_of_a_backbone_is_there_on_any_screen(bare, zoo, monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["models", "--models", str(zoo), "--licenses", "mit", "--offline"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert all(line.strip() for line in lines)
    shown = " ".join(" ".join(lines).split())
    for item in inventory(plugins().families, ZooContext((zoo,)), licences=("mit",)):
        one = item.candidate
        facts = f"size {one.input_size}, prior {one.prior:.2f}, licence {one.licence}"
        verdict = f"{'usable' if item.usable else 'not usable'}: {item.reason}"
        assert re.search(f"{re.escape(one.key)} {one.modality}, [0-9.]+ M parameters, {facts} {verdict}", shown)
    assert "not usable: its licence is" in shown
