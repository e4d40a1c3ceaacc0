"""``timm``: a folder in timm's local-dir layout, head included."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autotl.errors import ExportError
from autotl.escaping import for_markdown
from autotl.exporters.single import answering, only_member
from autotl.plugins.contracts import Exporter
from autotl_timm.family import FAMILY, TimmFamily

if TYPE_CHECKING:
    import numpy as np

    from autotl.predictor.predictor import Predictor
    from autotl_timm.images import ImageEncoder

_README = """# {target} from {input}

A network of timm with its head: {backbone} ({licence}), fine-tuned by AutoTL.

```
pip install timm pillow
```

```python
from pathlib import Path

import timm
import torch
from preprocess import Inputs  # beside this file

folder = Path("path/to/this/folder")
network = timm.create_model(f"local-dir:{{folder}}", pretrained=True).eval()
inputs = Inputs(folder)
batch = inputs.batch(inputs.encode(["photograph.jpg"]))
with torch.no_grad():
    outputs = network(torch.from_numpy(batch["x"]))
answers = {answers}  # columns: label_names of config.json
```

timm's own transform (`timm.data.create_transform`) serves for opaque pictures of 8 bits that stand upright. It scales
an image before it cuts the middle out, and `preprocess.py` the other way round, so that answers differ a little; it
turns no photograph as its camera says, and knows nothing of transparency and of more than 8 bits.
"""


class TimmExporter(Exporter):
    """For an answer of one network of timm."""

    name = "timm"
    help = "a folder that timm.create_model loads, head included; for answers of one network"

    def export(self, model: Predictor, cells: Sequence[Any], folder: Path) -> None:
        """As the contract says."""
        if model.task.modality == "images":
            raise ExportError(
                f"{model.folder} answers to {len(model.task.inputs)} images at once, and {self.name!r} holds a network "
                "for one. Export to a form that holds any network, such as 'torch'"
            )
        member, classifier, encoder = only_member(model, [FAMILY], self.name)
        images = cast("ImageEncoder", encoder)
        backbone: Any = classifier.backbone
        _put_head(backbone.network, classifier.head, member.backbone)
        TimmFamily().save(backbone, images, folder)
        images.write_portable(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        columns = model.task.outputs
        config |= {"num_classes": len(columns), "label_names": columns}
        config["activation"] = model.task.rules.activation  # timm leaves alone what it does not know
        config["pretrained_cfg"] |= {
            "num_classes": len(columns),
            "input_size": (3, images.side, images.side),
            "interpolation": images.interpolation,
            "mean": images.mean,
            "std": images.std,
            "crop_pct": 1.0,
            "crop_mode": "squash" if images.squeezed else "center",
        }
        (folder / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
        about = {"target": for_markdown(model.task.target), "input": for_markdown(model.task.input_name)}
        readme = _README.format(
            **about,
            answers=model.task.rules.in_torch(model.task, "outputs", model.card.calibration),
            backbone=for_markdown(member.backbone),
            licence=for_markdown(member.licence),
        )
        (folder / "README.md").write_text(readme, encoding="utf-8")

    def load(self, folder: Path) -> Callable[[Sequence[Any]], np.ndarray]:
        """As the README says, with the original of its `preprocess.py`."""
        import timm
        import torch

        from autotl_timm.preprocess import Inputs

        network = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        inputs = Inputs(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))

        def logits(rows: list[np.ndarray]) -> np.ndarray:
            with torch.no_grad():
                found: np.ndarray = network(torch.from_numpy(inputs.batch(rows)["x"])).numpy()
            return found

        return answering(inputs.encode, logits, network.num_classes, config["activation"])


def _put_head(network: Any, head: Any, name: str) -> None:
    """Makes a linear layer the network's own classifier. Raises `ExportError` where that is something else."""
    import torch

    network.reset_classifier(head.out_features)
    own = network.get_classifier()
    for classifier in own if isinstance(own, tuple) else (own,):  # a distilled network answers by the mean of two
        if not isinstance(classifier, torch.nn.Linear) or classifier.weight.shape != head.weight.shape:
            raise ExportError(f"{name}: timm ends this network in more than a linear layer; export to another form")
        classifier.load_state_dict(head.state_dict())
