"""The kit for plugins' tests: what is ours passes it, and what breaks a contract is told by name."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

import autotl
from autotl.features.states import pack, unpack
from autotl.plugins.contracts import Choice, Exporter, Progress, Real, Regularizer, Strategy, Work, ZooContext
from autotl.plugins.manager import plugins
from autotl.testing import (
    BrokenPromise,
    check_exporter,
    check_family,
    check_plugin,
    check_regularizer,
    check_screener,
    check_strategy,
    make_bundle,
    text_bench,
)
from autotl.testing.portable import check_portable
from autotl.testing.strategy import check_choices
from autotl.testing.tiny import TinyBackbone, TinyFamily, WordEncoder
from autotl.training.effect import Effect

TEXTS = ["one", "two words", "and three words", "now there are five words", "two more"]
PICTURES = ["0/1", "1/2", "2/3", "0/4"]


def ours(things):
    """Those that the core brings, whatever else is installed."""
    return [thing for thing in things if type(thing).__module__.startswith("autotl.")]


# -------------------------------------------------------------------- ours


@pytest.mark.parametrize("name", ["core", "exporters", "regularizers", "screeners"])
def test_our_plugins_keep_their_contracts(name):
    check_plugin(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [strategy.name for strategy in ours(plugins().strategies)])
def test_our_strategies_keep_their_contract(name):
    """Those that train as the first does, on one bench instead of two: it takes ten seconds."""
    check_strategy(plugins().strategy(name), None if name in {"finetune", "probe"} else text_bench())


@pytest.mark.parametrize("regularizer", ours(plugins().regularizers), ids=lambda regularizer: regularizer.name)
def test_our_regularizers_keep_their_contract(regularizer):
    check_regularizer(regularizer)


@pytest.mark.parametrize("screener", ours(plugins().screeners), ids=lambda screener: screener.name)
def test_our_screeners_keep_their_contract(screener):
    check_screener(screener)


@pytest.mark.parametrize(("modality", "cells"), [("text", TEXTS), ("image", PICTURES)])
def test_the_kits_own_families_keep_the_contract(modality, cells):
    family = TinyFamily(modality)
    (candidate,) = family.candidates(ZooContext())
    check_family(family, candidate, cells)


def test_a_third_partys_family_keeps_the_contract(tiny, zoo):
    check_plugin("tiny")
    for candidate in tiny.candidates(ZooContext((zoo,))):
        check_family(tiny, candidate, TEXTS)


# -------------------------------------------------------------------- families with faults


class Wrong(TinyFamily):
    """A family of texts whose encoder and backbone are changed."""

    encoder_class, backbone_class = WordEncoder, TinyBackbone

    def __init__(self):
        super().__init__("text")

    def encoder(self, candidate, sample):
        return self.encoder_class()

    def load(self, candidate, *, drop=0.0, pretrained=True):
        backbone = super().load(candidate, drop=drop, pretrained=pretrained)
        backbone.__class__ = self.backbone_class
        return backbone

    def restore(self, folder):
        backbone, _ = super().restore(folder)
        backbone.__class__ = self.backbone_class
        return backbone, self.encoder_class()


class Floats(WordEncoder):
    def encode(self, cells):
        return [row.astype(np.float32) for row in super().encode(cells)]


class Forgetful(WordEncoder):
    def encode(self, cells):
        return super().encode(cells)[:-1] if len(cells) > 1 else super().encode(cells)


class Counting(WordEncoder):
    numbers = itertools.count()

    @property
    def fingerprint(self):
        return f"words {next(self.numbers)}"

    def __init__(self): ...


class Unmasked(TinyBackbone):
    def pool(self, state):
        return state["x"].mean(1)


class Narrow(TinyBackbone):
    def pool(self, state):
        return super().pool(state)[:, :7]


class Whole(TinyBackbone):
    """Always begins at the beginning of what it can, and so leaves a stage out."""

    def forward(self, state, start=0, stop=None):
        return super().forward(state, start if start < 2 else 3, stop)


class InPlace(TinyBackbone):
    def forward(self, state, start=0, stop=None):
        if start:
            state["x"] += 1
            state = state | {"x": state["x"] - 1}
        return super().forward(state, start, stop)


def faulty(**changes):
    return type("Faulty", (Wrong,), changes)()


class Always(TinyFamily):
    """Has nothing but pretrained weights."""

    def load(self, candidate, *, drop=0.0, pretrained=True):
        return super().load(candidate, drop=drop, pretrained=True)


class Training(TinyFamily):
    def load(self, candidate, *, drop=0.0, pretrained=True):
        return super().load(candidate, drop=drop, pretrained=pretrained).train()


class Half(TinyFamily):
    def load(self, candidate, *, drop=0.0, pretrained=True):
        return super().load(candidate, drop=drop, pretrained=pretrained).half()


class Careless(TinyFamily):
    """Restores the pretrained weights."""

    def restore(self, folder):
        return self.load(None), WordEncoder()


class Pickling(TinyFamily):
    def save(self, backbone, encoder, folder):
        super().save(backbone, encoder, folder)
        torch.save(backbone.state_dict(), folder / "weights.pt")


class Loud(TinyFamily):
    def save(self, backbone, encoder, folder):
        raise OSError("no disk")


@pytest.mark.parametrize(
    ("family", "told"),
    [
        (faulty(encoder_class=Floats), r"kit-texts/tiny: a text is encoded as \[tokens\] int32.*float32"),
        (faulty(encoder_class=Forgetful), r"one array a cell. Found: 4 for 5 cells"),
        (faulty(encoder_class=Counting), r"the same sample gives the same fingerprint"),
        (faulty(backbone_class=Unmasked), r"do not depend on the rows beside it|stored state gives what"),
        (faulty(backbone_class=Narrow), r"pool\(\) gives \[batch, width\] = \[5, 24\]. Found: \[5, 7\]"),
        (faulty(backbone_class=Whole), r"two parts give what all stages do.*boundary 2 of 3"),
        (faulty(backbone_class=InPlace), r"a state can be used again"),
        (Always("text"), r"pretrained=False gives other weights"),
        (Training("text"), r"in eval mode. Found: the whole"),
        (Half("text"), r"weights in fp32 on the CPU. Found: .*float16"),
        (Careless("text"), r"restore\(\) gives what save\(\) wrote"),
        (Pickling("text"), r"safetensors. Found: weights.pt"),
        (Loud("text"), r"save\(\) writes.*OSError: no disk"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, TinyFamily) else "",
)
def test_a_family_with_a_fault_is_told_what_it_promised(family, told):
    (candidate,) = family.candidates(ZooContext())
    with pytest.raises(BrokenPromise, match=told):
        check_family(family, candidate, TEXTS)


def test_a_candidate_that_cannot_be_is_told():
    (candidate,) = TinyFamily("text").candidates(ZooContext())
    with pytest.raises(BrokenPromise, match=r"its prior is from 0 to 1. Found: 7"):
        check_family(TinyFamily("text"), dataclasses.replace(candidate, prior=7), TEXTS)


def test_the_kits_texts_survive_without_their_padding():
    """What the checks of stored states stand on."""
    state = WordEncoder().batch(WordEncoder().encode(TEXTS))
    back = unpack(pack(state, exact=True, channels_last=False), channels_last=False)
    assert torch.equal(back["x"], state["x"])


# -------------------------------------------------------------------- strategies with faults


class Head(Strategy):
    """A sound strategy, to be changed: the probe's head at a chosen size."""

    name = "head"

    def parameters(self, context):
        return [Real("size", 0.5, 2.0, usual=1.0)]

    def portfolio(self, context):
        return [{"size": 1.0}]

    def work(self, context, settings):
        return Work(0.0)

    def fit(self, trial):
        from autotl.features.heads import LinearHead
        from autotl.training.model import Classifier

        size, head = trial.settings.number("size"), trial.starting_head()
        trial.model = Classifier(trial.frozen.backbone, LinearHead(size * head.weight, size * head.bias))
        yield Progress(1000)


