"""``huggingface``: encoder, tokenizer, pooling and head in the layout of sentence-transformers.

No class of transformers for sequence classification has our head: each puts a layer of its own before the last one
(BERT a tanh, RoBERTa a dense layer with a tanh, ModernBERT a norm), and none but ModernBERT's takes the mean over
tokens. This layout says exactly what we compute: an encoder, a pooling and a linear layer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autotl.exporters.single import PROBABILITIES, answering, only_member
from autotl.plugins.contracts import Exporter
from autotl_transformers.discovery import FAMILY

if TYPE_CHECKING:
    import numpy as np

    from autotl.predictor.predictor import Predictor
    from autotl_transformers.stages import Backbone
    from autotl_transformers.texts import TextEncoder

POOLING, HEAD = "1_Pooling", "2_Dense"

_README = """# {target} from {input}

An encoder with a head: {backbone} ({licence}), fine-tuned by AutoTL. transformers loads the encoder, and
sentence-transformers all of it.

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
logits = model.encode(["a text"], convert_to_tensor=True)
probabilities = logits{probabilities}  # columns: labels.json
```

With transformers alone:

```python
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = "path/to/this/folder"
tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
head = load_file(f"{{folder}}/2_Dense/model.safetensors")
batch = tokenizer(["a text"], padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    states = encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    features = {pooled}
    logits = features @ head["linear.weight"].T + head["linear.bias"]
```
"""

_POOLED = {
    "cls": "states[:, 0]",
    "mean": '(states * (mask := batch["attention_mask"].unsqueeze(-1))).sum(1) / mask.sum(1)',
}


class HuggingFaceExporter(Exporter):
    """For an answer of one encoder."""

    name = "huggingface"
    help = "a folder that transformers and sentence-transformers load, head included; for answers of one encoder"

    def export(self, model: Predictor, cells: Sequence[Any], folder: Path) -> None:
        """As the contract says."""
        member, classifier, encoder = only_member(model, FAMILY, self.name)
        backbone, texts = cast("Backbone", classifier.backbone), cast("TextEncoder", encoder)
        _save_encoder(backbone, folder)
        _save_tokenizer(texts, folder)
        _save_head(backbone, classifier.head, folder)
        _write(folder / "labels.json", list(model.task.classes))
        _write(folder / "activation.json", model.task.rules.activation)
        about = {"target": model.task.target, "input": model.task.input_name}
        readme = _README.format(
            **about,
            probabilities=PROBABILITIES[model.task.rules.activation],
            backbone=member.backbone,
            licence=member.licence,
            pooled=_POOLED[backbone.pooling],
        )
        (folder / "README.md").write_text(readme, encoding="utf-8")

    def load(self, folder: Path) -> Callable[[Sequence[Any]], np.ndarray]:
        """As the README does with transformers alone."""
        import torch
        from safetensors.torch import load_file
        from transformers import AutoModel, AutoTokenizer

        from autotl_transformers.loading import quiet
        from autotl_transformers.stages import pool_tokens

        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            encoder = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        head = load_file(folder / HEAD / "model.safetensors")
        settings = json.loads((folder / POOLING / "config.json").read_text(encoding="utf-8"))
        activation = json.loads((folder / "activation.json").read_text(encoding="utf-8"))
        pooling = "cls" if settings["pooling_mode_cls_token"] else "mean"

        def logits(texts: list[str]) -> np.ndarray:
            batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            ids, mask = batch["input_ids"], batch["attention_mask"]
            with torch.no_grad():
                states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
                features = pool_tokens(states, mask, pooling)
                found: np.ndarray = (features @ head["linear.weight"].T + head["linear.bias"]).numpy()
            return found

        def encode(cells: Sequence[Any]) -> list[Any]:
            return [[cell] if isinstance(cell, str) else "no text" for cell in cells]

        return answering(encode, lambda rows: logits([text for (text,) in rows]), len(head["linear.bias"]), activation)


def _save_encoder(backbone: Backbone, folder: Path) -> None:
    from autotl_transformers.loading import quiet

    with quiet():
        backbone.model.save_pretrained(folder)


def _save_tokenizer(texts: TextEncoder, folder: Path) -> None:
    """As transformers has it: cutting and padding are settings, not parts of the tokenizer."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_str(texts.tokenizer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=texts.max_tokens,
        pad_token=tokenizer.id_to_token(texts.pad_id),
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)


def _save_head(backbone: Backbone, head: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    for name in (POOLING, HEAD):
        (folder / name).mkdir()
    _write(
        folder / POOLING / "config.json",
        {
            "word_embedding_dimension": backbone.width,
            "pooling_mode_cls_token": backbone.pooling == "cls",
            "pooling_mode_mean_tokens": backbone.pooling == "mean",
        },
    )
    _write(
        folder / HEAD / "config.json",
        {
            "in_features": head.in_features,
            "out_features": head.out_features,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    tensors = {f"linear.{name}": tensor.contiguous() for name, tensor in head.state_dict().items()}
    save_file(tensors, folder / HEAD / "model.safetensors", metadata={"format": "pt"})
    kinds = (("", "Transformer"), (POOLING, "Pooling"), (HEAD, "Dense"))
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
