"""Exporters and portable encoders that break their contract are told what they promised."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

import autotl
from autotl.plugins.contracts import Exporter, ZooContext
from autotl.testing import (
    BrokenPromise,
    check_exporter,
    make_bundle,
)
from autotl.testing.portable import check_portable

TEXTS = ["one", "two words", "and three words", "now there are five words", "two more"]


class Copy(Exporter):
    """The bundle under another name, read by AutoTL."""

    name, help = "copy", "the bundle itself"

    def export(self, model, cells, folder):
        shutil.copytree(model.folder, folder, dirs_exist_ok=True)

    def load(self, folder):
        model = autotl.load(folder)
        return lambda cells: model.predict_proba(pd.DataFrame({"text": list(cells)}))


def changing(change):
    """Answers with `change` of what the bundle answers."""

    class Changed(Copy):
        def load(self, folder):
            answer = super().load(folder)
            return lambda cells: change(answer(cells))

    return Changed()


class Unexplained(Copy):
    def export(self, model, cells, folder):
        super().export(model, cells, folder)
        (folder / "README.md").unlink()


class Beside(Copy):
    def export(self, model, cells, folder):
        super().export(model, cells, folder)
        (folder.parent / "notes.txt").touch()


class Taking(Copy):
    def export(self, model, cells, folder):
        super().export(model, cells, folder)
        (model.folder / "README.md").unlink()


class Rooted(Copy):
    """Knows where it was written, and not where it is."""

    def export(self, model, cells, folder):
        super().export(model, cells, folder)
        self.written = folder

    def load(self, folder):
        return super().load(self.written)


@pytest.fixture
def random_bundle(tiny, zoo, tmp_path):
    return make_bundle(tiny, tiny.candidates(ZooContext((zoo,)))[:1], TEXTS, tmp_path / "run")


@pytest.mark.parametrize(
    ("exporter", "told"),
    [
        (changing(lambda answer: answer[:, :2]), r"probabilities \(5, 3\) float32. Found: \(5, 2\)"),
        (changing(lambda answer: answer.astype(np.float64)), r"float32. Found: .* float64"),
        (changing(lambda answer: answer * 2), r"probabilities sum to one. Found: 1 off"),
        (changing(np.nan_to_num), r"a cell that cannot be read gets NaN"),
        (changing(lambda answer: answer[:, ::-1]), r"answers as the bundle does, to 0.0001. Found: a difference of 0"),
        (changing(lambda answer: answer - (len(answer) < 2) * np.float32(2e-4)), r"alone as among others, to 0.0001"),
        (Unexplained(), r"README.md says how the folder is loaded"),
        (Beside(), r"into the folder that it is given, and nowhere else. Found: notes.txt"),
        (Taking(), r"leaves the bundle as it is"),
        (Rooted(), r"load\(\) loads a folder that was moved, and it answers. Found: BundleError"),
        (type("Spaced", (Copy,), {"name": "two words"})(), r"its name is a word"),
        (type("Talkative", (Copy,), {"help": "two\nlines"})(), r"help is one line"),
    ],
)
def test_an_exporter_with_a_fault_is_told_what_it_promised(random_bundle, exporter, told):
    with pytest.raises(BrokenPromise, match=told):
        check_exporter(exporter, random_bundle, TEXTS)


def test_a_sound_exporter_passes_and_a_lossy_one_may_lose(random_bundle):
    check_exporter(Copy(), random_bundle, TEXTS)
    lossy = changing(lambda answer: answer[:, ::-1])
    lossy.exact = False
    check_exporter(lossy, random_bundle, TEXTS)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("return [row[:1] for row in Own.encode(self, cells)]", r"Inputs.encode\(\) gives the encoder's own arrays"),
        ("import torch; return Own.encode(self, cells)", r"imports neither torch nor AutoTL. Found: torch"),
    ],
)
def test_an_encoder_that_is_another_without_autotl_is_told(tiny, changed, told):
    class Ported(type(tiny.encoder(None, []))):
        def write_portable(self, folder):
            packages = super().write_portable(folder)
            code = folder / "preprocess.py"
            with code.open("a", encoding="utf-8") as file:
                file.write(f"\n\nOwn = Inputs\nclass Inputs(Own):\n    def encode(self, cells):\n        {changed}\n")
            return packages

    with pytest.raises(BrokenPromise, match=told):
        check_portable("tiny", Ported(), TEXTS)