class Outside(Head):
    def portfolio(self, context):
        return [{"size": 5.0}]


class Incomplete(Head):
    def portfolio(self, context):
        return [{}]


class Nowhere(Head):
    def parameters(self, context):
        return []


class Backwards(Head):
    def parameters(self, context):
        return [Choice("size", (2.0, 1.0))]


class Workless(Head):
    def work(self, context, settings):
        return 3.0


class Unread(Head):
    def parameters(self, context):
        return [*super().parameters(context), Real("zeal", 0.0, 1.0)]

    def portfolio(self, context):
        return [{"size": 1.0, "zeal": 0.5}]


class Modelless(Head):
    def fit(self, trial):
        trial.settings.number("size")
        yield Progress(1000)


class Endless(Head):
    def fit(self, trial):
        yield from super().fit(trial)
        if trial.settings.number("size") != 1.0:
            time.sleep(trial.clock.seconds + 5)


class Unfinished(Head):
    def fit(self, trial):
        for _ in super().fit(trial):
            yield Progress(500)


class Falling(Head):
    def fit(self, trial):
        for _ in super().fit(trial):
            yield Progress(500)
            yield Progress(400)


class Random(Head):
    def fit(self, trial):
        for progress in super().fit(trial):
            trial.model.head.weight.data += torch.randn(trial.model.head.weight.shape)
            yield progress


