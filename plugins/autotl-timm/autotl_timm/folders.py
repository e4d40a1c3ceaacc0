"""What a folder in timm's local-dir layout says of its model, read without torch and without trusting it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotl.untrusted import parse_json, read_header, read_text

logger = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class ModelFolder:
    """A model on this disk."""

    path: Path
    name: str
    architecture: str
    parameters: int
    width: int
    input_size: int
    licence: str


def read_model_folder(path: Path) -> ModelFolder | None:
    """The model in `path`; None when there is none that timm can load from safetensors.

    A folder that looks like a usable model but is torn or malformed is named in a warning.
    """
    if not (path / "config.json").is_file() or not (path / WEIGHTS).is_file():
        return None
    try:
        config = parse_json(read_text(path / "config.json"))
        if not isinstance(config, dict) or "architecture" not in config:
            return None
        settings = pretrained_settings(config)
        return ModelFolder(
            path=path,
            name=path.name,
            architecture=str(config["architecture"]),
            parameters=read_header(path / WEIGHTS).parameters,
            width=int(config["num_features"]),
            input_size=int(settings["input_size"][1]),
            licence=str(settings.get("license") or "unknown"),
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
        logger.warning("%s: skipped, it cannot be read as a model (%s)", path, error)
        return None


def pretrained_settings(config: dict[str, Any]) -> dict[str, Any]:
    """How the weights were made; older files keep it at the top level."""
    nested = config.get("pretrained_cfg")
    return nested if isinstance(nested, dict) else config
