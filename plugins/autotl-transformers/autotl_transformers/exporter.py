"""``huggingface``: encoder, tokenizer, pooling and head in the layout of sentence-transformers.

No class of transformers for sequence classification has our head: each puts a layer of its own before the last one
(BERT a tanh, RoBERTa a dense layer with a tanh, ModernBERT a norm), and none but ModernBERT's takes the mean over
tokens. This layout says exactly what we compute: an encoder, a pooling and a linear layer. No module of it compares two
texts, so of two towers it has what embeds a text, and the comparison is a line of the README. None puts pooled layers
side by side either: for a head that reads several the README has transformers alone, which gives the states of each.
"""

from __future__ import annotations

import inspect
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autotl.data.joining import one_input
from autotl.escaping import for_markdown
from autotl.exporters.single import answering, only_member
from autotl.plugins.contracts import Exporter
from autotl_transformers.discovery import FAMILY
from autotl_transformers.pairs import CrossEncoderFamily, TwoTowersFamily

if TYPE_CHECKING:
    import numpy as np

    from autotl.predictor.predictor import Predictor
    from autotl_transformers.stages import Backbone
    from autotl_transformers.texts import TextEncoder

POOLING, HEAD, ANSWERS = "1_Pooling", "2_Dense", "answers.json"

_TITLE = "# {target} from {input}\n\n"

_SENTENCE_TRANSFORMERS = """\
{parts}: {backbone} ({licence}), fine-tuned by AutoTL. transformers loads the encoder, and sentence-transformers
{whole}.{pooler}

```
pip install sentence-transformers
```

```python
{torch}{imports}from sentence_transformers import SentenceTransformer

folder, {cells}
model = SentenceTransformer(folder)
{encoded}
answers = {answers}  # columns: answers.json
```

With transformers alone:
"""

_LAYERED = """\
{parts}: {backbone} ({licence}), fine-tuned by AutoTL. transformers loads the encoder, and the head reads
its last {layers} states side by side, each pooled, which no module of sentence-transformers gives.{pooler}
"""

_TRANSFORMERS = """
```
pip install torch transformers safetensors
```

```python
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder, {cells}
tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
head = load_file(f"{{folder}}/2_Dense/model.safetensors")


def pooled(*texts):
    batch = tokenizer(*texts, padding=True, truncation=True, return_tensors="pt")
    {returned}


with torch.no_grad():
    {features}
    outputs = features @ head["linear.weight"].T + head["linear.bias"]
answers = {answers}
```
"""

#: Of networks that transformers gives a pooler, which ours are without.
_POOLER = " That weights of a pooler are missing, as both may warn, means nothing here: it is not used."

_RETURNED = """\
states = encoder(**batch).last_hidden_state
    return {pooled}"""

_RETURNED_OF_LAYERS = """\
found = encoder(**batch, output_hidden_states=True)
    layers = [*found.hidden_states[-{layers}:-1], found.last_hidden_state]
    return [{pooled} for states in layers]"""

_POOLED = {
    "cls": "states[:, 0]",
    "mean": '(states * (mask := batch["attention_mask"].unsqueeze(-1))).sum(1) / mask.sum(1)',
}


_FOLDER = 'texts = "path/to/this/folder"'


@dataclass(frozen=True)
class _Reading:
    """How a family reads cells: the lines of the README that are about it."""

    cells: str = f'{_FOLDER}, ["a text"]'
    parts: str = "An encoder with a head"
    whole: str = "all of it"
    imports: str = ""
    encoded: str = "outputs = model.encode(texts, convert_to_tensor=True).cpu()"
    features: str = "features = pooled(texts)"
    layered: str = "features = torch.cat(pooled(texts), 1)"  #: where `pooled` gives several


_PAIRS = 'pairs = "path/to/this/folder", [("a text", "another")]'

