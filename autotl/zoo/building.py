"""Networks from settings that somebody else wrote: never larger than the weights that they are built for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Networks register some weights twice while they are built, and the counts of a catalogue know no heads.
LEEWAY, LEAST = 2, 10**5

#: Numbers that any network may hold beside its weights: masks and tables of positions.
MOST_BUFFERS = 10**7

#: Modules and weights of a network; the deepest published have some thousands.
MOST_PARTS = 10**5


def check_settings(settings: Mapping[str, Any], *, largest: int) -> None:
    """Raises `ValueError` where the numbers in `settings`, and in lists there, are together beyond `largest`.

    Before there is a network libraries make lists of such lengths, so that counting its weights comes too late.
    """
    total = 0.0
    for number in _numbers(list(settings.values())):
        total += abs(number) if abs(number) <= largest else largest + 1  # not a number is not in order either
    if total > largest:
        raise ValueError("its settings have larger numbers than any network here")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


@contextmanager
def built_within(parameters: int) -> Iterator[None]:
    """What is built inside by this thread, on no device, raises `ValueError` beyond about so many parameters.

    A network passes here first, without memory for its weights; only then is it built in earnest.
    """
    import torch
    from torch.nn.modules import module as registration

    builder = threading.get_ident()

    def at_most(limit: int) -> Callable[[torch.nn.Module, str, Any], None]:
        numbers = parts = 0

        def count(_: torch.nn.Module, name: str, part: Any) -> None:
            nonlocal numbers, parts
            if threading.get_ident() != builder:
                return
            numbers += part.numel() if isinstance(part, torch.Tensor) else 0
            parts += 1
            if numbers > limit or parts > MOST_PARTS:
                raise ValueError(f"its settings ask for a larger network than its {parameters} parameters fill")

        return count

    hooks = [
        registration.register_module_parameter_registration_hook(at_most(LEEWAY * parameters + LEAST)),
        registration.register_module_buffer_registration_hook(at_most(LEEWAY * parameters + MOST_BUFFERS)),
        registration.register_module_module_registration_hook(at_most(0)),
    ]
    try:
        with torch.device("meta"):
            yield
    finally:
        for hook in hooks:
            hook.remove()
