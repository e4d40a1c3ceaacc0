"""A bag of words in the form of a backbone, so that whatever holds models holds it too: it counts, and trains nothing.

It is no plugin's: its vocabulary comes from a table, and no candidate can be offered before there is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from autotl.data.terms import VOCABULARY, numbered, padded, term_rows
from autotl.plugins.contracts import Unreadable
from autotl.plugins.manager import plugins
from autotl.untrusted import read_header, read_object
from autotl.zoo.words import BAG_OF_WORDS, LARGEST_VOCABULARY

if TYPE_CHECKING:
    from autotl.features.words import Words
    from autotl.plugins.contracts import Backbone, Candidate, InputEncoder, ModelFamily, State, ZooContext

_RARITY = "rarity.safetensors"


@dataclass(frozen=True)
class TermsEncoder:
    """An `InputEncoder` of texts, or several: the numbers of the terms that a vocabulary has."""

    terms: tuple[str, ...]

    longest = None

    @cached_property
    def fingerprint(self) -> str:
        return f"words {hashlib.sha256(json.dumps(self.terms).encode()).hexdigest()[:16]}"

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return numbered(self.terms)

    def encode(self, cells: Sequence[Any]) -> list[np.ndarray | Unreadable]:
        """``[terms] int32`` a cell."""
        return [Unreadable(row) if isinstance(row, str) else row for row in term_rows(self._numbers, cells)]

    def batch(
        self, rows: Sequence[np.ndarray], *, augment: float = 0.0, generator: torch.Generator | None = None
    ) -> State:
        """``x`` ``[rows, longest] int64``; nothing is augmented."""
        return {name: torch.from_numpy(array) for name, array in padded(rows).items()}

    def views(self) -> Sequence[InputEncoder]:
        """None: the same words mean the same."""
        return []

    def write_portable(self, folder: Path) -> Sequence[str]:
        """The vocabulary, and a copy of `autotl.data.terms`, which needs numpy."""
        write_vocabulary(self, folder)
        code = files("autotl.data").joinpath("terms.py").read_text(encoding="utf-8")
        (folder / "preprocess.py").write_text(code, encoding="utf-8")
        return ["numpy"]


class _Counting(torch.nn.Module):
    """From numbers of terms to tf-idf ``[batch, terms] float32`` of unit length; counts are damped by the logarithm."""

    def __init__(self, rarity: torch.Tensor) -> None:
        super().__init__()
        self.rarity: torch.Tensor
        self.register_buffer("rarity", rarity)

    def forward(self, state: State) -> State:
        numbers = state["x"]
        none = torch.zeros(numbers.shape[0], len(self.rarity) + 1, device=numbers.device)
        counts = none.scatter_add(1, numbers, torch.ones_like(numbers, dtype=none.dtype))[:, 1:]
        weights = torch.where(counts > 0, 1 + counts.clamp(min=1).log(), 0.0) * self.rarity
        return {"x": weights / weights.norm(dim=1, keepdim=True).clamp(min=1e-12)}


class BagOfWords(torch.nn.Module):
    """A backbone of one stage."""

    def __init__(self, rarity: torch.Tensor) -> None:
        super().__init__()
        self.stages = torch.nn.ModuleList([_Counting(rarity)])
        self.width = len(rarity)

    def forward(self, state: State, start: int = 0, stop: int | None = None) -> State:
        for stage in list(self.stages)[start:stop]:
            state = stage(state)
        return state

    def pool(self, state: State) -> torch.Tensor:
        return state["x"]


class WordsFamily:
    """A `ModelFamily` of one bag of words, or, without one, of those that were saved."""

    name = BAG_OF_WORDS.family
    modality = BAG_OF_WORDS.modality
    augments = False

    def __init__(self, words: Words | None = None) -> None:
        self._words = words

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        """None: there is none before a table was read."""
        return []

    def load(self, candidate: Candidate, *, pretrained: bool = True, drop: float = 0.0) -> Backbone:
        """The one that this family was made with."""
        assert self._words is not None
        backbone: Any = BagOfWords(torch.from_numpy(self._words.rarity))
        return backbone  # type: ignore[no-any-return]

    def encoder(self, candidate: Candidate, sample: Sequence[Any]) -> InputEncoder:
        """Of its vocabulary."""
        assert self._words is not None
        return TermsEncoder(self._words.terms)

    def save(self, backbone: Backbone, encoder: InputEncoder, folder: Path) -> None:
        """Vocabulary and rarities."""
        assert isinstance(encoder, TermsEncoder)
        write_vocabulary(encoder, folder)
        save_file({"rarity": backbone.state_dict()["stages.0.rarity"].cpu()}, folder / _RARITY)

    def restore(self, folder: Path) -> tuple[Backbone, InputEncoder]:
        """Raises `ValueError` where vocabulary and rarities do not belong together."""
        terms = read_object(folder / VOCABULARY)["terms"]
        if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
            raise ValueError(f"{VOCABULARY} has no list of terms")
        read_header(folder / _RARITY)
        rarity = load_file(folder / _RARITY)["rarity"].float()
        if rarity.shape != (len(terms),) or len(terms) > LARGEST_VOCABULARY:
            raise ValueError(f"{len(terms)} terms, and rarities of {list(rarity.shape)}")
        backbone: Any = BagOfWords(rarity)
        return backbone, TermsEncoder(tuple(terms))


def family_of(name: str) -> ModelFamily:
    """The family of a stored model, a plugin's or this one. Raises `PluginError` where no plugin here brings it."""
    return WordsFamily() if name == WordsFamily.name else plugins().family(name)


def write_vocabulary(encoder: TermsEncoder, folder: Path) -> None:
    """What `autotl.data.terms.Inputs` reads."""
    (folder / VOCABULARY).write_text(json.dumps({"terms": encoder.terms}, ensure_ascii=False), encoding="utf-8")
