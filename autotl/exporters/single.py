"""What forms share that hold one network: the layouts of the libraries that networks come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from autotl.data.wording import listed
from autotl.errors import ExportError

if TYPE_CHECKING:
    import numpy as np

    from autotl.kinds.mixing import Activation
    from autotl.plugins.contracts import InputEncoder
    from autotl.predictor.bundle import Member
    from autotl.predictor.predictor import Predictor
    from autotl.training.model import Classifier

#: Rows answered at a time.
_ROWS = 32


def only_member(
    model: Predictor, families: Sequence[str], form: str, *, layered: bool = False
) -> tuple[Member, Classifier, InputEncoder]:
    """The one network of an answer, its head divided by the temperature, so that probabilities are the library's own.

    layered: whether the form holds a head on several layers of its network. Raises `ExportError` for a mixture, for a
    network of no family of these, and for such a head where the form does not hold it.
    """
    import torch

    from autotl.features.layers import Layered

    members = list(model.members())
    if len(members) > 1:
        raise ExportError(
            f"{model.folder} is a mean of {len(members)} answers, and {form!r} holds one network. Search with a limit "
            "that one network keeps, such as --max-latency, or export to a form that holds several, such as 'torch'"
        )
    member, network, encoder = members[0]
    if member.family not in families:
        raise ExportError(f"{model.folder} is of the family {member.family!r}, and {form!r} is for {listed(families)}")
    if isinstance(network.backbone, Layered) and not layered:
        raise ExportError(
            f"{model.folder} answers by what several layers of {member.backbone} say, and {form!r} holds a head on the "
            "last one. Export to a form that holds any network, such as 'torch'"
        )
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.div_(member.temperature * model.card.temperature)  # 1 of numbers
    return member, network, encoder


def answering(
    encode: Callable[[Sequence[Any]], Sequence[Any]],
    logits: Callable[[list[Any]], np.ndarray],
    outputs: int,
    activation: Activation,
) -> Callable[[Sequence[Any]], np.ndarray]:
    """From cells to answers, as `Exporter.load` gives them.

    encode: what the network takes for each cell, or a reason as str. logits: ``[rows, outputs]`` of some of these.
    """
    import numpy as np

    from autotl.kinds.mixing import activated

    def answer(cells: Sequence[Any]) -> np.ndarray:
        answers = np.full((len(cells), outputs), np.nan, np.float32)
        rows = encode(cells)
        readable = [place for place, row in enumerate(rows) if not isinstance(row, str)]
        for start in range(0, len(readable), _ROWS):
            places = readable[start : start + _ROWS]
            answers[places] = activated(logits([rows[place] for place in places]), activation)
        return answers

    return answer
