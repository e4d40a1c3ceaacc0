"""A folder that answers without AutoTL: networks, a `predict.py`, and how inputs are read.

::

    answer.json           classes, labels or numbers, and each member's share and temperature
    predict.py            reads it and answers
    telling.py            what is told of answers, by the kind of task
    mixing.py             the arithmetic from several networks to one answer
    joining.py            from the columns of a table to the input of a network
    paths.py              from the cells of a table to the files that they name
    network.py            how a network is run
    member-1/             preprocess.py and what it reads, and the network
    README.md             the few lines that load it

Members that are views of one network share it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from autotl.errors import ExportError
from autotl.escaping import for_markdown
from autotl.plugins.contracts import Exporter, InputEncoder, PortableEncoder, Unreadable

if TYPE_CHECKING:
    import numpy as np
    from torch.export import ExportedProgram

    from autotl.plugins.contracts import State
    from autotl.predictor.bundle import BundleCard
    from autotl.predictor.predictor import Predictor

#: Rows of a batch that a form learns ranges of activations from.
_ROWS_A_BATCH = 8


class StandaloneExporter(Exporter, ABC):
    """What such exporters share; each says how a network is written and run."""

    suffix: str  #: of a network's file
    requires: tuple[str, ...]  #: packages that run it, beside numpy

    @abstractmethod
    def runtime(self) -> str:
        """The source of ``network.py``: a class ``Network(path)``, called with a batch of arrays for logits."""

    @abstractmethod
    def write_network(self, program: ExportedProgram, path: Path, batches: Iterator[State]) -> None:
        """Writes a traced network. batches: of the inputs that it will see, as it takes them."""

    def export(self, model: Predictor, cells: Sequence[Any], folder: Path) -> None:
        """As the contract says."""
        from autotl.exporters.tracing import traced
        from autotl.features.frozen import weights_digest

        networks: dict[str, str] = {}  # files, by the digest of their weights
        packages = {"numpy", *self.requires}
        entries = []
        for number, (member, network, encoder) in enumerate(model.members(), start=1):
            place = folder / f"member-{number}"
            place.mkdir()
            packages |= _write_inputs(encoder, place, member.family)
            digest = weights_digest(network)
            if digest not in networks:
                networks[digest] = f"{place.name}/network{self.suffix}"
                rows = [row for row in encoder.encode(cells) if not isinstance(row, Unreadable)]
                program = traced(network, encoder, rows, modality=model.task.modality, name=member.backbone)
                self.write_network(program, folder / networks[digest], _batches(encoder, rows))
            entries.append(
                {
                    "folder": place.name,
                    "network": networks[digest],
                    "reads": encoder.fingerprint,
                    "share": member.share,
                    "temperature": member.temperature,
                }
            )
        answer = {
            "outputs": model.task.outputs,
            "activation": model.task.rules.activation,
            "columns": model.task.columns,
            "modality": model.task.modality,
            "members": entries,
            "temperature": model.card.temperature,
            **model.task.rules.portable(model.task, model.card.calibration),
        }
        texts = {
            "answer.json": json.dumps(answer, indent=1, ensure_ascii=False),
            "predict.py": shipped("predict.py"),
            "mixing.py": files("autotl.kinds").joinpath("mixing.py").read_text(encoding="utf-8"),
            "joining.py": files("autotl.data").joinpath("joining.py").read_text(encoding="utf-8"),
            "paths.py": files("autotl.data").joinpath("paths.py").read_text(encoding="utf-8"),
            "telling.py": shipped(f"{model.task.rules.module}.py"),
            "network.py": self.runtime(),
            "README.md": _readme(model.card, sorted(packages)),
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")

    def load(self, folder: Path) -> Callable[[Sequence[Any]], np.ndarray]:
        """``predict_proba`` of the folder's own ``predict.py``."""
        answer: Callable[[Sequence[Any]], np.ndarray] = module_at(folder / "predict.py").predict_proba
        return answer


def module_at(path: Path) -> ModuleType:
    """A Python file as a module, without leaving compiled code beside it."""
    module = ModuleType(str(path))
    module.__file__ = str(path)
    exec(compile(path.read_bytes(), module.__file__, "exec"), module.__dict__)
    return module


def shipped(name: str) -> str:
    """The text of a file that exports take with them."""
    return files("autotl.exporters").joinpath("shipped", name).read_text(encoding="utf-8")


def _write_inputs(encoder: InputEncoder, folder: Path, family: str) -> set[str]:
    """The packages that its `preprocess.py` needs."""
    if not isinstance(encoder, PortableEncoder):
        raise ExportError(
            f"the family {family!r} cannot say how its inputs are read without AutoTL (its encoder has no "
            "write_portable); use the bundle itself: autotl.load"
        )
    return set(encoder.write_portable(folder))


def _batches(encoder: InputEncoder, rows: Sequence[np.ndarray]) -> Iterator[State]:
    """Each of rows from the whole table: tables are often sorted, and ranges are learned from the first few batches."""
    count = -(-len(rows) // _ROWS_A_BATCH)
    for start in range(count):
        yield encoder.batch(rows[start::count])


def _readme(card: BundleCard, packages: Sequence[str]) -> str:
    cells = {"image": '"photograph.jpg"', "text": '"a text"', "text_pair": '("a text", "another")'}
    cells["images"] = f"({', '.join(json.dumps(f'{column}.jpg') for column in card.task.columns)})"
    if len(card.task.columns) > 1:
        cells["text"] = f"({', '.join(json.dumps(f'a {column}') for column in card.task.columns)})"
    cell, columns = cells[card.task.modality], ", ".join(map(for_markdown, card.task.columns))
    named = f"the columns {columns}" if len(card.task.inputs) > 1 else f"a column {columns}"
    (low, high), metric = card.interval, for_markdown(card.task.metric)
    members = "\n".join(
        f"| {member.share:.0%} | {for_markdown(member.backbone)} | {for_markdown(member.licence)} |"
        for member in card.members
    )
    return f"""# {for_markdown(card.task.target)} from {for_markdown(card.task.input_name)}

An answer of AutoTL that runs without it. It needs Python 3.10 or newer and

```
pip install {" ".join(packages)}
```

## Use

```python
from predict import OUTPUTS, predict, predict_proba

predict([{cell}])  # what is said of each
predict_proba([{cell}])  # [rows, outputs] float32, in the order of OUTPUTS
```

or, for a table with {named},

```
python predict.py new.csv > predictions.csv
```

## Members

| share | backbone | licence of its weights |
|---|---|---|
{members}

{metric} that the bundle is expected to show on new rows: {card.score:.4f} (95 %: {low:.4f} to {high:.4f}).
"""
