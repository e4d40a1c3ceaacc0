"""AutoGluon MultiModal: ``autogluon_opponent.py FORM MODELS TRAIN TEST SECONDS SEED START``, in its own environment.

Prints what `opponents.py` prints, once: before the end of `fit` there is nothing to use. FORM is image or text, which
is AutoGluon as people write it, but with the weights that all have; with ``-tuned`` it is well set.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch
from autogluon.multimodal import MultiModalPredictor
from PIL import Image
from race import Race, read
from timm.models import register_model

#: Weights that AutoGluon takes by a name of timm's, never from a folder.
NETWORK = "network_of_the_zoo"

#: Settings of both modalities. A step follows each batch of 32, as many as the others take: by default AutoGluon adds
#: up gradients of 128 rows, which leaves a short budget few steps. One validation an epoch instead of two, and the best
#: checkpoint instead of a soup of three, whose validations come after the time limit.
TUNED = {
    "env.per_gpu_batch_size": 32,
    "env.batch_size": 32,
    "optim.val_check_interval": 1.0,
    "optim.top_k": 1,
}


def hyperparameters(modality: str, models: Path, cells: list[str], *, tuned: bool) -> dict[str, Any]:
    """The weights that all have, and what a person who knows AutoGluon would set."""
    if modality == "text":
        found: dict[str, Any] = {"model.names": ["hf_text"], "model.hf_text.checkpoint_name": str(models)}
        own = {"model.hf_text.max_text_len": 128, "model.hf_text.pooling_mode": "mean", "env.num_workers": 0}
    else:
        register_network(models)
        found = {"model.names": ["timm_image"], "model.timm_image.checkpoint_name": NETWORK}
        side = min(max(Image.open(cells[0]).size), 224) // 32 * 32
        own = {"model.timm_image.image_size": side, "optim.lr": 4e-4}  # the rate of its preset with a MobileNet
    return found | TUNED | own if tuned else found


def register_network(models: Path) -> None:
    """Gives the largest network in `models` a name by which timm makes it, published weights and all."""
    folder = max((path.parent for path in models.glob("*/model.safetensors")), key=_size)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    published = config["pretrained_cfg"] | {"file": str(folder / "model.safetensors")}

    def create(pretrained: bool = False, **arguments: Any) -> torch.nn.Module:
        arguments = config["model_args"] | arguments | {"pretrained_cfg": published}
        return timm.create_model(config["architecture"], pretrained=pretrained, **arguments)

    create.__name__ = NETWORK
    register_model(create)


def _size(folder: Path) -> int:
    return (folder / "model.safetensors").stat().st_size


def main() -> None:
    form, models, train, test, seconds, seed, start = sys.argv[1:]
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    race = Race(float(seconds), float(start))
    modality, _, set_well = form.partition("-")
    tuned = bool(set_well)
    (cells, labels), (test_cells, test_labels) = read(Path(train)), read(Path(test))
    table = pd.DataFrame({modality: cells, "label": labels})
    if tuned:  # fp32 is all that AutoGluon has for a CPU, whatever its env.precision says; torch may multiply in bf16
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
        torch.backends.mkldnn.conv.fp32_precision = "bf16"  # type: ignore[attr-defined]
    settings = hyperparameters(modality, Path(models), cells, tuned=tuned)
    with tempfile.TemporaryDirectory() as folder:
        metric = "accuracy" if tuned else None
        predictor = MultiModalPredictor(label="label", eval_metric=metric, path=f"{folder}/model", verbosity=0)
        limit = race.left if tuned else float(seconds)  # loading AutoGluon took some of it, which few people think of
        predictor.fit(table, time_limit=limit, hyperparameters=settings, seed=int(seed))
        answers = pd.DataFrame({modality: test_cells})
        race.finished(0.0, lambda: float((predictor.predict(answers, as_pandas=False) == test_labels).mean()))
    race.over()


if __name__ == "__main__":
    main()
