"""Networks and tokenizers from the disk or the hub. Only safetensors, and never code from a repository."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotl.plugins.contracts import Candidate
from autotl.untrusted import LARGEST_TOKENIZER, read_header, read_object, read_text
from autotl.zoo.building import built_within, check_settings
from autotl.zoo.local import cached_snapshots
from autotl_transformers.catalogue import known
from autotl_transformers.folders import read_model_folder, weight_files

if TYPE_CHECKING:
    from autotl_transformers.stages import Pooling

#: What configurations call the dropout of hidden activations.
HIDDEN_DROPOUT = ("hidden_dropout_prob", "dropout", "embedding_dropout", "mlp_dropout")

#: The dropout of attention weights stays off: fused attention on processors has none, and the hidden one does its work.
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout")


#: Numbers in a configuration, taken together; the largest vocabulary has 901 629 words.
LARGEST_SETTINGS = 2**21

#: What peft writes beside weights that go with those of another network.
ADAPTER = "adapter_config.json"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no load reports while it lasts: the terminal belongs to AutoTL."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def published_network(location: str, parameters: int, *, local: bool, drop: float, pretrained: bool) -> Any:
    """The `PreTrainedModel` at a folder or a name on the hub, fp32, with hidden dropout `drop` and no other.

    parameters: that its weights have. pretrained: with its published weights, else with new ones. Raises `ValueError`
    when the file lacks some of the network's weights, or is too small for the network, and what transformers raises.
    """
    from transformers import AutoModel

    config = _settings(location, parameters, local=local)
    for names, value in ((HIDDEN_DROPOUT, drop), (ATTENTION_DROPOUT, 0.0)):
        for name in names:
            if hasattr(config, name):
                setattr(config, name, value)
    if pretrained:
        return _network(location, config, local=local)
    return _without_pooler(AutoModel.from_config(config, trust_remote_code=False))


def saved_weights(folder: Path) -> Any:
    """The `PreTrainedModel` that was saved into `folder`, with the dropout that it had."""
    parameters = sum(read_header(file).parameters for file in weight_files(folder))
    return _network(str(folder), _settings(str(folder), parameters, local=True), local=True)


def _settings(location: str, parameters: int, *, local: bool) -> Any:
    """The configuration, once it is clear that it asks for no code and no larger network than its weights fill.

    Raises `ValueError` where it does, and what transformers raises.
    """
    from transformers import AutoConfig, AutoModel

    if local:  # read by the library, some numbers alone would take all memory
        check_settings(read_object(Path(location, "config.json")), largest=LARGEST_SETTINGS)
        if Path(location, ADAPTER).exists():  # the library would go on with whatever else that names
            raise ValueError(f"{ADAPTER} is there: merge the adapter into the weights")
    config = AutoConfig.from_pretrained(location, local_files_only=local, trust_remote_code=False)
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError("its weights are quantized, which takes other libraries")
    config._attn_implementation = None  # the library chooses; by name it would fetch code from the hub
    with built_within(parameters):
        AutoModel.from_config(config, trust_remote_code=False)
    return config


def _network(location: str, config: Any, *, local: bool) -> Any:
    from transformers import AutoModel

    # where the hub has none, transformers would have a service make some, of which no revision speaks
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    with quiet():
        model, report = AutoModel.from_pretrained(
            location,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=local,
            output_loading_info=True,
        )
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:  # transformers would go on with random ones
        raise ValueError(f"{len(missing)} weights are missing, {missing[0]} for one")
    return _without_pooler(model)


def _without_pooler(model: Any) -> Any:
    if hasattr(model, "pooler"):
        model.pooler = None  # trained for next-sentence prediction, and no part of the features
    return model.float()


def tokenizer_json(candidate: Candidate) -> str:
    """The fast tokenizer of `candidate`; converted where its publisher has only a slow one, which takes transformers.

    Raises what the libraries raise when there is none; some conversions need the extra ``sentencepiece``.
    """
    file = _published_file(candidate, "tokenizer.json")
    if file is not None:
        return read_text(file, largest=LARGEST_TOKENIZER)
    from transformers import AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(
            candidate.location, use_fast=True, trust_remote_code=False, local_files_only=candidate.source != "hub"
        )
    return str(tokenizer.backend_tokenizer.to_str())


def published_pooling(candidate: Candidate) -> Pooling:
    """The pooling that the publisher trained with: the first token where its files say so, else the mean.

    sentence-transformers writes a word since 6, and wrote flags before. What other libraries have fetched or saved may
    lack the file, and there the catalogue says it.
    """
    file = _published_file(candidate, "1_Pooling/config.json")
    if file is None:
        here = None if candidate.source == "hub" else read_model_folder(Path(candidate.location))
        entry = here and known(candidate.name, width=here.width, layers=here.layers)
        return entry.pooling if entry else "mean"
    settings = read_object(file)
    return "cls" if settings.get("pooling_mode", settings.get("pooling_mode_cls_token")) in ("cls", True) else "mean"


def downloaded(candidate: Candidate) -> Path | None:
    """The folder of a candidate that is on this machine, be it since a moment ago; None where it is on the hub alone.

    Every training loads its network, and need not ask the hub each time, whose connection may be gone.
    """
    if candidate.source != "hub":
        return Path(candidate.location)
    folder = dict(cached_snapshots()).get(candidate.location)
    return folder if folder is not None and read_model_folder(folder) else None


def _published_file(candidate: Candidate, name: str) -> Path | None:
    if candidate.source != "hub":
        file = Path(candidate.location, name)
        return file if file.is_file() else None
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    here = try_to_load_from_cache(candidate.location, name)
    if here is not None:  # a path, or a note that there is no such file
        return Path(here) if isinstance(here, str) else None
    try:
        with quiet():
            return Path(hf_hub_download(candidate.location, name))
    except LocalEntryNotFoundError:
        raise  # not reachable is not the same as not there
    except EntryNotFoundError:
        return None