class Meddling(Head):
    def fit(self, trial):
        for parameter in trial.frozen.backbone.parameters():
            parameter.data += 1e-9
            parameter.data *= 1.0001
        trial.model = None
        yield from super().fit(trial)


class Raising(Head):
    def fit(self, trial):
        raise ZeroDivisionError("dropped the vase")
        yield


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        (Outside(), r"strategy 'head': settings of the portfolio lie inside the parameters.*\{'size': 5.0\}"),
        (Incomplete(), r"has every parameter.*none for \['size'\]"),
        (Nowhere(), r"has parameters somewhere"),
        (Backwards(), r"ascending order.*\(2.0, 1.0\)"),
        (Workless(), r"work\(\) returns a Work.*Found: 3.0"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Strategy) else "",
)
def test_a_strategy_that_says_the_wrong_things_is_told(strategy, told):
    with pytest.raises(BrokenPromise, match=told):
        check_choices(strategy)


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        (Unread(), r"never read: zeal"),
        (Modelless(), r"sets trial.model before it first yields"),
        (Unfinished(), r"the last it yields is 1000 permille. Found: 500"),
        (Falling(), r"permille rises, to 1000 at the end. Found: 400 after 500"),
        (Random(), r"a seed gives the same model"),
        (Meddling(), r"leaves trial.frozen.backbone as it is|a seed gives the same model"),
        (Raising(), r"raises nothing but TrialError. Found: ZeroDivisionError: dropped the vase"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Strategy) else "",
)
def test_a_strategy_that_fits_wrongly_is_told(strategy, told):
    with pytest.raises(BrokenPromise, match=told):
        check_strategy(strategy, text_bench())


def test_a_sound_strategy_passes():
    check_strategy(Head())


@pytest.mark.slow
def test_a_strategy_that_does_not_end_in_time_is_told():
    with pytest.raises(BrokenPromise, match=r"ends when its clock does, after 1.5 s. Found: it took"):
        check_strategy(Endless(), text_bench())


# -------------------------------------------------------------------- regularizers and screeners with faults


class Slow(Regularizer):
    """Sound, but for an effect that has none."""

    name = "slow"
    effect_class = Effect

    def strengths(self, context):
        return Choice(self.name, (0.0, 1.0))

    def usual(self, context):
        return 0.0

    def effect(self, strength):
        return self.effect_class()


class Never(Slow):
    def strengths(self, context):
        return None


