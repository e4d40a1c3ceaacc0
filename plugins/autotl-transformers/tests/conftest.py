"""Tiny encoders of every type, with random weights, in folders like those of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from autotl_transformers.family import TransformersFamily
from tokenizers import Tokenizer
from tokenizers_of_words import tokenizer_of
from transformers import PretrainedConfig

from autotl.plugins.contracts import Candidate, ZooContext

WORDS = (
    *("good", "bad", "great", "long", "short", "boring", "very", "not", "but", "and"),
    *("film", "plot", "music", "actors", "the", "a", "it", "was", "of", "in"),
)

#: Weights large enough that attention, positions and masks visibly matter; dropouts on, so that turning off shows.
BERT = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "pad_token_id": 1,
}
DEBERTA = BERT | {
    "relative_attention": True,
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
DISTILBERT = {"vocab_size": 40, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64}
MODERNBERT = {name: value for name, value in BERT.items() if "dropout" not in name} | {
    "local_attention": 6,
    "bos_token_id": 0,
    "cls_token_id": 0,
    "eos_token_id": 2,
    "sep_token_id": 2,
    "mlp_dropout": 0.1,
    "embedding_dropout": 0.1,
    "attention_dropout": 0.1,
}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", BERT),
    "distilbert": ("DistilBert", DISTILBERT | {"initializer_range": 0.3, "pad_token_id": 1}),
    "roberta": ("Roberta", BERT),
    "xlm-roberta": ("XLMRoberta", BERT),
    "camembert": ("Camembert", BERT),
    "electra": ("Electra", BERT | {"embedding_size": 16}),
    "mpnet": ("MPNet", BERT),
    "deberta-v3": ("DebertaV2", DEBERTA),
    "deberta-v2": ("DebertaV2", DEBERTA | {"conv_kernel_size": 3, "conv_act": "gelu", "position_biased_input": True}),
    "modernbert": ("ModernBert", MODERNBERT),
    "ernie": ("Ernie", BERT),
    "data2vec": ("Data2VecText", BERT),
    "nomic": ("NomicBert", BERT),
    "gte": ("Gte", BERT),
    "albert": ("Albert", BERT | {"embedding_size": 16}),
}


def tiny_config(kind: str) -> PretrainedConfig:
    name, settings = ENCODERS[kind]
    return getattr(transformers, f"{name}Config")(**settings)


def tiny_tokenizer() -> Tokenizer:
    """Words to numbers; published tokenizers bring lengths and padding of their own, so this one does too."""
    tokenizer = tokenizer_of(WORDS)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(pad_id=1, pad_token="[PAD]", length=4)
    return tokenizer


def write_model(folder: Path, kind: str) -> Path:
    torch.manual_seed(sum(map(ord, kind)))
    transformers.AutoModel.from_config(tiny_config(kind)).save_pretrained(folder)
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(autouse=True)
def empty_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees what this machine has downloaded."""
    cache = tmp_path / "hub-cache"
    cache.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one model folder a type."""
    folder = tmp_path_factory.mktemp("zoo")
    for kind in ENCODERS:
        write_model(folder / kind, kind)
    return folder


@pytest.fixture(params=sorted(ENCODERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def family() -> TransformersFamily:
    return TransformersFamily()


@pytest.fixture
def local(family: TransformersFamily, zoo: Path) -> dict[str, Candidate]:
    """The candidates of `zoo` by name."""
    found = family.candidates(ZooContext(folders=(zoo,)))
    return {candidate.name: candidate for candidate in found if candidate.source == "folder"}


@pytest.fixture
def texts() -> list[str]:
    """Of unlike lengths, so that batches are padded, and longer than ModernBERT's window here."""
    return ["good film", "the plot was very very boring and not short but it was a great film of the music", "", "bad"]