_READINGS = {
    FAMILY: _Reading(),
    CrossEncoderFamily.name: _Reading(
        cells=_PAIRS,
        encoded="outputs = model.encode(pairs, convert_to_tensor=True).cpu()",
        features="features = pooled(*map(list, zip(*pairs)))",
        layered="features = torch.cat(pooled(*map(list, zip(*pairs))), 1)",
    ),
    TwoTowersFamily.name: _Reading(
        cells=_PAIRS,
        parts="An encoder of texts, and a head that compares two",
        whole="embeds texts with it",
        imports="from safetensors.torch import load_file\n",
        encoded="""\
head = load_file(f"{folder}/2_Dense/model.safetensors")
u, v = (model.encode(list(texts), convert_to_tensor=True).cpu() for texts in zip(*pairs))
features = torch.cat([u, v, (u - v).abs(), u * v], 1)
outputs = features @ head["linear.weight"].T + head["linear.bias"]""",
        features="""\
u, v = (pooled(list(texts)) for texts in zip(*pairs))
    features = torch.cat([u, v, (u - v).abs(), u * v], 1)""",
        layered="""\
of_each = zip(*(pooled(list(texts)) for texts in zip(*pairs)))
    features = torch.cat([part for u, v in of_each for part in (u, v, (u - v).abs(), u * v)], 1)""",
    ),
}


class HuggingFaceExporter(Exporter):
    """For an answer of one encoder."""

    name = "huggingface"
    help = "a folder that transformers and sentence-transformers load, head included; for answers of one encoder"

    def export(self, model: Predictor, cells: Sequence[Any], folder: Path) -> None:
        """As the contract says."""
        from autotl.features.layers import Layered

        member, classifier, encoder = only_member(model, list(_READINGS), self.name, layered=True)
        seen, layers = classifier.backbone, 1
        if isinstance(seen, Layered):
            seen, layers = seen.plain, len(seen.stages) + 1 - seen.lowest
        backbone, texts = cast("Backbone", seen), cast("TextEncoder", encoder)
        reading = _READINGS[member.family]
        _save_encoder(backbone, folder)
        _save_tokenizer(backbone, texts, folder)
        _save_head(classifier.head, folder)
        _save_modules(backbone, folder, headed=layers == 1 and member.family != TwoTowersFamily.name)
        told = {
            "columns": list(model.task.outputs),
            "activation": model.task.rules.activation,
            "family": member.family,
            "layers": layers,
        }
        _write(folder / ANSWERS, told)
        about, answers = (
            {"target": for_markdown(model.task.target), "input": for_markdown(model.task.input_name)},
            model.task.rules.in_torch(model.task, "outputs", model.card.calibration),
        )
        pooled, lines = _POOLED[backbone.pooling], vars(reading)
        if member.family == FAMILY and len(columns := model.task.columns) > 1:  # which a text has been made of
            text = one_input(columns, [f"a {column}" for column in columns], "text")
            lines = lines | {"cells": f"{_FOLDER}, [{json.dumps(text, ensure_ascii=False)}]"}
        if layers > 1:
            template, returned = _TITLE + _LAYERED + _TRANSFORMERS, _RETURNED_OF_LAYERS
            lines = lines | {"features": reading.layered}
        else:
            template, returned = _TITLE + _SENTENCE_TRANSFORMERS + _TRANSFORMERS, _RETURNED
        readme = template.format(
            **about,
            **lines,
            torch="import torch\n" if "torch." in reading.encoded + answers else "",
            pooler=_POOLER if _is_given_a_pooler(backbone.model) else "",
            answers=answers,
            backbone=for_markdown(member.backbone),
            licence=for_markdown(member.licence),
            layers=layers,
            returned=returned.format(pooled=pooled, layers=layers),
        )
        (folder / "README.md").write_text(readme, encoding="utf-8")

    def load(self, folder: Path) -> Callable[[Sequence[Any]], np.ndarray]:
        """As the README does with transformers alone."""
        import torch
        from safetensors.torch import load_file
        from transformers import AutoModel, AutoTokenizer

        from autotl_transformers.loading import quiet
        from autotl_transformers.preprocess import is_pair
        from autotl_transformers.stages import compare, pool_tokens

        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            encoder = AutoModel.from_pretrained(folder, local_files_only=True).eval()
        head = load_file(folder / HEAD / "model.safetensors")
        settings = json.loads((folder / POOLING / "config.json").read_text(encoding="utf-8"))
        told = json.loads((folder / ANSWERS).read_text(encoding="utf-8"))
        pooling = "cls" if settings["pooling_mode_cls_token"] else "mean"
        pairs, layers = told["family"] != FAMILY, told["layers"]

        def pooled(*texts: list[str]) -> list[torch.Tensor]:
            batch = tokenizer(*texts, padding=True, truncation=True, return_tensors="pt")
            found = encoder(**batch, output_hidden_states=layers > 1)
            states = [*found.hidden_states[-layers:-1]] if layers > 1 else []
            return [pool_tokens(x, batch["attention_mask"], pooling) for x in (*states, found.last_hidden_state)]

        def outputs(rows: list[tuple[str, ...]]) -> np.ndarray:
            columns = [list(texts) for texts in zip(*rows, strict=True)]
            with torch.no_grad():
                towers = told["family"] == TwoTowersFamily.name
                parts = (
                    itertools.starmap(compare, zip(*map(pooled, columns), strict=True)) if towers else pooled(*columns)
                )
                features = torch.cat(list(parts), 1)
                found: np.ndarray = (features @ head["linear.weight"].T + head["linear.bias"]).numpy()
            return found

        def encode(cells: Sequence[Any]) -> list[Any]:
            if pairs:
                return [tuple(cell) if is_pair(cell) else "no pair of texts" for cell in cells]
            return [(cell,) if isinstance(cell, str) else "no text" for cell in cells]

        return answering(encode, outputs, len(told["columns"]), told["activation"])


