"""What a folder in the Hugging Face layout says of its model, read without torch and without trusting it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotl.untrusted import is_plain_name, read_header, read_object

logger = logging.getLogger(__name__)

#: The types of encoder that are taken apart into stages, and albert, whose layers share their weights.
MODEL_TYPES = frozenset(
    (
        "bert", "distilbert", "roberta", "xlm-roberta", "camembert", "electra", "ernie", "data2vec-text", "mpnet",
        "deberta-v2", "modernbert", "nomic_bert", "gte",
    )
) | {"albert"}  # fmt: skip

#: These count positions from the padding index (1) on, so two of their positions hold no token.
OFFSET_POSITIONS = frozenset(("roberta", "xlm-roberta", "camembert", "data2vec-text", "mpnet"))

#: Encoders can be built for more, but attention over longer texts costs more than a search can spend.
LONGEST_INPUT = 512


#: What a README says of licence and name is at its head.
README_BYTES = 2**16

#: What people can do where a network is not of the library.
WAY_OUT = "a family of your own can load it, see 'autotl plugin new'"


@dataclass(frozen=True)
class ModelFolder:
    """A model on this disk."""

    path: Path
    name: str
    parameters: int
    width: int
    layers: int
    input_size: int
    licence: str
    language: str  #: as `Candidate.language`


def read_model_folder(path: Path) -> ModelFolder | None:
    """The model in `path`; None when there is none that this family can use.

    A folder that looks like a usable model but is torn or malformed is named in a warning.
    """
    if not (path / "config.json").is_file():
        return None
    try:
        config = read_object(path / "config.json")
        if config.get("model_type") not in MODEL_TYPES:
            if "auto_map" in config:
                logger.warning("%s: skipped, it brings code of its own, which is never run: %s", path, WAY_OUT)
            return None
        weights = weight_files(path)
        if not weights:
            return None
        return ModelFolder(
            path=path,
            name=_name(path, config),
            parameters=sum(read_header(file).parameters for file in weights),
            width=_size(config, "hidden_size", "dim"),
            layers=_size(config, "num_hidden_layers", "n_layers"),
            input_size=_input_size(path, config),
            licence=_licence(path),
            language=_language(path),
        )
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s: skipped, it cannot be read as a model (%s)", path, error)
        return None


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a model folder; none where there are none. Raises `ValueError` for a bad index."""
    single = path / "model.safetensors"
    if single.is_file():
        return [single]
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        return []
    shards = read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(s, str) and is_plain_name(s) for s in shards.values()):
        raise ValueError(f"{index.name}: the shards must be names of files in the same folder")
    return [path / shard for shard in sorted(set(shards.values()))]


def _size(config: dict[str, Any], *keys: str) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and value > 0:
            return value
    raise ValueError(f"config.json: no {keys[0]}")


def _input_size(path: Path, config: dict[str, Any]) -> int:
    positions = _size(config, "max_position_embeddings")
    if config["model_type"] in OFFSET_POSITIONS:
        positions -= 2
    settings = path / "tokenizer_config.json"
    limit = read_object(settings).get("model_max_length") if settings.is_file() else None
    if not isinstance(limit, int) or limit < 1:  # absent; "no limit" is written as 10**30
        limit = positions
    return min(positions, limit, LONGEST_INPUT)


def _readme(path: Path) -> str:
    file = path / "README.md"
    if not file.is_file():
        return ""
    with file.open("rb") as content:
        return content.read(README_BYTES).decode("utf-8", errors="replace")


def _licence(path: Path) -> str:
    line = re.search(r"^license:\s*['\"]?([\w.-]+)", _front_matter(path), re.MULTILINE)
    return line[1] if line else "unknown"


def _language(path: Path) -> str:
    """The only one that the README names, in a line or as a list."""
    found = re.search(r"^language:[ \t]*(.*(?:\n[ \t]*-.*)*)", _front_matter(path), re.MULTILINE)
    named = re.findall(r"[a-z]{2,}", found[1]) if found else []
    return named[0] if len(named) == 1 and named[0] != "multilingual" else ""


def _front_matter(path: Path) -> str:
    front = re.match(r"---\r?\n(.*?)\n---", _readme(path), re.DOTALL)
    return front[1] if front else ""


def _name(path: Path, config: dict[str, Any]) -> str:
    """The folder's name. One called "model" says nothing, so its papers are asked: the title of the README, then
    the name on the hub that it was loaded from, then the folder around it."""
    if path.name != "model":
        return path.name
    title = re.search(r"^# ([\w.-]+)\s*$", _readme(path), re.MULTILINE)
    if title:
        return title[1]
    origin = re.fullmatch(r"(?:[\w.-]+/)?([\w.-]+)", str(config.get("_name_or_path", "")))
    return origin[1] if origin and origin[1] != "model" else path.parent.name