class AlwaysOn(Slow):
    def strengths(self, context):
        return Choice(self.name, (0.5, 1.0))

    def usual(self, context):
        return 0.5


class Unusual(Slow):
    def usual(self, context):
        return 0.3


class Exploding(Effect):
    def loss(self, logits, again):
        return logits.sum() * float("inf")


@pytest.mark.parametrize(
    ("regularizer", "told"),
    [
        (Slow(), r"regularizer 'slow' on kit-texts/tiny at strength 1.*changes the training"),
        (Never(), r"applies somewhere"),
        (AlwaysOn(), r"0 the least, which is off.*\(0.5, 1.0\)"),
        (Unusual(), r"what is usual is among the strengths.*0.3 of \[0.0, 1.0\]"),
        (type("Wild", (Slow,), {"effect_class": Exploding})(), r"finite losses.*DivergedError: the loss is not finite"),
        (type("Alien", (Slow,), {"effect_class": dict})(), r"effect\(\) gives an Effect. Found: dict"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Slow) else "",
)
def test_a_regularizer_with_a_fault_is_told_what_it_promised(regularizer, told):
    with pytest.raises(BrokenPromise, match=told):
        check_regularizer(regularizer)


def screener(score):
    return type("Screener", (), {"name": "mine", "score": lambda self, *given: score(*given)})()


@pytest.mark.parametrize(
    ("score", "told"),
    [
        (lambda features, labels, classes: float("nan"), r"screener 'mine': a score is a finite number. Found: nan"),
        (lambda features, labels, classes: 1.0, r"classes that lie further apart score higher"),
        (lambda features, labels, classes: next(COUNT), r"the same features get the same score"),
        (lambda features, labels, classes: float(np.multiply(features, 0, out=features).sum()), r"leaves features"),
        (lambda features, labels, classes: 1 / 0, r"has an opinion.*ZeroDivisionError"),
    ],
)
def test_a_screener_with_a_fault_is_told_what_it_promised(score, told):
    with pytest.raises(BrokenPromise, match=told):
        check_screener(screener(score))


COUNT = itertools.count()


# -------------------------------------------------------------------- exporters with faults


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


# -------------------------------------------------------------------- plugins with faults


def test_a_plugin_that_is_not_there_is_told_what_is():
    with pytest.raises(BrokenPromise, match=r"plugin 'absent': is found by its entry point. Found: core, "):
        check_plugin("absent")


def test_a_plugin_that_is_off_is_told_why(put_on_path, distribution):
    put_on_path(distribution("broken", "raise RuntimeError('out of order')"))
    with pytest.raises(BrokenPromise, match=r"autotl-broken can be switched on. Found: RuntimeError: out of order"):
        check_plugin("broken")


def test_a_plugin_that_loads_torch_is_told(put_on_path, distribution):
    put_on_path(distribution("heavy", "import torch\n"))
    with pytest.raises(BrokenPromise, match=r"plugin 'heavy': its hooks.*import no network library.*Found: .*torch"):
        check_plugin("heavy")


def test_what_a_plugin_brings_is_checked(put_on_path, distribution):
    code = """
import autotl
from autotl.plugins.contracts import Real, Strategy, Work

class Kind(Strategy):
    name = "kind"
    def parameters(self, context): return [Real("rate", 0.0, 1.0)]
    def portfolio(self, context): return [{"rate": 2.0}]
    def work(self, context, settings): return Work(0.0)
    def fit(self, trial): yield

@autotl.hookimpl
def autotl_strategies(context):
    return [Kind()]
"""
    put_on_path(distribution("kind", code))
    with pytest.raises(BrokenPromise, match=r"strategy 'kind': settings of the portfolio lie inside.*'rate': 2.0"):
        check_plugin("kind")


def test_an_authors_test_is_three_lines(tmp_path):
    test = "from autotl.testing import check_plugin\ndef test_it():\n    check_plugin('screeners')\n"
    (tmp_path / "test_it.py").write_text(test, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", tmp_path]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