def _save_encoder(backbone: Backbone, folder: Path) -> None:
    from autotl_transformers.loading import quiet

    with quiet():
        backbone.model.save_pretrained(folder)


def _save_tokenizer(backbone: Backbone, texts: TextEncoder, folder: Path) -> None:
    """As transformers has it: cutting and padding are settings, not parts of the tokenizer."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer.from_str(texts.tokenizer)
    types = ["token_type_ids"] if getattr(backbone, "token_types", False) else []
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=texts.max_tokens,
        pad_token=tokenizer.id_to_token(texts.pad_id),
        model_input_names=["input_ids", *types, "attention_mask"],
    ).save_pretrained(folder)


def _save_head(head: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    (folder / HEAD).mkdir()
    tensors = {f"linear.{name}": tensor.contiguous() for name, tensor in head.state_dict().items()}
    save_file(tensors, folder / HEAD / "model.safetensors", metadata={"format": "pt"})
    _write(
        folder / HEAD / "config.json",
        {
            "in_features": head.in_features,
            "out_features": head.out_features,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )


def _save_modules(backbone: Backbone, folder: Path, *, headed: bool) -> None:
    """headed: whether sentence-transformers runs the head."""
    (folder / POOLING).mkdir()
    _write(
        folder / POOLING / "config.json",
        {
            "word_embedding_dimension": backbone.model.config.hidden_size,
            "pooling_mode_cls_token": backbone.pooling == "cls",
            "pooling_mode_mean_tokens": backbone.pooling == "mean",
        },
    )
    kinds = [("", "Transformer"), (POOLING, "Pooling"), *([(HEAD, "Dense")] if headed else [])]
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _is_given_a_pooler(model: Any) -> bool:
    """Whether transformers makes one for every network of this type that it loads."""
    asked = inspect.signature(type(model).__init__).parameters.get("add_pooling_layer")
    return hasattr(model, "pooler") and (asked is None or asked.default is not False)
