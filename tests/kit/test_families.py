"""Families and encoders that break their contract are told what they promised."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch

from autotl.features.states import pack, unpack
from autotl.plugins.contracts import ZooContext
from autotl.testing import (
    BrokenPromise,
    check_family,
)
from autotl.testing.tiny import TinyBackbone, TinyFamily, WordEncoder

TEXTS = ["one", "two words", "and three words", "now there are five words", "two more"]


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


class Caching(WordEncoder):
    """Keeps what it has read, and is another one to the store from then on."""

    def __init__(self):
        self.read = {}

    def encode(self, cells):
        self.read |= dict.fromkeys(cells)
        return super().encode(cells)


class Sideways(TinyBackbone):
    """Has channels before tokens, so that padding lies where the store looks for none."""

    def forward(self, state, start=0, stop=None):
        return turned(super().forward(turned(state), start, stop))

    def pool(self, state):
        return super().pool(turned(state))


def turned(state):
    return state | {"x": state["x"].transpose(1, 2)} if state["x"].ndim == 3 else state


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


class Folding(TinyBackbone):
    def folded(self):
        other = copy.deepcopy(self)
        with torch.no_grad():
            next(other.stages[0].parameters()).mul_(1.1)
        return other


class Loud(TinyFamily):
    def save(self, backbone, encoder, folder):
        raise OSError("no disk")


@pytest.mark.parametrize(
    ("family", "told"),
    [
        (faulty(encoder_class=Floats), r"kit-texts/tiny: a text is encoded as \[tokens\] int32.*float32"),
        (faulty(encoder_class=Forgetful), r"one array a cell. Found: 4 for 5 cells"),
        (faulty(encoder_class=Counting), r"the same sample gives the same fingerprint"),
        (faulty(encoder_class=Caching), r"its pickle is the same after use"),
        (faulty(backbone_class=Sideways), r"a state that was stored without its padding can go on"),
        (faulty(backbone_class=Unmasked), r"do not depend on the rows beside it|stored state gives what"),
        (faulty(backbone_class=Narrow), r"pool\(\) gives \[batch, width\] = \[5, 24\]. Found: \[5, 7\]"),
        (faulty(backbone_class=Whole), r"two parts give what all stages do.*boundary 2 of 3"),
        (faulty(backbone_class=InPlace), r"a state can be used again"),
        (faulty(backbone_class=Folding), r"what folded\(\) gives passes to the same"),
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
